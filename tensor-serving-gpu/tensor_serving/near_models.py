"""Folders of the models volume that are nearly models: what is wrong with each, and the command that fixes it.

Without this, a SavedModel in the wrong place is just a 404, like a model that never existed.
"""

import os
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from tensor_serving import layout

_MAX_LISTED = 100
_MAX_LOOKED_AT = 1000  # entries of a folder
_MAX_DEEPER = 20  # subfolders that are inspected
_PARTS = ("saved_model.pb", "saved_model.pbtxt", "fingerprint.pb", "variables", "assets", "assets.extra")
_PLACE = "<name>/<version>/, the version a positive integer"


_Command = tuple[str | Path, ...]


@dataclass(frozen=True)
class NearModel:
    """A folder by its path below the volume, why it is not a model, and the command that fixes it, if there is one."""

    path: str
    reason: str
    fix: str

    def document(self) -> dict[str, str]:
        """Return its entry in the inventory."""
        return asdict(self)

    def line(self) -> str:
        """Return its line for the log."""
        return f"{self.path!r} is ignored: {self.reason}" + (f"; to serve it: {self.fix}" if self.fix else "")


def find(models: Path, folders: Iterable[Path]) -> list[NearModel]:
    """Return which of these folders below the volume are nearly models, and the volume itself if it is one."""
    found: list[NearModel] = []
    names = _FreeNames(models)
    for folder in (models, *folders):
        if len(found) == _MAX_LISTED:
            break
        with suppress(OSError):  # what cannot be read now is tried again at the next scan
            near = _misplaced_in_volume(models, names) if folder == models else _inspect(models, folder, names)
            if near:
                found.append(near)
    return found


class _FreeNames:
    """Names for models that no folder of the volume has; each is given once, as all fixes may be run."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._given: set[str] = set()

    def like(self, name: str) -> Path:
        """Return the folder of a model with a free name like this one."""
        base = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:50] or "my-model"
        number, free = 1, base
        while free in self._given or (self._models / free).exists():
            number += 1
            free = f"{base}-{number}"
        self._given.add(free)
        return self._models / free


def _inspect(models: Path, folder: Path, names: _FreeNames) -> NearModel | None:
    named = bool(layout.NAME.fullmatch(folder.name))
    if _is_saved_model(folder):
        if folder.name.isdecimal():
            target = names.like("my-model")
            return _near(models, folder, "a version without a model's folder around it", _moved(folder, target, "1"))
        reason = f"a SavedModel without a version folder; it belongs in {_PLACE}"
        if not named:
            return _near(models, folder, reason, _moved(folder, names.like(folder.name), "1"))
        aside = models / f".{folder.name}"
        moves: list[_Command] = [("mv", folder, aside), *_moved(aside, folder, "1")]
        return _near(models, folder, reason, [] if aside.exists() else moves)
    inside = _subfolders(folder)
    if not named:
        if not _holds_versions(inside):
            return None
        moves = [("mv", folder, names.like(folder.name))]
        return _near(models, folder, f"the name is not of the form {layout.NAME.pattern}", moves)
    if versions := [entry for entry in inside if _is_saved_model(entry)]:
        listed = ", ".join(entry.name for entry in versions)
        moves = [("mv", entry, folder / str(number)) for number, entry in enumerate(sorted(versions, key=_order), 1)]
        return _near(models, folder, f"not a version: {listed}; a SavedModel belongs in {_PLACE}", moves)
    if deeper := [entry for entry in inside[:_MAX_DEEPER] if _holds_versions(_subfolders(entry))]:
        listed = ", ".join(entry.name for entry in deeper)
        moves = [("mv", entry, names.like(entry.name)) for entry in deeper]
        return _near(models, folder, f"a folder of models, one level too deep: {listed}", moves)
    return None


def _misplaced_in_volume(models: Path, names: _FreeNames) -> NearModel | None:
    if not _is_saved_model(models):
        return None
    target = names.like("my-model") / "1"
    parts = [models / part for part in _PARTS if (models / part).exists()]
    commands: list[_Command] = [("mkdir", "-p", target), ("mv", *parts, target)]
    return _near(models, models, f"a SavedModel in the models folder itself; it belongs in {_PLACE}", commands)


def _near(models: Path, folder: Path, reason: str, commands: Iterable[_Command]) -> NearModel:
    """Return the entry; paths in the commands begin with the volume's name, because its path differs for the user."""
    words = [[_shown(models, word) for word in command] for command in commands]
    fix = " && ".join(shlex.join(command) for command in words)
    path = str(folder.relative_to(models)).encode(errors="surrogateescape").decode(errors="replace")
    return NearModel(path, reason.encode(errors="replace").decode(), fix if fix.isprintable() else "")


def _shown(models: Path, word: str | Path) -> str:
    return str(word.relative_to(models.parent)) if isinstance(word, Path) else word


def _moved(folder: Path, model: Path, version: str) -> list[_Command]:
    return [("mkdir", model), ("mv", folder, model / version)]


def _order(folder: Path) -> tuple[int, str]:
    """Return a sort key that puts v2 before v10."""
    return int("0" + "".join(re.findall("[0-9]", folder.name))[:18]), folder.name


def _subfolders(folder: Path) -> list[Path]:
    """Return the visible folders among a folder's first entries, sorted; it may hold a million files."""
    with os.scandir(folder) as entries:
        looked_at = islice(entries, _MAX_LOOKED_AT)
        return sorted(Path(entry.path) for entry in looked_at if entry.is_dir() and not entry.name.startswith("."))


def _holds_versions(folders: Iterable[Path]) -> bool:
    return any(layout.version_number(folder.name) and _is_saved_model(folder) for folder in folders)


def _is_saved_model(folder: Path) -> bool:
    return (folder / "saved_model.pb").is_file() or (folder / "saved_model.pbtxt").is_file()
