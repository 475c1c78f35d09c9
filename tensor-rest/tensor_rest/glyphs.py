"""A picture brought to what a model takes: size, channels, polarity, and MNIST's centring for drawn glyphs.

How MNIST's makers did it (yann.lecun.com/exdb/mnist): the glyph is scaled, aspect kept, into 20 x 20 of the 28 x 28
pixels, and placed so that its centre of mass is the centre of the picture.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from .errors import BadRequestError
from .images import border, ink

Polarity = Literal["light-on-dark", "dark-on-light"]
Centering = Literal["mnist", "none"]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


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
    if is_glyph(wanted) and not (same and border.is_clean(pixels)):
        glyph = ink.mnist_like(pixels, wanted.height, wanted.width)
        if glyph is None:
            raise BadRequestError("Nothing is drawn in the image: it has no stroke that stands out from the ground.")
        dark = ink.is_dark_on_light(pixels) if wanted.polarity is None else wanted.polarity == "dark-on-light"
        pixels = 255 - glyph if dark else glyph
    else:
        if wanted.polarity and border.is_light(pixels) != (wanted.polarity == "dark-on-light"):
            pixels = 255 - pixels
        if not same:
            pixels = _resized(pixels, wanted.width, wanted.height)
    return pixels.reshape(wanted.height, wanted.width, wanted.channels)


def is_glyph(wanted: ImageInput) -> bool:
    """Whether the model takes a single glyph, cleaned and centred as in MNIST."""
    return wanted.centering == "mnist" and wanted.channels == 1


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
