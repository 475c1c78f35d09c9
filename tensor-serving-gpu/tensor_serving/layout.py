"""The models volume: `<models>/<name>/<version>/`. Which folders are models, and which of theirs are versions."""

import os
import re
import time
from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,40}", re.ASCII)
_MAX_VERSION = 2**63 - 1  # versions are int64 on the wire
_SETTLED_NS = 2 * 10**9


def model_folders(models: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders with a model's name, and those with another, each sorted by name.

    Hidden folders (`.staging` among them) and plain files are neither. What cannot be looked at counts as a folder.
    Raises OSError when the volume cannot be read.
    """
    folders = sorted(entry for entry in models.iterdir() if not entry.name.startswith(".") and _may_be_folder(entry))
    named = [folder for folder in folders if NAME.fullmatch(folder.name)]
    return named, [folder for folder in folders if not NAME.fullmatch(folder.name)]


class VersionFolders:
    """The version folders of each model, listed again only when its folder has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], dict[int, Path]]] = {}

    def of(self, model: Path) -> dict[int, Path]:
        """Return the version folders of a model by number, ascending.

        `00001` is version 1, as in TF Serving. Where two folders carry one number the shorter name counts.
        Raises OSError when the folder cannot be read.
        """
        found = model.stat()
        now = found.st_ino, found.st_mtime_ns
        known = self._known.get(model)
        if known and known[0] == now:
            return known[1]
        folders, links = _version_folders(model)
        self._known.pop(model, None)
        # A folder changed twice within its clock's step looks unchanged, and so does one that a link will lead to.
        if not links and time.time_ns() - found.st_mtime_ns > _SETTLED_NS:
            self._known[model] = now, folders
        return folders


def version_folders(model: Path) -> dict[int, Path]:
    """Return the version folders of a model as VersionFolders does. Raises OSError when the folder cannot be read."""
    return _version_folders(model)[0]


def _version_folders(model: Path) -> tuple[dict[int, Path], bool]:
    """Return the version folders by number, and whether there are symbolic links among them."""
    found: dict[int, Path] = {}
    links = False
    with os.scandir(model) as scanned:
        entries = sorted(scanned, key=lambda entry: (-len(entry.name), entry.name))
    for entry in entries:
        if number := version_number(entry.name):
            links |= entry.is_symlink()
            if _may_be_folder(entry):
                found[number] = model / entry.name
    return dict(sorted(found.items())), links


def version_number(name: str) -> int:
    """Return the version a folder's name is the number of, 0 for other names."""
    number = int(name) if _DIGITS.fullmatch(name) else 0
    return number if number <= _MAX_VERSION else 0


def _may_be_folder(entry: Path | os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return True
