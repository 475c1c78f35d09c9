"""The models volume, `<models>/<name>/<version>/`: which folders are models, and which subfolders are versions."""

import os
import re
import time
from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,40}", re.ASCII)
_MAX_VERSION = 2**63 - 1  # versions are int64 on the wire
_SETTLED_NS = 2 * 10**9


def model_folders(models: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders with a valid model name, and those with another name, each sorted by name.

    Hidden folders (such as `.staging`) and plain files are left out. An entry that cannot be read counts as a folder.
    Raises OSError when the volume cannot be read.
    """
    folders = sorted(entry for entry in models.iterdir() if not entry.name.startswith(".") and _may_be_folder(entry))
    named = [folder for folder in folders if NAME.fullmatch(folder.name)]
    return named, [folder for folder in folders if not NAME.fullmatch(folder.name)]


class VersionFolders:
    """Lists the version folders of models; a model's folder is read again only after it has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], dict[int, Path]]] = {}

    def of(self, model: Path) -> dict[int, Path]:
        """Return the version folders of a model by number, ascending.

        `00001` is version 1, as in TF Serving. Of two folders with the same number the one with the shorter name is
        used. Raises OSError when the folder cannot be read.
        """
        found = model.stat()
        now = found.st_ino, found.st_mtime_ns
        known = self._known.get(model)
        if known and known[0] == now:
            return known[1]
        folders, links = _version_folders(model)
        self._known.pop(model, None)
        # Neither a second change within one tick of the file system's clock nor a change behind a link is visible here.
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
    """Return the version number that a folder's name stands for, 0 for other names."""
    number = int(name) if _DIGITS.fullmatch(name) else 0
    return number if number <= _MAX_VERSION else 0


def _may_be_folder(entry: Path | os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return True
