"""Make a data set of many image files, each with the label it was found under.

Files that are not images are counted, named in the log and left out. The bytes of a file decide whether it is held
out: adding or renaming images later never moves one from the test part to the training part, and equal files are
all in the same part.
"""

import hashlib
import io
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tensor_jupyter.data import image_files
from tensor_jupyter.data.dataset import Dataset, ImageSpec, LabelledImages
from tensor_jupyter.data.progress import shown
from tensor_jupyter.errors import LabError

TEST_SHARE = 0.2
"""How much of a set without a split of its own is held out."""

MAX_IMAGES = 200_000
MAX_BYTES = 2 * 2**30
"""How much memory a set may take."""

_SIDE = 96  # pixels, for images of many sizes when no size is given
_MAX_SIDE = 128  # pixels; a size shared by all is kept up to this
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A file: its path or its bytes, its label, its part ("train", "test" or "") and its name in messages."""

    source: Path | bytes
    label: str
    part: str = ""
    name: str = ""

    def open(self) -> BinaryIO:
        """Return the bytes as a stream. Raises OSError for anything but a regular file."""
        if isinstance(self.source, bytes):
            return io.BytesIO(self.source)
        if not self.source.is_file():
            raise FileNotFoundError(2, "no such file", str(self.source))
        return self.source.open("rb")

    def read(self) -> bytes:
        """Return the bytes, at most one more than the limit. Raises OSError for anything but a regular file."""
        with self.open() as file:
            return file.read(image_files.MAX_BYTES + 1)


def collect(name: str, found: Sequence[Found], wanted: ImageSpec | None = None, unreadable: int = 0) -> Dataset:
    """The data set of these files, in their order; either part may be empty.

    wanted: the form of all images; None: grey if all of them are, and their own size if they share a small one, else
    96x96. unreadable: how many files were left out before. Raises LabError when no image is left, or too many are.
    """
    if len(found) > MAX_IMAGES:
        raise LabError(f"{name} has {len(found)} files; at most {MAX_IMAGES} are read.")
    form = wanted or _common_form(found)
    shape = (form.height, form.width, form.channels)
    if len(found) * np.prod(shape, dtype=np.int64) > MAX_BYTES:
        raise LabError(f"{name} has {len(found)} images: of {form.height}x{form.width} they take more than 2 GiB.")
    images, digests = np.empty((len(found), *shape), np.uint8), [b""] * len(found)
    with shown(f"{name}: reading images", len(found)) as advance, ThreadPoolExecutor() as pool:
        for row, decoded in enumerate(pool.map(lambda file: _decoded(file, form), found)):
            if decoded:
                digests[row], images[row] = decoded
            advance(1)
    readable = np.array([bool(digest) for digest in digests], bool)
    unreadable += int((~readable).sum())
    if not readable.any():
        raise LabError(f"{name} has no image that can be read ({unreadable} files cannot).")
    labels = tuple(sorted({file.label for file, whole in zip(found, readable, strict=True) if whole}, key=_natural))
    classes = np.array([labels.index(file.label) if file.label in labels else -1 for file in found], np.int64)
    train, test, split = _split(found, digests, np.where(readable, classes, -1))
    message = (
        f"{name}: {len(labels)} {'class' if len(labels) == 1 else 'classes'}, {train.sum()} images to train on, "
        f"{test.sum()} to test with ({split})."
    )
    return Dataset(
        name=name,
        labels=labels,
        train=LabelledImages(images[train], classes[train]),
        test=LabelledImages(images[test], classes[test]),
        split=split,
        message=f"{message} Unreadable and left out: {unreadable}." if unreadable else message,
        polarity=form.polarity,
        centering=form.centering,
        unreadable=unreadable,
    )


def _common_form(found: Sequence[Found]) -> ImageSpec:
    """Return the form that suits all images: the size they share, and grey only if all are; from their headers."""
    sizes, channels = set(), 1
    for file in found:
        try:
            with file.open() as content:
                height, width, colours = image_files.measure(content)
        except (image_files.UnreadableError, OSError):
            continue
        sizes.add((height, width))
        channels = max(channels, colours)
    shared = sizes.pop() if len(sizes) == 1 else (_SIDE, _SIDE)
    return ImageSpec(*(shared if max(shared) <= _MAX_SIDE else (_SIDE, _SIDE)), channels)


def _decoded(file: Found, form: ImageSpec) -> tuple[bytes, np.ndarray] | None:
    """The SHA-256 of the file and its pixels; None if it is unreadable."""
    try:
        content = file.read()
        return hashlib.sha256(content).digest(), image_files.read(content, form)
    except (image_files.UnreadableError, OSError) as error:
        _log.info("%s left out: %s", file.name or file.source, error)
        return None


def _split(found: Sequence[Found], digests: list[bytes], classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """The rows to train on, those to test with, and the rule as text. classes: -1 for rows in neither part."""
    readable = classes >= 0
    parts = np.array([file.part for file in found])
    if (readable & (parts == "train")).any() and (readable & (parts == "test")).any():
        test = readable & (parts == "test")
        held_out = {digest for digest, held in zip(digests, test, strict=True) if held}
        again = np.array([digest in held_out for digest in digests], bool)
        train = readable & (parts != "test") & ~again
        twice = (readable & (parts != "test") & again).sum()
        removed = f"; {twice} test images found among the training images were left out there" if twice else ""
        return train, test, f"the set's own training and test images{removed}"
    draw = np.array([int.from_bytes(digest[:6], "big") for digest in digests], np.float64) / 2**48
    test = readable & (draw < TEST_SHARE)
    for number in range(classes.max() + 1):  # a class of few images may have drawn none, or all
        rows = classes == number
        lowest, highest = rows & (draw == draw[rows].min()), rows & (draw == draw[rows].max())
        if (lowest & highest).any():
            continue  # all its files are equal
        test |= lowest
        test &= ~highest
    return readable & ~test, test, "about a fifth of each class is test, drawn by the files' SHA-256"


def _natural(label: str) -> tuple[bool, int, str]:
    """Return the sort key of a label: numbers by value, then words alphabetically."""
    number = label.isascii() and label.isdecimal()
    return (not number, int(label) if number else 0, label)
