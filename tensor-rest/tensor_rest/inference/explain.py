"""What a model received as its input for an image, and why."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from tensor_rest.images import border, ink
from tensor_rest.images.decode import decode
from tensor_rest.images.flatten import DEPTH
from tensor_rest.images.preprocess import Pixels, cleaned
from tensor_rest.inference.image_signature import ImageSignature

_LEVELS = {
    (False, "0..255"): "uint8, 0 to 255",
    (True, "0..255"): "float32, 0 to 255",
    (True, "0..1"): "float32, 0 to 1: levels divided by 255",
    (True, "-1..1"): "float32, -1 to 1: levels divided by 127.5, less 1",
}


def explain(data: bytes, pixels: Pixels, image_signature: ImageSignature, max_pixels: int) -> dict[str, Any]:
    """Explain how an image file became `pixels`, uint8 [H,W,C]: these as PNG, the polarity found, size and levels."""
    image = decode(data, max_pixels)
    levels = np.asarray(image.convert("L" if image_signature.wanted.channels == 1 else "RGB"))
    return {
        "saw": f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}",
        "polarity": _polarity(levels, image_signature),
        "size": _size(levels, image_signature),
        "levels": _LEVELS[image_signature.floats, image_signature.range] + _depth(image),
    }


def png(pixels: Pixels) -> bytes:
    """uint8 [H,W,1] or [H,W,3] as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _polarity(levels: Pixels, image_signature: ImageSignature) -> dict[str, Any]:
    wanted = image_signature.wanted.polarity
    if cleaned(levels, image_signature.wanted):
        light = ink.is_dark_on_light(levels)
        seen = f"most of the image is {'lighter' if light else 'darker'} than the strokes, so it is"
    else:
        light = border.is_light(levels)
        seen = f"the border of the image is {'light' if light else 'dark'}, so it is"
    found = "dark-on-light" if light else "light-on-dark"
    if wanted is None:
        why = f"{seen} {found}; what the model was trained on is unknown, so the image is taken as it is"
    else:
        why = f"{seen} {found}; the model was trained on {wanted}"
    return {"image": found, "model": wanted, "inverted": wanted not in (None, found), "why": why}


def _size(levels: Pixels, image_signature: ImageSignature) -> dict[str, Any]:
    wanted = image_signature.wanted
    height, width = levels.shape[:2]
    if cleaned(levels, image_signature.wanted):
        how = "the background is removed, and the glyph fitted and centred as in MNIST"
    elif (height, width) == (wanted.height, wanted.width):
        how = "as it is"
    else:
        how = "the whole image is scaled"
    return {
        "image": {"width": width, "height": height},
        "model": {"width": wanted.width, "height": wanted.height, "channels": wanted.channels},
        "how": how,
    }


def _depth(image: Image.Image) -> str:
    """Return the bit depth that the scaling of a 16-bit file assumed; empty for any other file."""
    depth = image.info.get(DEPTH)
    return f"; the file's 16 bits are read as {depth}, the fewest that hold its largest value" if depth else ""
