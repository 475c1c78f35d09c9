"""The corrections of a model: images to which people gave another label on the page, and
which of them the last run gathered.

<LAB_FEEDBACK>/<model>/<label>/<sha256>.png            as the gateway keeps them
<pipeline folder>/gather-feedback/corrections.json     the names of those that the last run has gathered

TensorFlow is not imported here, so a check takes milliseconds.
"""

import json
from pathlib import Path

from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.settings import Settings

FILE = "corrections.json"
STEP = "gather-feedback"


def files(parameters: Parameters, settings: Settings) -> list[str]:
    """Return the names `<label>/<sha256>.png` of all kept corrections; [] if the parameters ignore feedback."""
    if parameters.feedback == "ignore":
        return []
    folder = settings.feedback / parameters.model
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))


def write(folder: Path, names: list[str]) -> None:
    """Write the names of the gathered corrections into the step's folder."""
    (folder / FILE).write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")


def changed(root: Path, parameters: Parameters, settings: Settings) -> set[str]:
    """Return the names added or removed since the last run gathered them; a changed label is one of each."""
    try:
        gathered = set(json.loads((root / STEP / FILE).read_text(encoding="utf-8")))
    except OSError:
        gathered = set()
    return gathered.symmetric_difference(files(parameters, settings))


def waiting(root: Path, parameters: Parameters, settings: Settings) -> int:
    """Return how many corrections the last run has not gathered; an image with a changed label counts once."""
    gone_or_new = changed(root, parameters, settings)
    return len({Path(name).name for name in gone_or_new.intersection(files(parameters, settings))})
