"""Convert image files of any kind and size to the form of a set, as the gateway does it for a model's input.

Files are not trusted: bytes and pixels are limited before anything is decoded.
"""

import io
import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from tensor_jupyter.data.dataset import ImageSpec
from tensor_jupyter.data.images import border, ink
from tensor_jupyter.data.images.flatten import flatten

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
"""Files with these suffixes are read as images."""

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 50_000_000
"""Of one file, by its header."""

_ORIENTATION = 0x0112  # EXIF tag; the values 5 to 8 swap height and width

# MAX_PIXELS is stricter than Pillow's limit, beyond which Pillow only warns.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UnreadableError(Exception):
    """The bytes are not an image, or one that is broken, too large or without a glyph; the text says what was found."""


def measure(content: BinaryIO) -> tuple[int, int, int]:
    """Return height, width and channels (1 or 3) of the upright image, from its header. Raises UnreadableError."""
    image = _open(content)
    width, height = image.size
    try:
        turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    except Exception as error:
        raise UnreadableError(f"its EXIF is broken ({type(error).__name__})") from error
    if turned:
        width, height = height, width
    return height, width, 1 if image.mode.startswith(("1", "L", "I")) else 3


def read(content: bytes, wanted: ImageSpec) -> np.ndarray:
    """The image in `content`, upright and in the wanted form: uint8 [H, W, C]. Raises UnreadableError."""
    image = _open(io.BytesIO(content))
    try:
        flat = flatten(image)
    except Exception as error:
        raise UnreadableError(f"it is broken or cut off ({type(error).__name__})") from error
    return fit(flat, wanted)


def fit(image: Image.Image, wanted: ImageSpec) -> np.ndarray:
    """Return an image of mode L or RGB in the wanted form, uint8 [H, W, C].

    If the size is right already, only the polarity is changed; a glyph on uneven ground is always cut out and centred.
    Raises UnreadableError if a glyph is wanted and nothing is drawn.
    """
    pixels = np.asarray(image.convert("L" if wanted.channels == 1 else "RGB"))
    if wanted.centering == "mnist" and wanted.channels == 1:
        levels = _glyph(pixels, wanted)
    else:
        levels = 255 - pixels if _is_inverted(border.is_light(pixels), wanted) else pixels
        if pixels.shape[:2] != (wanted.height, wanted.width):
            levels = np.asarray(Image.fromarray(levels).resize((wanted.width, wanted.height), Resampling.BILINEAR))
    return levels.reshape(wanted.height, wanted.width, wanted.channels)


def _glyph(pixels: np.ndarray, wanted: ImageSpec) -> np.ndarray:
    ground = border.even_ground(pixels) if pixels.shape == (wanted.height, wanted.width) else None
    if ground is not None:
        return 255 - pixels if _is_inverted(ground == "light", wanted) else pixels
    glyph = ink.mnist_like(pixels, wanted.height, wanted.width)
    if glyph is None:
        raise UnreadableError("nothing is drawn in it: no stroke stands out from the ground")
    dark = ink.is_dark_on_light(pixels) if wanted.polarity is None else wanted.polarity == "dark-on-light"
    return 255 - glyph if dark else glyph


def _is_inverted(light: bool, wanted: ImageSpec) -> bool:
    """Whether the image must be inverted: its ground is light where a dark one is wanted, or the reverse."""
    return wanted.polarity is not None and light != (wanted.polarity == "dark-on-light")


def _open(content: BinaryIO) -> Image.Image:
    """Read the header only."""
    size = content.seek(0, io.SEEK_END)
    if not size:
        raise UnreadableError("it is empty")
    if size > MAX_BYTES:
        raise UnreadableError(f"it has more than {MAX_BYTES} bytes")
    content.seek(0)
    try:
        image = Image.open(content, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(f"it has more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:
        raise UnreadableError(f"it is not an image of a kind that is read: {', '.join(FORMATS)}") from error
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableError(f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
    return image
