"""A picture brought to what a model takes: size, channels, polarity, and MNIST's centring for drawn glyphs.

How MNIST's makers did it (yann.lecun.com/exdb/mnist): the glyph is scaled, aspect kept, into 20 x 20 of the 28 x 28
pixels, and placed so that its centre of mass is the centre of the picture.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

Polarity = Literal["light-on-dark", "dark-on-light"]
Centering = Literal["mnist", "none"]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Ink = np.ndarray[Any, np.dtype[np.float32]]  # [height, width], distance from the background, 0 to 255

_INK = 0.1  # a pixel this far from the background (of the strongest stroke's way) belongs to the glyph,
_GRAIN = 2.0  # if it is also this much over what nine tenths of the border's pixels stay under
_COARSE = 112  # pixels of the longer side on which a glyph is looked for: averaging takes the grain out of photographs
_FILL = 20 / 28  # of the side is what the glyph may take
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
    """`picture` as uint8 [height, width, channels]. One that has the size already is only given the wanted polarity."""
    return fit_pixels(np.asarray(picture.convert("L" if wanted.channels == 1 else "RGB")), wanted)


def fit_pixels(pixels: Pixels, wanted: ImageInput) -> Pixels:
    """The same for pixels that have the channels: [h, w] for 1, [h, w, 3] for 3."""
    light = is_light(pixels)
    if wanted.polarity and light != (wanted.polarity == "dark-on-light"):
        pixels = 255 - pixels
    if pixels.shape[:2] != (wanted.height, wanted.width):
        centred = wanted.centering == "mnist" and wanted.channels == 1
        pixels = _centred(pixels, wanted) if centred else _resized(pixels, wanted.width, wanted.height)
    return pixels.reshape(wanted.height, wanted.width, wanted.channels)


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


def _centred(pixels: Pixels, wanted: ImageInput) -> Pixels:
    """MNIST's way, on light-on-dark or dark-on-light grey pixels; an empty picture stays empty."""
    ink = np.abs(pixels.astype(np.float32) - _background(pixels))
    result = np.zeros((wanted.height, wanted.width), np.float32)
    if ink.max() > 0:
        glyph = _scaled(_cropped(ink), round(wanted.width * _FILL), round(wanted.height * _FILL))
        _place(glyph, result)
    level = result if wanted.polarity != "dark-on-light" else 255 - result
    return level.astype(np.uint8)


def _cropped(ink: Ink) -> Ink:
    """The box around the glyph, the background in it taken to zero."""
    step = max(1, max(ink.shape) // _COARSE)
    coarse = np.asarray(Image.fromarray(ink).reduce(step))
    top, bottom, left, right = _box(_without_ground(coarse, coarse))
    near = _without_ground(ink[top * step : bottom * step, left * step : right * step], ink)
    top, bottom, left, right = _box(near)
    return near[top:bottom, left:right]


def _without_ground(part: Ink, whole: Ink) -> Ink:
    """`part` with zeros for what is no stroke, judged by its strongest pixel and the grain at the border of `whole`."""
    strongest = part.max()
    grain = _GRAIN * float(np.quantile(_border(whole), 0.9))
    return np.where(part > min(max(_INK * strongest, grain), strongest / 2), part, 0)


def _box(ink: Ink) -> tuple[int, int, int, int]:
    """top, bottom, left, right (ends exclusive) of what is not zero."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _scaled(glyph: Ink, width: int, height: int) -> Ink:
    """The glyph as large as fits into width x height, its strongest stroke at 255."""
    scale = min(width / glyph.shape[1], height / glyph.shape[0])
    size = (max(1, round(glyph.shape[1] * scale)), max(1, round(glyph.shape[0] * scale)))
    filtering = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(glyph).resize(size, filtering))
    return (small * (255 / small.max())).clip(0, 255)


def _place(glyph: Ink, canvas: Ink) -> None:
    """Put the glyph into the canvas, its centre of mass as near to the middle as it fits."""
    start = []
    for axis in (0, 1):
        weights = glyph.sum(axis=1 - axis)
        mass = float((weights * np.arange(len(weights))).sum() / weights.sum()) + 0.5
        start.append(int(np.clip(round(canvas.shape[axis] / 2 - mass), 0, canvas.shape[axis] - glyph.shape[axis])))
    canvas[start[0] : start[0] + glyph.shape[0], start[1] : start[1] + glyph.shape[1]] = glyph


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
