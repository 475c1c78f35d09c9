"""The data set: labelled images to train on, others to measure with, and its entry in a model's card."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from tensor_jupyter.errors import LabError

_MIN_SUBSET = 2_000  # images; a smaller part of the training set is a poor estimate of the whole
_MIN_VALIDATION = 50  # images to validate with, or a fifth of all


@dataclass(frozen=True)
class ImageSpec:
    """The form of every image of a set, with the fields of a card's `input`.

    channels: 1 is grey, 3 is RGB. polarity: "light-on-dark", "dark-on-light", or None for images taken as they come.
    centering: "mnist" for a glyph in the 20x20 box in the middle, or "none".
    """

    height: int
    width: int
    channels: int
    polarity: str | None = None
    centering: str = "none"

    def card(self) -> dict[str, Any]:
        """The card's `input`."""
        return asdict(self)

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> "ImageSpec | None":
        """Return the form in a card's `input`, which may have more fields; None where it is missing or incomplete."""
        given = card.get("input")
        try:
            return cls(**{each.name: given[each.name] for each in fields(cls) if each.name in given}) if given else None
        except TypeError:
            return None


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 [N, H, W, C]; labels: int64 [N], each an index into the data set's `labels`."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> "LabelledImages":
        return LabelledImages(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Dataset:
    """A named set of images, how it was split, and one line on where it came from.

    unreadable: how many files were left out because they are not images. stand_in_for: the set that was wanted,
    when this one took its place offline; else "".
    """

    name: str
    labels: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages
    split: str
    message: str
    polarity: str | None = None
    centering: str = "none"
    unreadable: int = 0
    stand_in_for: str = ""

    @property
    def image_spec(self) -> ImageSpec:
        """Size, channels, polarity and centring of the images, for the card."""
        height, width, channels = self.train.images.shape[1:]
        return ImageSpec(height, width, channels, self.polarity, self.centering)

    @cached_property
    def hash(self) -> str:
        """SHA-256, hexadecimal, over the label names and both parts' pixels and labels: equal sets, equal hash."""
        digest = hashlib.sha256(json.dumps(self.labels).encode())
        for part in (self.train, self.test):
            digest.update(json.dumps(part.images.shape).encode())
            digest.update(np.ascontiguousarray(part.images, np.uint8).data)
            digest.update(np.ascontiguousarray(part.labels, "<i8").data)
        return digest.hexdigest()

    @property
    def about(self) -> dict[str, Any]:
        """The card's `data_set`: identifies what a model was trained on and measured with."""
        document: dict[str, Any] = {
            "name": self.name,
            "hash": self.hash,
            "train_images": len(self.train),
            "test_images": len(self.test),
            "split": self.split,
        }
        if self.unreadable:
            document["unreadable"] = self.unreadable
        if self.stand_in_for:
            document["stand_in_for"] = self.stand_in_for
        return document

    def validation_split(self, fraction: float, seed: int = 7) -> tuple[LabelledImages, LabelledImages]:
        """Return the training images in random order: those to learn from, and a part to validate with.

        The test images are in neither part, so that no choice depends on them.

        Args:
            fraction: The part to validate with, 0 for none; at least 50 images or a fifth of a small set.
            seed: The same seed gives the same split.
        """
        count = len(self.train)
        held_out = max(math.ceil(fraction * count), min(_MIN_VALIDATION, count // 5), 1) if fraction else 0
        rows = np.random.default_rng(seed).permutation(count)
        return self.train.take(rows[held_out:]), self.train.take(rows[:held_out])

    def subset(self, fraction: float, seed: int = 0) -> "Dataset":
        """Return the set with a random part of its training images, at least 2,000 or all, and all its test images.

        Raises LabError unless 0 < fraction <= 1.
        """
        if not 0 < fraction <= 1:
            raise LabError(f"A subset of {fraction} cannot be taken: give a fraction above 0 and at most 1, as 0.1.")
        count = min(len(self.train), max(_MIN_SUBSET, round(fraction * len(self.train))))
        if count == len(self.train):
            return self
        rows = np.random.default_rng(seed).permutation(len(self.train))[:count]
        return replace(
            self,
            train=self.train.take(rows),
            split=f"{self.split}; {count} of the training images are used",
            message=f"{self.message} {count} of the training images are used.",
        )

    def plus(self, other: "Dataset") -> "Dataset":
        """Return the union of both sets, of their training images and of their test images; labels are matched by name.

        Raises LabError when the other's images have another size, or a label that this set does not know.
        """
        unknown = [label for label in other.labels if label not in self.labels]
        if unknown:
            raise LabError(f"{other.name} has the label {unknown[0]!r}, which {self.name} does not: {self.labels}.")
        if other.image_spec != self.image_spec:
            raise LabError(f"{other.name} has images of {other.image_spec}, {self.name} of {self.image_spec}.")
        place = np.array([self.labels.index(label) for label in other.labels], np.int64)

        def both(mine: LabelledImages, theirs: LabelledImages) -> LabelledImages:
            labels = np.concatenate([mine.labels, place[theirs.labels]])
            return LabelledImages(np.concatenate([mine.images, theirs.images]), labels)

        return replace(
            self,
            name=f"{self.name}+{other.name}",
            train=both(self.train, other.train),
            test=both(self.test, other.test),
            split=f"{self.name}: {self.split}; {other.name}: {other.split}",
            message=f"{self.message} {other.message}",
            unreadable=self.unreadable + other.unreadable,
        )
