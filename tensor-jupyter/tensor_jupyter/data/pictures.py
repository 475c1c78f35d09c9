"""Picture files of any kind and size to the one form that a set has, as the gateway does it for a model's input.

The bytes may come from anywhere: size and pixels are bounded before anything is decoded.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from tensor_jupyter.data.dataset import Picture
from tensor_jupyter.data.digits import mnist_like

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
"""Of the files that are taken for pictures."""

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 50_000_000
"""Of one file, as its header says."""

_LIGHT = 127  # a border over this is light
_ORIENTATION = 0x0112  # of EXIF; from 5 on the picture lies on its side

# The bound above is stricter than the one that Pillow only warns of.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UnreadableError(Exception):
    """The bytes are no picture, or one that is too large; the text says what was found."""


def measure(content: bytes) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) from the header alone. Raises UnreadableError."""
    picture = _open(content)
    width, height = picture.size
    try:
        turned = picture.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    except Exception as error:
        raise UnreadableError(f"its EXIF is broken ({type(error).__name__})") from error
    if turned:
        width, height = height, width
    return height, width, 1 if picture.mode.startswith(("1", "L", "I")) else 3


def read(content: bytes, wanted: Picture) -> np.ndarray:
    """The picture in `content`, upright and in the wanted form: uint8 [H, W, C]. Raises UnreadableError."""
    picture = _open(content)
    try:
        picture.draft(None, (2 * wanted.width, 2 * wanted.height))  # a large JPEG is decoded at a smaller scale
        picture.load()
        flat = _flat(ImageOps.exif_transpose(picture))
    except Exception as error:
        raise UnreadableError(f"it is broken or cut off ({type(error).__name__})") from error
    return fit(flat, wanted)


def fit(picture: Image.Image, wanted: Picture) -> np.ndarray:
    """A picture of mode L or RGB as uint8 [H, W, C]; one of the right size is only given the wanted polarity."""
    pixels = np.asarray(picture.convert("L" if wanted.channels == 1 else "RGB"))
    light = _ground(pixels) > _LIGHT
    if wanted.polarity and light != (wanted.polarity == "dark-on-light"):
        pixels = 255 - pixels
    shape = (wanted.height, wanted.width, wanted.channels)
    if pixels.shape[:2] != shape[:2]:
        if wanted.centering == "mnist" and shape == (28, 28, 1):
            pixels = _centred(pixels, wanted.polarity == "dark-on-light")
        else:
            small = Image.fromarray(pixels).resize((wanted.width, wanted.height), Image.Resampling.BILINEAR)
            pixels = np.asarray(small)
    return pixels.reshape(shape)


def _open(content: bytes) -> Image.Image:
    """Read the header only."""
    if not content:
        raise UnreadableError("it is empty")
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"it has more than {MAX_BYTES} bytes")
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(f"it has more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:
        raise UnreadableError(f"it is no picture of a kind that is read: {', '.join(FORMATS)}") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise UnreadableError(f"it has {picture.width} x {picture.height} pixels, more than {MAX_PIXELS:,}")
    return picture


def _flat(picture: Image.Image) -> Image.Image:
    """Without alpha and with 8 bits a channel: L for grey, else RGB."""
    if picture.mode.startswith("I"):  # 16 bits; Pillow's own conversion would make everything over 255 white
        return Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    grey = picture.mode in ("1", "L", "LA")
    if picture.has_transparency_data:
        drawn = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    return picture.convert("L" if grey else "RGB")


def _ground(pixels: np.ndarray) -> float:
    """The level of the border: where one draws or photographs a glyph, nothing is drawn at the rim."""
    rim = max(1, min(pixels.shape[:2]) // 20)
    strips = (pixels[:rim], pixels[-rim:], pixels[:, :rim], pixels[:, -rim:])
    return float(np.median(np.concatenate([strip.ravel() for strip in strips])))


def _centred(pixels: np.ndarray, dark: bool) -> np.ndarray:
    ink = np.abs(pixels.astype(np.float32) - _ground(pixels))
    glyph = mnist_like(ink / max(1.0, float(ink.max())))
    return 255 - glyph if dark else glyph
