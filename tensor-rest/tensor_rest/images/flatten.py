"""Bring a decoded image to 8 bits, upright and without alpha.

This file is the same in the gateway and in the workbench, so that a model is trained on what it is served; it must
import neither of them. Numpy and Pillow only.
"""

import numpy as np
from PIL import Image, ImageOps

MAX_SIDE = 1024
"""Maximum side in pixels, far more than models take: a larger image is reduced to it when it is decoded."""

DEPTH = "depth"
"""Key of a flat image's `info`: the bits in use, where the file has more than 8 for a pixel."""

_DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners fill in a 16-bit file


def flatten(image: Image.Image) -> Image.Image:
    """Return an opened image as mode L (grey) or RGB, upright, no side over `MAX_SIDE`; an animation's first frame.

    Raises whatever the decoder raises on a broken file.
    """
    image.draft(None, (MAX_SIDE, MAX_SIDE))  # JPEG: decode at a smaller scale
    image.load()
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if max(image.size) > MAX_SIDE:
        image.thumbnail((MAX_SIDE, MAX_SIDE))
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        return _on_ground(image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey by the depth in use. Pillow's own conversion clips everything over 255 to white."""
    levels = np.asarray(image).clip(0, (1 << _DEPTHS[-1]) - 1)
    largest = int(levels.max())
    depth = next(bits for bits in _DEPTHS if largest < 1 << bits)
    small = Image.fromarray((levels >> (depth - 8)).astype(np.uint8))
    small.info = {DEPTH: depth, **{key: image.info[key] for key in ("exif",) if key in image.info}}
    return small


def _on_ground(image: Image.Image) -> Image.Image:
    """Return the image on white, or on black if the strokes are light: half-transparent ones stay visible, too."""
    layers = np.asarray(image.convert("LA")).astype(np.uint32)
    levels, alpha = layers[..., 0], layers[..., 1]
    light = 2 * int((levels * alpha).sum(dtype=np.uint64)) > 255 * int(alpha.sum(dtype=np.uint64))
    whole = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", whole.size, "black" if light else "white"), whole)
    return flat.convert("L" if image.mode in ("LA", "La", "L") else "RGB")
