"""Images by class: a folder for each label, as people keep them, and the samples that the gateway keeps.

flowers/daisy/1.jpg                     one folder for each label
flowers/train/daisy/1.jpg               the same in two parts, train and test; val is test if there is no folder test
feedback/mnist-net/7/<sha256>.png       what people corrected, for each model
"""

import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from tensor_jupyter.data.collect import MAX_IMAGES, Found, collect
from tensor_jupyter.data.dataset import Dataset, ImageSpec
from tensor_jupyter.data.image_files import SUFFIXES
from tensor_jupyter.errors import LabError

_PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_VALIDATION = ("val", "valid", "validation")


def read_folder(folder: Path, wanted: ImageSpec | None = None, name: str = "") -> Dataset:
    """The images below `folder`, labelled by the folder they lie in; files that are not images are counted.

    Links, hidden files, and files without the suffix of an image are ignored. Raises LabError when there are no class
    folders, or no images in them.
    """
    parts = parts_of([path.name for path in _folders(folder)])
    found: list[Found] = []
    for path in _folders(folder):
        if parts:
            part = parts.get(path.name)
            for of_class in _folders(path) if part else ():
                found += _files(of_class, of_class.name, part or "")
        else:
            found += _files(path, path.name, "")
    if not found:
        raise LabError(
            f"{folder} has no images by class: expected a folder for each label with images in it "
            f"({', '.join(SUFFIXES)}), as in flowers/daisy/1.jpg."
        )
    return collect(name or folder.resolve().name, found, wanted)


def read_feedback(folder: Path, model: str, wanted: ImageSpec | None = None) -> Dataset:
    """The gateway's samples for `model`: images as they were sent, with the labels people gave. LabError if none."""
    found = [file for path in _folders(folder / model) for file in _files(path, urllib.parse.unquote(path.name), "")]
    if not found:
        kept = ", ".join(feedback_models(folder)) or "none"
        raise LabError(f"{folder} has no feedback for {model!r}; there is some for: {kept}. See LAB_FEEDBACK.")
    return collect(f"feedback:{model}", found, wanted)


def feedback_models(folder: Path) -> list[str]:
    """The models that the folder has samples of."""
    return [path.name for path in _folders(folder) if any(path.glob("*/*.png"))]


def parts_of(names: list[str]) -> dict[str, str]:
    """Return "train" or "test" for each folder name if these are the parts of a set; {} if they are classes."""
    low = {name: name.lower() for name in names}
    validation = [name for name in names if low[name] in _VALIDATION]
    parts = {name: _PARTS[low[name]] for name in names if low[name] in _PARTS}
    if "train" not in parts.values() or len(parts) + len(validation) < len(names):
        return {}
    return parts | dict.fromkeys(validation, "train" if "test" in parts.values() else "test")


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _seen(path) and path.is_dir())


def _files(folder: Path, label: str, part: str) -> Iterator[Found]:
    paths = sorted(path for path in folder.rglob("*") if _seen(path) and path.is_file())
    if len(paths) > MAX_IMAGES:
        raise LabError(f"{folder} has {len(paths)} files; at most {MAX_IMAGES} are read.")
    for path in paths:
        if path.suffix.lower() in SUFFIXES:
            yield Found(path, label, part)


def _seen(path: Path) -> bool:
    return not path.name.startswith(".") and not path.is_symlink()
