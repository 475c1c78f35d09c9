"""Random inputs for models without known samples; and images in the form a served model takes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensor_jupyter.errors import LabError

RANGES = {"0..255": (0, 255), "0..1": (0, 1), "-1..1": (-1, 1)}
"""The card's `input.range`: the values of black and white in an input of floats."""

_OPEN_SIZE = 8  # what an open dimension becomes
_WORDS = ["the", "red", "dog", "and", "a", "small", "cat", "sat", "on", "it", "quite", "happily", "today"]


def as_input(images: np.ndarray, dtype: str, pixels: str | None = None) -> np.ndarray:
    """The images, uint8 [N, H, W, C], as an input of this type gets them from the gateway.

    pixels: the card's `input.range`; where it is missing, floats are from 0 to 1 and integers from 0 to 255.
    """
    if not dtype.startswith(("float", "bfloat")):
        return images.astype(dtype)
    low, high = RANGES[pixels or "0..1"]
    levels: np.ndarray = images.astype(np.float32) / np.float32(255) * (high - low) + low
    return levels.astype(dtype)


def card_range(card: Mapping[str, Any]) -> str | None:
    """The card's `input.range`, None if it is not one of RANGES."""
    given = card.get("input")
    found = given.get("range") if isinstance(given, Mapping) else None
    return found if found in RANGES else None


def made_up(
    dtype: str,
    sizes: Sequence[int | None],
    rows: int,
    random: np.random.Generator,
    pixels: str | None = None,
    texts: bool = True,
) -> np.ndarray:
    """Random values of a type, [rows, *sizes].

    sizes: None or -1 for an open size. pixels: the range of an image input of floats. texts: whether to make up
    sentences for an input of strings. Raises LabError for a type that cannot be made up.
    """
    shape = (rows, *(_OPEN_SIZE if size is None or size < 0 else size for size in sizes))
    if dtype == "bool":
        return random.random(shape) < 0.5
    image = len(shape) == 4 and shape[-1] in (1, 3)
    if image and (dtype == "uint8" or pixels):
        return as_input(random.integers(0, 256, shape).astype(np.uint8), dtype, pixels)
    if re.fullmatch("u?int[0-9]+", dtype):  # often indices of a small table
        return random.integers(0, 2, shape).astype(dtype)
    if re.fullmatch("float[0-9]+", dtype):
        return random.random(shape).astype(dtype)
    if dtype == "string" and texts:
        found = [" ".join(random.choice(_WORDS, 1 + place % 5)) for place in range(int(np.prod(shape)))]
        return np.array(found, object).reshape(shape)
    raise LabError(f"an input of {dtype} cannot be made up for a check")
