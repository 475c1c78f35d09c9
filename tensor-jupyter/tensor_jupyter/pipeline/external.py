"""Why a step with a valid stamp has to run again: what it depends on, or has left, outside the pipeline's folder.

TensorFlow is not imported here, so that a dry run is fast.
"""

import json
from pathlib import Path
from typing import Any

from tensor_jupyter.pipeline import corrections
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.stamps import why_stale
from tensor_jupyter.pipeline.steps import LAST, Step, after, named
from tensor_jupyter.settings import Settings


def why_lost(step: Step, root: Path, parameters: Parameters, settings: Settings) -> str:
    """Return why a step with a valid stamp has to run again, "" if it need not.

    Args:
        step: A step with a valid stamp.
        root: The pipeline's folder.
        parameters: The parameters of all steps.
        settings: The lab's folders.
    """
    if step.name == "gather-mnist":
        return _better_source(root / step.name, parameters.mnist_data_dir, settings)
    if step.name == "gather-notmnist":
        return _better_source(root / step.name, parameters.notmnist_data_dir, settings)
    if step.name == corrections.STEP:
        count = len(corrections.changed(root, parameters, settings))
        return f"{count} corrections were added or removed" if count else ""
    if step.name == "deploy":
        return _gone(root, parameters, settings)
    return ""


def _better_source(folder: Path, given: str, settings: Settings) -> str:
    """The reason to run a step that gathered a stand-in: the real set may be available now."""
    wanted = document_in(folder / "about.json")["stand_in_for"]
    if wanted and not given and (not settings.offline or (settings.data / wanted).is_dir()):
        return f"a stand-in is in place of {wanted}, which may be available now"
    return ""


def _gone(root: Path, parameters: Parameters, settings: Settings) -> str:
    """The reason if a deployed version no longer exists.

    A version that the gate refused was removed on purpose: it is missing only if deploy or a later step has to run.
    """
    deployed = document_in(root / "deploy" / "deployed.json")
    decision = document_in(root / LAST / "decision.json")
    refused = decision.get("run") == deployed["run"] and not decision["promoted"]
    if refused and not any(why_stale(named(name), parameters, root) for name in after("deploy")):
        return ""
    for each in (deployed["classifier"], deployed["concept"]):
        if not (settings.models / each["name"] / str(each["version"])).is_dir():
            return f"version {each['version']} of {each['name']} is no longer in the models folder"
    return ""


def document_in(path: Path) -> dict[str, Any]:
    """Return the JSON document in the file, empty where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    return found
