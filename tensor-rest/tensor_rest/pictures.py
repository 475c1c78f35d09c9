"""Bytes a stranger sent to a picture, with every bound checked before anything is decoded."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import BadRequestError, TooLargeError, UnsupportedMediaError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"RIFF", b"GIF8")
_MAX_SIDE = 1024  # pixels; a larger picture is shrunk to this at once, far more than any model's input here

# The bound below is stricter than Pillow's own, which only warns up to twice its limit.
Image.MAX_IMAGE_PIXELS = None


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """The picture in `data`, upright and flat, mode L or RGB, no side over 1024 pixels (first frame of an animation).

    Raises UnsupportedMediaError for what is no PNG, JPEG, BMP, WEBP or GIF, TooLargeError for more than `max_pixels`
    pixels (decided from the header), BadRequestError for an empty or broken file.
    """
    if not data:
        raise BadRequestError("The picture is empty (0 bytes).")
    picture = _open(data)
    width, height = picture.size
    if width * height > max_pixels:
        raise TooLargeError(f"The picture has {width} x {height} pixels; at most {max_pixels:,} in all are taken.")
    try:
        return _flat(_upright(picture))
    except Exception as error:  # decoders raise whatever they trip over in a broken file
        raise BadRequestError(f"The picture is broken or cut off: {type(error).__name__} while decoding.") from error


def _open(data: bytes) -> Image.Image:
    """Read the header only."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES):
            raise BadRequestError("The picture is broken or cut off: its header cannot be read.") from error
        raise UnsupportedMediaError(f"This is not a picture of a kind we read: {', '.join(FORMATS)}.") from error
    except Exception as error:  # as in decode
        raise BadRequestError(f"The picture is broken: {type(error).__name__} in its header.") from error


def _upright(picture: Image.Image) -> Image.Image:
    """Decoded, no larger than needed, turned as its EXIF orientation says."""
    picture.draft(None, (_MAX_SIDE, _MAX_SIDE))  # JPEG: decode at a smaller scale
    picture.load()
    if picture.mode == "P":
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if max(picture.size) > _MAX_SIDE and not picture.mode.startswith("I"):
        picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return ImageOps.exif_transpose(picture)


def _flat(picture: Image.Image) -> Image.Image:
    """Without alpha and with 8 bits a channel: L for grey, else RGB."""
    if picture.mode.startswith("I"):
        return _eight_bits(picture)
    if picture.has_transparency_data:
        return _on_background(picture)
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit grey scaled down. Pillow's own conversion would clip everything over 255 to white."""
    flat = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    flat.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return flat


def _on_background(picture: Image.Image) -> Image.Image:
    """Transparent pixels become white, or black where what is drawn is light: strokes must stay visible."""
    layers = np.asarray(picture.convert("LA"))
    drawn = layers[..., 0][layers[..., 1] > 127]
    light = drawn.size > 0 and drawn.mean() > 127
    whole = picture.convert("RGBA")
    background = Image.new("RGBA", whole.size, "black" if light else "white")
    flat = Image.alpha_composite(background, whole)
    return flat.convert("L" if picture.mode in ("LA", "La", "L") else "RGB")
