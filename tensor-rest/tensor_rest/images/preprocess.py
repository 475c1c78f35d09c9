"""Converts an image to what a model takes: size, channels, polarity, and MNIST's centring for drawn glyphs.

How MNIST's makers did it (yann.lecun.com/exdb/mnist): the glyph is scaled, aspect kept, into 20 x 20 of the 28 x 28
pixels, and placed so that its centre of mass is the centre of the image.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from tensor_rest.errors import BadRequestError
from tensor_rest.images import border, ink

Polarity = Literal["light-on-dark", "dark-on-light"]
Centering = Literal["mnist", "none"]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class ImageInput:
    """What a model takes: size in pixels, 1 (grey) or 3 (RGB) channels; polarity None: left as it is."""

    height: int
    width: int
    channels: int
    polarity: Polarity | None = None
    centering: Centering = "none"


def fit(image: Image.Image, wanted: ImageInput) -> Pixels:
    """Return `image` as uint8 [height, width, channels].

    Raises BadRequestError if the model takes glyphs and nothing is drawn.
    """
    return fit_pixels(np.asarray(image.convert("L" if wanted.channels == 1 else "RGB")), wanted)


def fit_pixels(pixels: Pixels, wanted: ImageInput) -> Pixels:
    """Like `fit`, for pixels that already have the channels: [h, w] for 1, [h, w, 3] for 3."""
    if _takes_glyphs(wanted):
        levels = _glyph(pixels, wanted)
    else:
        levels = 255 - pixels if _is_inverted(border.is_light(pixels), wanted) else pixels
        if pixels.shape[:2] != (wanted.height, wanted.width):
            levels = np.asarray(Image.fromarray(levels).resize((wanted.width, wanted.height), Resampling.BILINEAR))
    return levels.reshape(wanted.height, wanted.width, wanted.channels)


def cleaned(pixels: Pixels, wanted: ImageInput) -> bool:
    """Return whether the model takes glyphs and `pixels` are not like MNIST's already, so that `fit` cleans them."""
    return _takes_glyphs(wanted) and _even_ground(pixels, wanted) is None


def _takes_glyphs(wanted: ImageInput) -> bool:
    return wanted.centering == "mnist" and wanted.channels == 1


def _even_ground(pixels: Pixels, wanted: ImageInput) -> str | None:
    """Return the background, "light" or "dark", of grey pixels that look like MNIST's and have the model's size."""
    return border.even_ground(pixels) if pixels.shape == (wanted.height, wanted.width) else None


def _glyph(pixels: Pixels, wanted: ImageInput) -> Pixels:
    ground = _even_ground(pixels, wanted)
    if ground is not None:
        return 255 - pixels if _is_inverted(ground == "light", wanted) else pixels
    glyph = ink.mnist_like(pixels, wanted.height, wanted.width)
    if glyph is None:
        raise BadRequestError("Nothing is drawn in the image: no stroke stands out from the background.")
    dark = ink.is_dark_on_light(pixels) if wanted.polarity is None else wanted.polarity == "dark-on-light"
    return 255 - glyph if dark else glyph


def _is_inverted(light: bool, wanted: ImageInput) -> bool:
    """Whether the image must be inverted: its background is light where the model takes dark, or the reverse."""
    return wanted.polarity is not None and light != (wanted.polarity == "dark-on-light")
