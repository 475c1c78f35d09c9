"""A CSV of images and labels: `path,label`, and optionally the part: train, val or test.

Without test, val is what to test with. The first line may name the columns. Paths are relative to the CSV and must
stay below its folder.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from tensor_jupyter.data.collect import MAX_IMAGES, Found, collect
from tensor_jupyter.data.dataset import Dataset, ImageSpec
from tensor_jupyter.data.folders import parts_of
from tensor_jupyter.errors import LabError

_PATH = ("path", "file", "filename", "file_name", "image", "image_path", "picture")
_LABEL = ("label", "class", "category", "class_name", "target")
_PART = ("split", "part", "set", "subset")
_MAX_BYTES = 64 * 2**20


def read_table(path: Path, wanted: ImageSpec | None = None) -> Dataset:
    """The images a CSV names; a file that is missing or not an image is counted as unreadable.

    Raises LabError, with the line, for a row without a path or label, for an unknown part, and for a path out of the
    CSV's folder.
    """
    root = path.parent.resolve()
    rows = list(_rows(path))
    parts = parts_of([*{"train", *(part for *_, part in rows if part)}])  # a row without a part is trained on
    found = [
        Found(_below(root, name, path, line), label, parts.get(part, "train"), f"{path.name}:{line}")
        for line, name, label, part in rows
    ]
    if not found:
        raise LabError(f"{path} names no images: lines of path,label are wanted.")
    return collect(path.stem, found, wanted)


def _rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line number, path, label and part of each row; the part is "train", "val", "test", a synonym, or "" if none."""
    columns = None
    if path.stat().st_size > _MAX_BYTES:
        raise LabError(f"{path} has more than {_MAX_BYTES} bytes: it is not a list of images.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, cells in enumerate(csv.reader(file), 1):
                row = [cell.strip() for cell in cells]
                if columns is None:
                    columns = _columns(row)
                    if columns:
                        continue
                    columns = {"path": 0, "label": 1, "part": 2}
                if not any(row):
                    continue
                values = {name: row[column] if column < len(row) else "" for name, column in columns.items()}
                if not values["path"] or not values["label"]:
                    raise LabError(f"{path}, line {line}: found {','.join(cells)[:80]!r}, expected path,label.")
                if line > MAX_IMAGES:
                    raise LabError(f"{path} has more than {MAX_IMAGES} lines.")
                part = values.get("part", "")
                if part and not parts_of([*{"train", part}]):
                    raise LabError(f"{path}, line {line}: unknown part {part[:80]!r} (expected train, val or test).")
                yield line, values["path"], values["label"], part
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabError(f"{path} is not a CSV in UTF-8 ({error}): expected lines of path,label.") from error


def _columns(row: list[str]) -> dict[str, int] | None:
    """The indices of the columns if the row is a heading, None if it names an image."""
    low = [cell.lower() for cell in row]
    places = {
        name: next((low.index(word) for word in words if word in low), None)
        for name, words in (("path", _PATH), ("label", _LABEL), ("part", _PART))
    }
    if places["path"] is None or places["label"] is None:
        return None
    return {name: place for name, place in places.items() if place is not None}


def _below(root: Path, name: str, path: Path, line: int) -> Path:
    """Return the file's path with links resolved. Raises LabError if it is not below the CSV's folder."""
    try:
        file = (root / name).resolve()
        inside = file.is_relative_to(root)
    except (OSError, ValueError, RuntimeError):  # the name is too long or has a null byte, or links form a loop
        inside = False
    if not inside:
        raise LabError(f"{path}, line {line}: {name[:80]!r} leads out of {root}; keep the images beside the CSV.")
    return file
