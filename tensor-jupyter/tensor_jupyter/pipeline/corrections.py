"""The corrections of a model: images that people gave another label on the page, and which of them were trained with.

<LAB_FEEDBACK>/<model>/<label>/<sha256>.png            as the gateway keeps them
<pipeline folder>/gather-feedback/corrections.json     the names of those that the last run has gathered

TensorFlow is not imported here: a look takes milliseconds.
"""

import json
from pathlib import Path

from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.settings import Settings

FILE = "corrections.json"
STEP = "gather-feedback"


def files(parameters: Parameters, settings: Settings) -> list[str]:
    """Return the names `<label>/<sha256>.png` of all that are kept; none where the parameters ignore them."""
    if parameters.feedback == "ignore":
        return []
    folder = settings.feedback / parameters.model
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))


def write(folder: Path, names: list[str]) -> None:
    """Note in the step's folder which were gathered."""
    (folder / FILE).write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")


def changed(root: Path, parameters: Parameters, settings: Settings) -> set[str]:
    """Return those that have come or gone since the last run gathered them; an image with a new label is both."""
    try:
        gathered = set(json.loads((root / STEP / FILE).read_text(encoding="utf-8")))
    except OSError:
        gathered = set()
    return gathered.symmetric_difference(files(parameters, settings))


def waiting(root: Path, parameters: Parameters, settings: Settings) -> int:
    """Return how many images wait to be trained with: each counts once, with a new label too."""
    gone_or_new = changed(root, parameters, settings)
    return len({Path(name).name for name in gone_or_new.intersection(files(parameters, settings))})
