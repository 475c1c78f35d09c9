"""Find an image's polarity by its border, which is mostly background: a drawn or photographed glyph seldom reaches it.

This file is the same in the gateway and in the workbench, so that a model is trained on what it is served; it must
import neither of them.
"""

from typing import Any

import numpy as np

Levels = np.ndarray[Any, np.dtype[np.uint8]]  # [height, width] or [height, width, 3]

_NEAR = 8  # levels: a background this near to black or white counts as black or white
_FAINT = 80  # levels: strokes of at least 255 - 80 on black need no stretching
_NEITHER = bytes(range(_NEAR + 1, 255 - _NEAR))
_NOT_BLACK = bytes(range(_NEAR + 1, 256))
_LIGHT = 127  # a background over this is light
_LIGHT_LEVELS = bytes(range(_LIGHT + 1, 256))


def is_light(pixels: Levels) -> bool:
    """Return whether the image is dark on light: whether the median level of its border is over 127.

    The levels over 127 are counted, which is faster; the median is computed only if they are exactly half.
    """
    levels = b"".join([strip.tobytes() for strip in _strips(pixels)])
    dark = len(levels.translate(None, _LIGHT_LEVELS))
    return 2 * dark < len(levels) if 2 * dark != len(levels) else _background(pixels) > _LIGHT


def _background(pixels: Levels) -> float:
    """Return the median level of the border."""
    levels = _border(pixels)
    levels.sort()
    middle = len(levels) // 2
    return (int(levels[middle]) + int(levels[(len(levels) - 1) // 2])) / 2


def _border(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy of the levels in the outermost twentieth, in no order."""
    return np.concatenate([strip.ravel() for strip in _strips(pixels)])


def _strips(pixels: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
    height, width = pixels.shape[:2]
    rim = max(1, min(height, width) // 20)
    bottom, right = max(rim, height - rim), max(rim, width - rim)
    middle = pixels[rim:bottom]
    return pixels[:rim], pixels[bottom:], middle[:, :rim], middle[:, right:]


def even_ground(pixels: Levels) -> str | None:
    """Return the background, "light" or "dark", of grey pixels that look like MNIST's, else None.

    Those have an even white or black background and strong strokes.
    """
    levels = b"".join([strip.tobytes() for strip in _strips(pixels)])
    ground = len(levels.translate(None, _NEITHER))
    if 10 * ground < 9 * len(levels):
        return None
    if 2 * len(levels.translate(None, _NOT_BLACK)) > ground:
        return "dark" if pixels.max() >= 255 - _FAINT else None
    return "light" if pixels.min() <= _FAINT else None
