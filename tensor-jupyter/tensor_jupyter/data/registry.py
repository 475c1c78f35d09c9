"""Load the data set that a user names: a known name, a path, feedback, or several of them joined by `+`."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tensor_jupyter.data import idx_sets, letters
from tensor_jupyter.data.archive import read_archive
from tensor_jupyter.data.dataset import Dataset, ImageSpec
from tensor_jupyter.data.folders import read_feedback, read_folder
from tensor_jupyter.data.npz import read_npz
from tensor_jupyter.data.table import read_table
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

FEEDBACK = "feedback:"
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Named:
    """A set with a name.

    files: in LAB_DATA/<name>; load: may return a stand-in; get: downloads the set itself; offline: the stand-in, if
    any.
    """

    about: str
    files: tuple[str, ...]
    load: Callable[[Settings], Dataset]
    get: Callable[[Settings], Path]
    offline: str


_NAMED = {
    "mnist": Named(
        "70,000 handwritten digits, 28x28 grey, 12 MB",
        (*idx_sets.TRAIN_FILES, *idx_sets.TEST_FILES),
        lambda settings: idx_sets.load_mnist(settings=settings),
        lambda settings: idx_sets.cached(idx_sets.MNIST, settings, settings.mnist_mirrors),
        "scikit-learn's 1,797 digits",
    ),
    "fashion-mnist": Named(
        "70,000 pieces of clothing in 10 classes, 28x28 grey, 31 MB",
        (*idx_sets.TRAIN_FILES, *idx_sets.TEST_FILES),
        idx_sets.load_fashion_mnist,
        lambda settings: idx_sets.cached(idx_sets.FASHION_MNIST, settings, settings.fashion_mnist_mirrors),
        "",
    ),
    "notmnist": Named(
        "18,724 letters from A to J cut from fonts, 28x28 grey, 8 MB",
        (letters.ARCHIVE.name,),
        letters.load_notmnist,
        letters.cached,
        "4,200 rendered letters",
    ),
}

NAMES = tuple(_NAMED)
"""The sets that have a name."""


def load(what: str | Path, settings: Settings | None = None, spec: ImageSpec | None = None) -> Dataset:
    """A data set: a name of NAMES, a path, `feedback:<model>`, or several joined by `+`.

    A path is a folder of images by class or of IDX files, a CSV of path,label, an .npz, or a tar of images by class.
    In `mnist+feedback:mnist-net`, form and labels are those of the first set; both have training and test images.

    spec: the form that image files are converted to; None: their own if they share one, else 96x96. The sets of NAMES,
    IDX files and arrays keep the form they have.

    Raises LabError when there is no such set, it cannot be read, or one of its parts is empty.
    """
    settings = settings or Settings.read()
    first, *others = [what] if isinstance(what, Path) or Path(what).exists() else what.split("+")
    data = _load_one(first, settings, spec)
    for other in others:
        data = data.plus(_load_one(other, settings, data.image_spec))
    if not len(data.train) or not len(data.test):
        raise LabError(
            f"{data.name} has {len(data.train)} images to learn from and {len(data.test)} to test with; "
            "both are needed: a class of a folder has both when it has two different images."
        )
    return data


def named(name: str) -> Named:
    """The set of this name. Raises LabError if it is not known."""
    if name not in _NAMED:
        raise LabError(f"There is no data set called {name!r}{_hint(name)}; known are {', '.join(NAMES)}.")
    return _NAMED[name]


def is_here(name: str, settings: Settings) -> bool:
    """Whether LAB_DATA holds all files of a named set; their content is not checked."""
    return all(idx_sets.find(settings.data / name, file) for file in named(name).files)


def _load_one(what: str | Path, settings: Settings, spec: ImageSpec | None) -> Dataset:
    if what in _NAMED:
        return _NAMED[str(what)].load(settings)
    if isinstance(what, str) and what.startswith(FEEDBACK):
        return read_feedback(settings.feedback, what.removeprefix(FEEDBACK), spec)
    path = Path(what)
    if path.is_dir():
        is_idx = any((path / file).is_file() for name in idx_sets.TRAIN_FILES for file in (name, name[:-3]))
        return idx_sets.read_idx_folder(path) if is_idx else read_folder(path, spec)
    if not path.is_file():
        raise LabError(
            f"{str(what)!r} is neither a data set ({', '.join(NAMES)}, feedback:MODEL) nor a file or folder that is "
            f"there{_hint(str(what))}."
        )
    if path.suffix.lower() == ".npz":
        return read_npz(path)
    if path.suffix.lower() == ".csv":
        return read_table(path, spec)
    if path.name.lower().endswith(_ARCHIVES):
        return read_archive(path, spec)
    raise LabError(f"{path} is not a data set: a folder, .csv, .npz or {', '.join(_ARCHIVES)} is wanted.")


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, NAMES, 1)
    return f" - did you mean {close[0]}?" if close else ""
