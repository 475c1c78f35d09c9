"""Images that a concept model of digits should reproduce badly, for its training.

An autoencoder trained on digits alone reproduces other strokes nearly as well as digits. If it is also trained on these
images, towards a high error, it separates letters of unseen fonts from digits (figures in docs/pipeline.md). The method
is outlier exposure: Hendrycks et al., https://arxiv.org/abs/1812.04606.
"""

from typing import Any

import numpy as np
from keras import ops
from PIL import Image, ImageDraw

from tensor_jupyter.data import LabelledImages
from tensor_jupyter.data.digits import mnist_like

ERROR = 0.05
"""The mean squared error that these images should have at least; that of digits should be 0."""

_MAX_OF_KIND = 6_000  # images of each kind, and at most a third of the number of digits
_PLAIN = 100  # blank images; three times as many of noise
_SYMMETRIC = (0, 1, 8)  # digits that are digits when turned or mirrored
_SIDE, _LARGE = 28, 112  # pixels of an image, and of one while strokes are drawn on it


def outliers(digits: LabelledImages, letters: LabelledImages, seed: int) -> np.ndarray:
    """Make foreign images: letters, parts of two digits, turned digits, random strokes, blank images and noise.

    Args:
        digits: Images like MNIST's, uint8 [N, 28, 28, 1], with the digits 0 to 9 as labels.
        letters: Light on dark, uint8 [M, 28, 28, 1].
        seed: The same gives the same images.

    Returns:
        uint8 [K, 28, 28, 1].
    """
    random = np.random.default_rng(seed)
    count = min(_MAX_OF_KIND, len(digits) // 3)
    some = letters.images[np.sort(random.permutation(len(letters))[:count])]
    boxed = fitted(some)
    noise = random.integers(0, 256, (3 * _PLAIN, _SIDE, _SIDE, 1), np.uint8)
    blank = np.zeros((_PLAIN, _SIDE, _SIDE, 1), np.uint8)
    made = (_halves(digits, count, random), _turned(digits, count, random), _strokes(count, random))
    return np.concatenate([some, boxed, _thinner(boxed), *made, blank, noise])


def loss(wanted: Any, errors: Any) -> Any:
    """The mean loss: the error where the wanted error is 0, else how far the error is below the wanted one.

    wanted, errors: float32 [N].
    """
    return ops.mean(ops.where(wanted > 0, ops.relu(wanted - errors), errors))


def fitted(images: np.ndarray) -> np.ndarray:
    """The glyphs fitted into MNIST's box, like drawn and photographed ones. uint8 [N, 28, 28, 1]."""
    boxed = [mnist_like(image[..., 0] / np.float32(255)) for image in images]
    return np.asarray(boxed, np.uint8).reshape(-1, _SIDE, _SIDE, 1)


def _thinner(images: np.ndarray) -> np.ndarray:
    """The strokes a pixel thinner."""
    across = np.minimum(images[:, :, :-1], images[:, :, 1:])
    thin = np.minimum(across[:, :-1], across[:, 1:])
    return np.pad(thin, ((0, 0), (0, 1), (0, 1), (0, 0)))


def _halves(digits: LabelledImages, count: int, random: np.random.Generator) -> np.ndarray:
    """Halves of two digits with different labels, joined: halves of two ones could be a one."""
    rows, others = random.integers(0, len(digits), (2, count))
    differ = digits.labels[rows] != digits.labels[others]
    first: np.ndarray = digits.images[rows[differ]]
    second = digits.images[others[differ]]
    upright = random.random(len(first)) < 0.5
    first[upright, _SIDE // 2 :] = second[upright, _SIDE // 2 :]
    first[~upright, :, _SIDE // 2 :] = second[~upright, :, _SIDE // 2 :]
    return first


def _turned(digits: LabelledImages, count: int, random: np.random.Generator) -> np.ndarray:
    """Digits mirrored, upside down, or turned by a quarter."""
    others = np.flatnonzero(~np.isin(digits.labels, _SYMMETRIC))
    if not others.size:
        return digits.images[:0]
    parts = np.array_split(digits.images[random.choice(others, count)], 4)
    mirrored, upside_down = parts[0][:, :, ::-1], parts[1][:, ::-1]
    quarters = (np.rot90(part, turns, axes=(1, 2)) for part, turns in ((parts[2], 1), (parts[3], 3)))
    return np.concatenate([mirrored, upside_down, *quarters])


def _strokes(count: int, random: np.random.Generator) -> np.ndarray:
    """One to four lines and arcs."""
    made = []
    for _ in range(count):
        image = Image.new("L", (_LARGE, _LARGE))
        draw, width = ImageDraw.Draw(image), int(random.integers(6, 16))
        for _ in range(random.integers(1, 5)):
            if random.random() < 0.65:
                points = random.integers(8, 104, (random.integers(2, 4), 2)).tolist()
                draw.line([tuple(point) for point in points], fill=255, width=width, joint="curve")
            else:
                left, top = random.integers(8, 60, 2).tolist()
                wide, high = random.integers(24, 50, 2).tolist()
                start, length = random.integers((0, 90), (360, 360)).tolist()
                draw.arc((left, top, left + wide, top + high), start, start + length, fill=255, width=width)
        made.append(np.asarray(image)[..., np.newaxis])
    return fitted(np.asarray(made, np.uint8).reshape(-1, _LARGE, _LARGE, 1))
