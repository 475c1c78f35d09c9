"""The models volume: `<models>/<name>/<version>/`. Which folders are models, and which of theirs are versions."""

import re
from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,40}", re.ASCII)
_LARGEST = 2**63 - 1  # versions are int64 on the wire


def model_folders(models: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders with a model's name, and those with another, each sorted by name.

    Hidden folders (`.staging` among them) and plain files are neither.
    Raises OSError when the volume cannot be read.
    """
    folders = sorted(entry for entry in models.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    named = [folder for folder in folders if NAME.fullmatch(folder.name)]
    return named, [folder for folder in folders if not NAME.fullmatch(folder.name)]


def version_folders(model: Path) -> dict[int, Path]:
    """Return the version folders of a model by number, ascending.

    `00001` is version 1, as in TF Serving. Where two folders carry one number the shorter name counts.
    Raises OSError when the folder cannot be read.
    """
    found: dict[int, Path] = {}
    for folder in sorted(model.iterdir(), key=lambda entry: (-len(entry.name), entry.name)):
        number = version_number(folder.name)
        if number and folder.is_dir():
            found[number] = folder
    return dict(sorted(found.items()))


def version_number(name: str) -> int:
    """Return the version a folder's name is the number of, 0 for other names."""
    number = int(name) if _DIGITS.fullmatch(name) else 0
    return number if number <= _LARGEST else 0
