"""What a model saw of a picture, and why."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from . import glyphs
from .glyphs import Pixels
from .pictures import decode
from .vision import Vision

_WORDS = {True: "light", False: "dark"}


def explain(data: bytes, pixels: Pixels, vision: Vision, max_pixels: int) -> dict[str, Any]:
    """Of a picture file and the uint8 [H,W,C] made of it: the latter as PNG, the polarity decided, size and levels."""
    picture = decode(data, max_pixels)
    return {
        "saw": f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}",
        "polarity": _polarity(picture, vision),
        "size": _size(picture, vision),
        "levels": "float32, 0 to 1: levels divided by 255" if vision.floats else "uint8, 0 to 255",
    }


def png(pixels: Pixels) -> bytes:
    """uint8 [H,W,1] or [H,W,3] as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _polarity(picture: Image.Image, vision: Vision) -> dict[str, Any]:
    wanted = vision.wanted.polarity
    light = glyphs.is_light(np.asarray(picture.convert("L" if vision.wanted.channels == 1 else "RGB")))
    found = "dark-on-light" if light else "light-on-dark"
    border = f"the border of the picture is {_WORDS[light]}, so it is {found}"
    if wanted is None:
        why = f"{border}; the model does not say what it was trained on, so the picture is taken as it is"
    else:
        why = f"{border}; the model was trained on {wanted}"
    return {"picture": found, "model": wanted, "inverted": wanted not in (None, found), "why": why}


def _size(picture: Image.Image, vision: Vision) -> dict[str, Any]:
    wanted = vision.wanted
    if picture.size == (wanted.width, wanted.height):
        how = "as it is"
    elif wanted.centering == "mnist" and wanted.channels == 1:
        how = "the glyph is fitted and centred as in MNIST"
    else:
        how = "the whole picture is scaled"
    return {
        "picture": {"width": picture.width, "height": picture.height},
        "model": {"width": wanted.width, "height": wanted.height, "channels": wanted.channels},
        "how": how,
    }
