"""Near-models in the models volume: why each is not served, and the command that fixes it.

The watcher finds folders and lists them as `ignored` (docs/contracts.md); this module finds Keras files.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensor_jupyter.typed import LAB

_KERAS = (".keras", ".h5", ".hdf5")


@dataclass(frozen=True)
class NearModel:
    """A folder or file that is nearly a model, and why it is not served.

    path: in the models volume. fix: a shell command, "" if there is none.
    """

    path: str
    reason: str
    fix: str


def near_models(document: Mapping[str, Any], models: Path) -> list[NearModel]:
    """Return what is `ignored` in the watcher's inventory, or in the gateway's list, and the volume's Keras files.

    Args:
        document: The inventory or list; without `ignored` in it only the files are found.
        models: The volume's path here; the watcher's commands are meant for its parent folder.
    """
    ignored = document.get("ignored")
    return [*_listed(ignored if isinstance(ignored, list) else [], models), *_keras_files(models)]


def _listed(entries: list[Any], models: Path) -> list[NearModel]:
    there = f"cd {shlex.quote(str(models.absolute().parent))} && "
    found = []
    for entry in entries:
        if isinstance(entry, Mapping):
            path, reason, fix = (str(entry.get(key) or "") for key in ("path", "reason", "fix"))
            found.append(NearModel(path, reason, there + fix if fix else ""))
    return found


def _keras_files(models: Path) -> list[NearModel]:
    try:
        files = sorted(path for path in models.iterdir() if path.suffix.lower() in _KERAS and path.is_file())
    except OSError:
        return []
    reason = "a Keras file is imported, not copied"
    return [NearModel(path.name, reason, f"{LAB} import {shlex.quote(str(path))}") for path in files]
