"""A picture brought to what a model takes: size, channels, polarity, and MNIST's centring for drawn glyphs.

How MNIST's makers did it (yann.lecun.com/exdb/mnist): the glyph is scaled, aspect kept, into 20 x 20 of the 28 x 28
pixels, and placed so that its centre of mass is the centre of the picture.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from .errors import BadRequestError
from .images import ink

Polarity = Literal["light-on-dark", "dark-on-light"]
Centering = Literal["mnist", "none"]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_NEAR = 8  # levels: a ground so near to black or white is as good as black or white
_FAINT = 80  # levels: strokes of at least 255 - 80 on black need no stretching
_NEITHER = bytes(range(_NEAR + 1, 255 - _NEAR))
_NOT_BLACK = bytes(range(_NEAR + 1, 256))
_LIGHT = 127  # a background over this is light
_LIGHT_LEVELS = bytes(range(_LIGHT + 1, 256))


@dataclass(frozen=True)
class ImageInput:
    """What a model wants to see: size in pixels, 1 (grey) or 3 (RGB) channels; None: take the polarity as it comes."""

    height: int
    width: int
    channels: int
    polarity: Polarity | None = None
    centering: Centering = "none"


def fit(picture: Image.Image, wanted: ImageInput) -> Pixels:
    """Return `picture` as uint8 [height, width, channels]. Raises BadRequestError where a glyph is wanted and none is drawn."""
    return fit_pixels(np.asarray(picture.convert("L" if wanted.channels == 1 else "RGB")), wanted)


def fit_pixels(pixels: Pixels, wanted: ImageInput) -> Pixels:
    """The same for pixels that have the channels: [h, w] for 1, [h, w, 3] for 3."""
    same = pixels.shape[:2] == (wanted.height, wanted.width)
    if is_glyph(wanted) and not (same and is_clean(pixels)):
        glyph = ink.mnist_like(pixels, wanted.height, wanted.width)
        if glyph is None:
            raise BadRequestError("Nothing is drawn in the image: it has no stroke that stands out from the ground.")
        dark = ink.is_dark_on_light(pixels) if wanted.polarity is None else wanted.polarity == "dark-on-light"
        pixels = 255 - glyph if dark else glyph
    else:
        if wanted.polarity and is_light(pixels) != (wanted.polarity == "dark-on-light"):
            pixels = 255 - pixels
        if not same:
            pixels = _resized(pixels, wanted.width, wanted.height)
    return pixels.reshape(wanted.height, wanted.width, wanted.channels)


def is_glyph(wanted: ImageInput) -> bool:
    """Whether the model takes a single glyph, cleaned and centred as in MNIST."""
    return wanted.centering == "mnist" and wanted.channels == 1


def is_clean(pixels: Pixels) -> bool:
    """Whether grey pixels look like MNIST's, in either polarity: an even ground of black or white, strong strokes."""
    levels = b"".join([strip.tobytes() for strip in _strips(pixels)])
    ground = len(levels.translate(None, _NEITHER))
    if 10 * ground < 9 * len(levels):
        return False
    black = len(levels.translate(None, _NOT_BLACK))
    return bool(pixels.max() >= 255 - _FAINT) if 2 * black > ground else bool(pixels.min() <= _FAINT)


def is_light(pixels: Pixels) -> bool:
    """Whether something dark is drawn on light, judged by the border: by `_background`, mostly without its work."""
    levels = b"".join([strip.tobytes() for strip in _strips(pixels)])
    dark = len(levels.translate(None, _LIGHT_LEVELS))
    return 2 * dark < len(levels) if 2 * dark != len(levels) else _background(pixels) > _LIGHT


def _background(pixels: Pixels) -> float:
    """The level of the border: where one draws or photographs a glyph, nothing is drawn at the rim."""
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


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
