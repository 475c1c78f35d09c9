"""Labelled pictures to train on and to measure with.

data = load_mnist()          # downloaded once, or scikit-learn's digits where there is no network
data.train.images            # uint8 [N, 28, 28, 1], light on dark
data.test                    # never trained on
"""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tensor_jupyter import digits
from tensor_jupyter.download import fetch_gzip, unpacked_sha256
from tensor_jupyter.errors import LabError
from tensor_jupyter.idx import read_idx
from tensor_jupyter.settings import Settings

TRAIN_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")

SHA256 = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Of MNIST's unpacked files."""

HELD_OUT = 5_000
"""How many of the last training pictures are kept for measuring where the test files are absent."""

_FEWEST = 2_000  # pictures; with fewer, a part of the training set says little about the whole


@dataclass(frozen=True)
class Pictures:
    """images: uint8 [N, H, W, C]; labels: int64 [N], each an index into the data set's `labels`."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> "Pictures":
        return Pictures(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Dataset:
    """A named set of pictures, how it was split, and one line that says where it came from."""

    name: str
    labels: tuple[str, ...]
    train: Pictures
    test: Pictures
    split: str
    message: str

    def subset(self, fraction: float, seed: int = 0) -> "Dataset":
        """A random part of the training pictures, at least 2,000 of them or all; the test pictures stay whole.

        Raises LabError unless 0 < fraction <= 1.
        """
        if not 0 < fraction <= 1:
            raise LabError(f"A subset of {fraction} cannot be taken: give a fraction above 0 and at most 1, as 0.1.")
        count = min(len(self.train), max(_FEWEST, round(fraction * len(self.train))))
        if count == len(self.train):
            return self
        rows = np.random.default_rng(seed).permutation(len(self.train))[:count]
        return replace(
            self,
            train=self.train.take(rows),
            split=f"{self.split}; {count} of the training pictures are used",
            message=f"{self.message} {count} of the training pictures are used.",
        )


def load_mnist(folder: Path | None = None, settings: Settings | None = None) -> Dataset:
    """MNIST from `folder`, else from LAB_DATA/mnist, else downloaded; without a network scikit-learn's digits.

    folder: holds the IDX files under MNIST's names, gzipped or not; any set of that layout will do. Raises LabError
    when it does not.
    """
    if folder is not None:
        return _from_folder(folder)
    settings = settings or Settings.read()
    cache = settings.data / "mnist"
    if not _verified(cache, TRAIN_FILES):
        if settings.offline:
            return sklearn_digits("LAB_OFFLINE is set")
        try:
            for name in TRAIN_FILES + TEST_FILES:
                fetch_gzip(name, SHA256[name], settings.mnist_mirrors, cache)
        except LabError as error:
            return sklearn_digits(str(error).rstrip("."))
    return _from_folder(cache)


def sklearn_digits(reason: str) -> Dataset:
    """The offline set: scikit-learn's 1,797 digits at 28x28, without the lab's sample pictures; every fifth is test."""
    images, labels = digits.load_digits()
    rows = np.setdiff1d(np.arange(len(labels)), digits.sample_rows(labels))
    every = Pictures(images[rows], labels[rows])
    test = np.arange(len(every)) % 5 == 4
    return Dataset(
        name="sklearn-digits",
        labels=_digit_names(),
        train=every.take(~test),
        test=every.take(test),
        split="every fifth of scikit-learn's digits is test; the sample pictures are in neither part",
        message=f"Offline data: scikit-learn's digits at 28x28 instead of MNIST. Why: {reason}.",
    )


def _from_folder(folder: Path) -> Dataset:
    train = _read(folder, TRAIN_FILES)
    name = "mnist" if _verified(folder, TRAIN_FILES) else folder.resolve().name
    if all(_find(folder, file) for file in TEST_FILES):
        test, split = _read(folder, TEST_FILES), "the set's own training and test files"
    else:
        if len(train) <= HELD_OUT:
            raise LabError(
                f"{folder} has no test files and only {len(train)} training pictures: more than {HELD_OUT} are wanted."
            )
        split = f"the last {HELD_OUT} of the training file's {len(train)} pictures are test"
        train, test = train.take(slice(None, -HELD_OUT)), train.take(slice(-HELD_OUT, None))
    message = f"{name}: {len(train)} pictures to train on, {len(test)} to test with ({split})."
    return Dataset(name, _digit_names(), train, test, split, message)


def _read(folder: Path, files: tuple[str, str]) -> Pictures:
    paths = [_find(folder, file) for file in files]
    for path, file in zip(paths, files, strict=True):
        if path is None:
            raise LabError(f"{folder} has no {file}: give the folder that holds MNIST's IDX files.")
    images, labels = (read_idx(path, ndim) for path, ndim in zip(paths, (3, 1), strict=True) if path)
    if images.shape[1:] != (28, 28) or len(images) != len(labels) or not len(images) or labels.max() > 9:
        raise LabError(
            f"{files[0]} has shape {images.shape} and {files[1]} {labels.shape} with labels up to "
            f"{labels.max(initial=0)}: pictures of 28x28, one label from 0 to 9 for each, are wanted."
        )
    return Pictures(images[..., np.newaxis], labels.astype(np.int64))


def _find(folder: Path, file: str) -> Path | None:
    """The gzipped file, or the same unpacked."""
    candidates = (folder / file, folder / file.removesuffix(".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _verified(folder: Path, files: tuple[str, ...]) -> bool:
    """Whether the folder holds these files of MNIST, byte for byte."""
    try:
        paths = [(_find(folder, file), SHA256[file]) for file in files]
        return all(path is not None and unpacked_sha256(path) == wanted for path, wanted in paths)
    except (OSError, EOFError, zlib.error, ValueError):
        return False


def _digit_names() -> tuple[str, ...]:
    return tuple(str(digit) for digit in range(10))
