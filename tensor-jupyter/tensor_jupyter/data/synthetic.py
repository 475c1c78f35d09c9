"""Tools to draw images where none can be downloaded: a pen with relative coordinates, and random variation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = int | tuple[int, int, int]


class Pen:
    """Draws on a square image; coordinates and widths run from 0 to 1, right and down."""

    def __init__(self, draw: ImageDraw.ImageDraw, side: int) -> None:
        self._draw, self._side = draw, side

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        self._draw.polygon(self._pixels(points), fill=colour)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        self._draw.line(self._pixels(points), colour, max(1, round(width * self._side)), joint="curve")

    def circle(self, middle: tuple[float, float], radius: float, colour: Colour) -> None:
        (x, y), far = middle, radius
        self._draw.ellipse(self._pixels([(x - far, y - far), (x + far, y + far)]), fill=colour)

    def text(self, text: str, height: float, colour: Colour) -> None:
        """Write `text` in the middle of the image."""
        self._draw.text(self._pixels([(0.5, 0.5)])[0], text, colour, _bold(round(height * self._side)), anchor="mm")

    def _pixels(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * self._side, y * self._side) for x, y in points]


def varied(
    image: Image.Image, random: np.random.Generator, side: int, turn: float, slant: float, scale: float
) -> np.ndarray:
    """Return a variation of a large square image of mode L, uint8 [side, side]: distorted, moved, blurred, noisy.

    turn, slant, scale: the largest rotation in radians, shear along x, and relative change of each side.
    """
    large = image.width
    angle, across = random.uniform(-turn, turn), random.uniform(-slant, slant)
    factor = 1 / random.uniform(1 - scale, 1 + scale, 2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ np.array([[1, across], [0, 1]]) @ np.diag(factor)
    middle = np.array([large / 2, large / 2])
    offset = middle - matrix @ (middle + random.uniform(-4, 4, 2))
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    changed = image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    small = changed.filter(ImageFilter.GaussianBlur(random.uniform(0, 3))).resize((side, side), Image.Resampling.BOX)
    noisy = np.asarray(small) * random.uniform(0.8, 1) + random.normal(0, random.uniform(0, 12), (side, side))
    pixels: np.ndarray = noisy.round().clip(0, 255)
    return pixels.astype(np.uint8)


def _bold(size: int) -> ImageFont.FreeTypeFont:
    """Matplotlib's bold font, `size` pixels high."""
    import matplotlib as mpl

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"), size)
