"""Handwritten digits that need no download: scikit-learn's 8x8 digits brought to 28x28 in MNIST's manner.

The 8x8 values count the ink in 4x4 blocks of a 32x32 bitmap (UCI, Optical Recognition of Handwritten Digits), so a
smooth enlargement with a contrast curve gives back a stroke much like the original's.

The first ten of each digit, in scikit-learn's order, are the lab's sample images. The offline set leaves them out.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from tensor_jupyter.errors import LabError

SAMPLES_PER_DIGIT = 10
"""How many of each digit are set aside as sample images."""

_ENLARGED = 80  # pixels of a side to which a digit is enlarged before it is fitted into its box
_BOX = 20  # pixels of the box that MNIST fits a digit into
_SIDE = 28


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """All of scikit-learn's digits: images uint8 [1797, 28, 28, 1] light on dark, labels int64 [1797]."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = np.stack([mnist_like(_enlarge(image / 16.0)) for image in digits.images])
    return images[..., np.newaxis], digits.target.astype(np.int64)


def sample_rows(labels: np.ndarray, per_digit: int = SAMPLES_PER_DIGIT) -> np.ndarray:
    """The rows of the first `per_digit` of each digit, ascending."""
    return np.sort(np.concatenate([np.flatnonzero(labels == digit)[:per_digit] for digit in range(10)]))


def mnist_like(ink: np.ndarray) -> np.ndarray:
    """A glyph in the form of MNIST: fitted into a 20x20 box, centre of mass in the middle of 28x28.

    ink: float [H, W], 0 = paper, 1 = ink. Returns uint8 [28, 28], light on dark; all dark where there is no ink.
    """
    rows, columns = np.nonzero(ink > 0.1)
    if not rows.size:
        return np.zeros((_SIDE, _SIDE), np.uint8)
    glyph = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
    scale = _BOX / max(glyph.shape)
    height, width = (max(1, round(side * scale)) for side in glyph.shape)
    fitted = np.asarray(Image.fromarray(glyph).resize((width, height), Image.Resampling.BOX))
    canvas = np.zeros((_SIDE, _SIDE), np.float32)
    top = _offset(fitted.sum(axis=1))
    left = _offset(fitted.sum(axis=0))
    canvas[top : top + height, left : left + width] = fitted
    return np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def save_samples(folder: Path, count: int = 10 * SAMPLES_PER_DIGIT) -> list[Path]:
    """Write `count` sample images, equally many of each digit, as `mnist_<digit>_<row>.jpg`: 28x28 grey JPEG.

    The row is the image's place in scikit-learn's set. Above 100, some are in the offline set. Raises LabError for a
    count that is not 10, 20 ... 1000.
    """
    if count % 10 or not 10 <= count <= 1000:
        raise LabError(
            f"{count} samples cannot be made: give a number with equally many of each digit, 10, 20, ... 1000."
        )
    images, labels = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for row in sample_rows(labels, count // 10):
        paths.append(folder / f"mnist_{labels[row]}_{row:04d}.jpg")
        Image.fromarray(images[row, ..., 0]).save(paths[-1], quality=95)
    return paths


def _enlarge(coarse: np.ndarray) -> np.ndarray:
    framed = np.pad(coarse, 1).astype(np.float32)
    smooth = Image.fromarray(framed).resize((_ENLARGED, _ENLARGED), Image.Resampling.BILINEAR)
    # The counts are blurred strokes: this curve sets the middle of a stroke to full ink, and makes its edge thin again.
    return np.clip((np.asarray(smooth) - 0.1) / 0.7, 0, 1)


def _offset(profile: np.ndarray) -> int:
    """Return where a profile of ink must start so that its centre of mass is in the middle; it must fit inside."""
    centre = (np.arange(len(profile)) * profile).sum() / profile.sum()
    return int(np.clip(round((_SIDE - 1) / 2 - centre), 0, _SIDE - len(profile)))
