"""Decodes untrusted bytes to an image; every limit is checked before anything is decoded."""

import io

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from tensor_rest.errors import ApiError, BadRequestError, TooLargeError, UnsupportedMediaError
from tensor_rest.images import structure_limits
from tensor_rest.images.decoding_slot import decoding_slot
from tensor_rest.images.flatten import MAX_SIDE, flatten
from tensor_rest.images.formats import FORMATS, SIGNATURES
from tensor_rest.images.preprocess import ImageInput, Pixels, fit, fit_pixels
from tensor_rest.runtime import offload

_JPEG, _JPEG_SCAN = b"\xff\xd8\xff", b"\xff\xda"
_SMALL = 1 << 18  # pixels
_BRIEF = 1 << 16  # pixels; decoding so many takes a millisecond or two with any decoder

# `max_pixels` is stricter than Pillow's own limit, which only warns up to twice its value.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_MEMORY = 4 << 20  # bytes that all texts in a PNG may unpack to
_MAX_EXIF = 1 << 16  # bytes, the most a JPEG can hold


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Return the image in `data`: upright, without alpha, L or RGB, sides up to 1024 (an animation's first frame).

    Raises UnsupportedMediaError for another format than those of `formats`, TooLargeError for more than `max_pixels`
    pixels (decided from the header), BadRequestError for an empty or broken file.
    """
    if not data:
        raise BadRequestError("The image is empty (0 bytes).")
    image = _open(data)
    width, height = image.size
    if width * height > max_pixels:
        raise TooLargeError(f"The image has {width} x {height} pixels; at most {max_pixels:,} in all are taken.")
    if len(image.info.get("exif", b"")) > _MAX_EXIF:
        raise BadRequestError(f"The image has more than {_MAX_EXIF} bytes of EXIF data.")
    try:
        with decoding_slot(width * height):
            brief = width * height <= _BRIEF
            return flatten(image) if brief else offload.run(flatten, image)
    except ApiError:
        raise
    except Exception as error:  # decoders raise any exception on a broken file
        raise BadRequestError(f"The image is broken or cut off: {type(error).__name__} while decoding.") from error


def prepare(data: bytes, wanted: ImageInput, max_pixels: int) -> Pixels:
    """Return the image in `data` as a model takes it, uint8 [H,W,C]. Raises as `decode` does."""
    pixels = _plain_jpeg(data, wanted.channels, max_pixels) if data.startswith(_JPEG) else None
    return fit(decode(data, max_pixels), wanted) if pixels is None else fit_pixels(pixels, wanted)


def _plain_jpeg(data: bytes, channels: int, max_pixels: int) -> Pixels | None:
    """Return the pixels of a small baseline JPEG, the same as from `decode`, in a third of the time; else None.

    None is returned for JPEGs that are large, broken, progressive, rotated (EXIF) or of unusual colours.
    """
    if b"Exif\0" in data or data.count(_JPEG_SCAN) != 1:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if width * height > min(_SMALL, max_pixels) or max(width, height) > MAX_SIDE:
            return None
        if colours not in ("Gray", "YCbCr"):
            return None
        grey = channels == 1 and colours == "Gray"
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB", fastdct=False, fastupsample=False)
    except ValueError:
        return None
    if grey:
        return np.asarray(pixels[..., 0])
    return pixels if channels == 3 else np.asarray(Image.fromarray(pixels).convert("L"))


def _open(data: bytes) -> Image.Image:
    """Return the image opened, with only its header read. Raises as `decode` does."""
    structure_limits.check(data)
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if data.startswith(SIGNATURES):
            raise BadRequestError("The image is broken or cut off: its header cannot be read.") from error
        raise UnsupportedMediaError(f"This is not an image of a supported format: {', '.join(FORMATS)}.") from error
    except Exception as error:  # as in decode
        raise BadRequestError(f"The image is broken: {type(error).__name__} in its header.") from error
