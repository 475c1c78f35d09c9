"""The sets that come as four IDX files: MNIST and Fashion-MNIST, from a folder, the cache or their mirrors.

Offline, scikit-learn's digits stand in for MNIST; Fashion-MNIST has no stand-in here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensor_jupyter.data import digits
from tensor_jupyter.data.dataset import Dataset, LabelledImages
from tensor_jupyter.data.download import Remote, fetch, problem
from tensor_jupyter.data.idx import read_idx
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

HELD_OUT = 6
"""The last sixth of the training images, 10,000 of MNIST, is kept for measuring where the test files are absent."""


@dataclass(frozen=True)
class IdxSet:
    """files: images and labels to train on, images and labels to test with; labels: the classes' names in order."""

    name: str
    labels: tuple[str, ...]
    centering: str
    files: tuple[Remote, Remote, Remote, Remote]

    def verified(self, folder: Path) -> bool:
        """Whether the folder holds the training files of this set, byte for byte."""
        return all(_is_there(folder, file) for file in self.files[1::-1])  # the small one first


MNIST = IdxSet(
    "mnist",
    tuple("0123456789"),
    "mnist",
    (
        Remote(
            "train-images-idx3-ubyte.gz",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            unpacked=True,
        ),
        Remote(
            "train-labels-idx1-ubyte.gz",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            unpacked=True,
        ),
        Remote(
            "t10k-images-idx3-ubyte.gz",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            unpacked=True,
        ),
        Remote(
            "t10k-labels-idx1-ubyte.gz",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            unpacked=True,
        ),
    ),
)
"""MNIST's mirrors compress the files anew, so the checksums are of the unpacked bytes."""

FASHION_MNIST = IdxSet(
    "fashion-mnist",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    "none",
    (
        Remote("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        Remote("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        Remote("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        Remote("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
)
"""The checksums are of the packed files, as its authors and the mirror publish them."""

TRAIN_FILES = tuple(file.name for file in MNIST.files[:2])
TEST_FILES = tuple(file.name for file in MNIST.files[2:])


def load_mnist(folder: Path | None = None, settings: Settings | None = None) -> Dataset:
    """MNIST from `folder`, else from LAB_DATA/mnist, else downloaded; without a network scikit-learn's digits.

    folder: holds the IDX files under MNIST's names, gzipped or not; any set of that layout will do. Raises LabError
    when it does not.
    """
    if folder is not None:
        return read_idx_folder(folder)
    settings = settings or Settings.read()
    try:
        return read_idx_folder(cached(MNIST, settings, settings.mnist_mirrors))
    except LabError as error:
        if MNIST.verified(settings.data / MNIST.name):
            raise
        return sklearn_digits(str(error).rstrip("."))


def load_fashion_mnist(settings: Settings) -> Dataset:
    """Fashion-MNIST from LAB_DATA/fashion-mnist, else downloaded. Raises LabError when it cannot be downloaded."""
    try:
        return read_idx_folder(cached(FASHION_MNIST, settings, settings.fashion_mnist_mirrors))
    except LabError as error:
        raise LabError(
            f"{str(error).rstrip('.')}. Nothing stands in for Fashion-MNIST: get its four .gz files where there is a "
            f"network, and put them into {settings.data / FASHION_MNIST.name}."
        ) from error


def cached(one: IdxSet, settings: Settings, mirrors: Iterable[str]) -> Path:
    """The folder in LAB_DATA that holds the set's files, downloaded if need be. Raises LabError.

    With LAB_OFFLINE the training files are enough; else the test files are downloaded, too.
    """
    folder = settings.data / one.name
    if settings.offline:
        if not one.verified(folder):
            raise LabError(f"{one.name} is not in {settings.data}, and LAB_OFFLINE is set.")
        return folder
    for file in one.files:
        if not _is_there(folder, file):
            fetch(file, mirrors, folder)
    return folder


def sklearn_digits(reason: str) -> Dataset:
    """The offline set: scikit-learn's 1,797 digits at 28x28, without the lab's sample images; every fifth is test."""
    images, labels = digits.load_digits()
    rows = np.setdiff1d(np.arange(len(labels)), digits.sample_rows(labels))
    every = LabelledImages(images[rows], labels[rows])
    test = np.arange(len(every)) % 5 == 4
    return Dataset(
        name="sklearn-digits",
        labels=MNIST.labels,
        train=every.take(~test),
        test=every.take(test),
        split="every fifth of scikit-learn's digits is test; the sample images are in neither part",
        message=f"Offline data: scikit-learn's digits at 28x28 instead of MNIST. Why: {reason}.",
        polarity="light-on-dark",
        centering="mnist",
        stand_in_for="mnist",
    )


def read_idx_folder(folder: Path) -> Dataset:
    """Return the set in a folder with MNIST's file names; its checksums identify a known set. Raises LabError."""
    train = _read(folder, TRAIN_FILES)
    known = next((one for one in (MNIST, FASHION_MNIST) if one.verified(folder)), None)
    name = known.name if known else folder.resolve().name
    if all(find(folder, file) for file in TEST_FILES):
        test, split = _read(folder, TEST_FILES), "the set's own training and test files"
    else:
        held_out = len(train) // HELD_OUT
        if not held_out:
            raise LabError(
                f"{folder} has no test files and only {len(train)} training images: at least {HELD_OUT} are wanted."
            )
        split = f"the last {held_out} of the training file's {len(train)} images are test"
        train, test = train.take(slice(None, -held_out)), train.take(slice(-held_out, None))
    like = known or MNIST
    message = f"{name}: {len(train)} images to train on, {len(test)} to test with ({split})."
    return Dataset(name, like.labels, train, test, split, message, "light-on-dark", like.centering)


def _read(folder: Path, files: tuple[str, ...]) -> LabelledImages:
    paths = [find(folder, file) for file in files]
    for path, file in zip(paths, files, strict=True):
        if path is None:
            raise LabError(f"{folder} has no {file}: give the folder that holds MNIST's IDX files.")
    images, labels = (read_idx(path, ndim) for path, ndim in zip(paths, (3, 1), strict=True) if path)
    if images.shape[1:] != (28, 28) or len(images) != len(labels) or not len(images) or labels.max() > 9:
        raise LabError(
            f"{files[0]} has shape {images.shape} and {files[1]} {labels.shape} with labels up to "
            f"{labels.max(initial=0)}: images of 28x28, one label from 0 to 9 for each, are wanted."
        )
    return LabelledImages(images[..., np.newaxis], labels.astype(np.int64))


def _is_there(folder: Path, file: Remote) -> bool:
    """Whether the folder holds the file, gzipped or not, byte for byte."""
    path = find(folder, file.name)
    return path is not None and not problem(path, file)


def find(folder: Path, file: str) -> Path | None:
    """The gzipped file, or the same unpacked."""
    candidates = (folder / file, folder / file.removesuffix(".gz"))
    return next((path for path in candidates if path.is_file()), None)
