"""Clothes: Fashion-MNIST, or drawn ones if it cannot be downloaded, so that a notebook of clothes runs anywhere.

Drawn clothes are toys: a model trained on them recognises drawings, not photographs.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from tensor_jupyter.data.dataset import Dataset, LabelledImages
from tensor_jupyter.data.idx_sets import FASHION_MNIST, cached, read_idx_folder
from tensor_jupyter.data.synthetic import Pen, varied
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

EACH = 150
"""How many images of each kind are drawn."""

_SIDE = 28
_LARGE = 112  # pixels; clothes are drawn at this size and then reduced
_EVERY = 5  # every fifth drawing is for testing

Points = Sequence[tuple[float, float]]

_SIDES: tuple[Callable[[float], float], ...] = (lambda x: x, lambda x: 1 - x)
"""Functions of a point's x: on the left side, and mirrored on the right."""


def load_clothes(settings: Settings | None = None) -> Dataset:
    """Fashion-MNIST from LAB_DATA/fashion-mnist, else downloaded; without a network drawn clothes."""
    settings = settings or Settings.read()
    try:
        return read_idx_folder(cached(FASHION_MNIST, settings, settings.fashion_mnist_mirrors))
    except LabError as error:
        if FASHION_MNIST.verified(settings.data / FASHION_MNIST.name):
            raise
        return drawn_clothes(str(error).rstrip("."))


def drawn_clothes(reason: str) -> Dataset:
    """The offline set: each of Fashion-MNIST's ten kinds drawn in many cuts and greys; always the same."""
    random = np.random.default_rng(7)
    images = [_cloth_image(draw, random) for draw in _KINDS for _ in range(EACH)]
    every = LabelledImages(np.stack(images)[..., np.newaxis], np.repeat(np.arange(len(_KINDS), dtype=np.int64), EACH))
    test = np.arange(len(every)) % _EVERY == _EVERY - 1
    return Dataset(
        name="drawn-clothes",
        labels=FASHION_MNIST.labels,
        train=every.take(~test),
        test=every.take(test),
        split="every fifth drawing is test",
        message=f"Offline data: {len(every):,} drawn clothes instead of Fashion-MNIST, good for a try and no more. "
        f"Why: {reason}.",
        polarity="light-on-dark",
        stand_in_for="fashion-mnist",
    )


def _cloth_image(draw: Callable[["_Cloth"], None], random: np.random.Generator) -> np.ndarray:
    cloth = _Cloth(random)
    draw(cloth)
    return varied(cloth.woven(), random, _SIDE, turn=0.08, slant=0.06, scale=0.1)


class _Cloth:
    """Draws a piece of clothing: coordinates run from 0 to 1, right and down; pairs of sides are mirrored."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.grey = int(random.uniform(110, 235))
        self.light = self.grey < 170  # of a seam: lighter than dark cloth, darker than light cloth
        self.image = Image.new("L", (_LARGE, _LARGE))
        self.pen = Pen(ImageDraw.Draw(self.image), _LARGE)

    def draw(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def cut(self, points: Points) -> None:
        self.pen.polygon(points, self.grey)

    def cut_both(self, points: Points) -> None:
        """Draw a symmetric shape; points: its left side from top to bottom."""
        self.cut([*points, *((1 - x, y) for x, y in reversed(points))])

    def seam(self, points: Points, width: float = 0.025) -> None:
        self.pen.line(points, self.grey + 60 if self.light else self.grey - 80, width)

    def hole(self, points: Points) -> None:
        self.pen.polygon(points, 0)

    def body(self, length: float, waist: float = 0.0, hem: float = 0.0, collar: float = 0.12) -> None:
        """Draw from the shoulders to `length`; waist: how much narrower there; hem: how much wider at the end."""
        self.cut_both([(0.5 - collar, 0.1), (0.26, 0.15), (0.29 + waist, 0.45), (0.29 - hem, length), (0.5, length)])
        self.hole([(0.5 - collar, 0.08), (0.5, 0.1 + collar / 2), (0.5 + collar, 0.08)])

    def sleeves(self, length: float, width: float = 0.13) -> None:
        """Draw both sleeves; length: how far down they reach."""
        reach = 0.26 - 0.24 * (length - 0.15)
        for side in _SIDES:
            points = [(0.28, 0.13), (reach - width / 2, length), (reach + width / 2, length + 0.03), (0.33, 0.35)]
            self.cut([(side(x), y) for x, y in points])
            self.seam([(side(0.3), 0.17), (side(0.31), 0.34)], 0.015)

    def woven(self) -> Image.Image:
        """What was drawn, plain or with stripes across, and shaded towards one side."""
        columns = np.linspace(-1, 1, _LARGE)[np.newaxis]
        shade = 1 - 0.2 * self.draw(0, 1) * columns**2 + 0.15 * self.draw(-1, 1) * columns
        if self.random.random() < 0.3:
            rows = np.linspace(0, self.draw(25, 45), _LARGE)[:, np.newaxis]
            shade = shade * (0.85 + 0.15 * np.sign(np.sin(rows)))
        woven = Image.fromarray(np.broadcast_to(shade * 220, (_LARGE, _LARGE)).clip(0, 255).astype(np.uint8))
        return ImageChops.multiply(self.image, woven)


def _t_shirt(cloth: _Cloth) -> None:
    cloth.sleeves(cloth.draw(0.3, 0.38), 0.2)
    cloth.body(cloth.draw(0.82, 0.9), collar=cloth.draw(0.1, 0.16))


def _trouser(cloth: _Cloth) -> None:
    wide, top = cloth.draw(0.13, 0.2), cloth.draw(0.05, 0.1)
    for side in _SIDES:
        points = [(0.5 - wide, top), (0.5, top), (0.5, 0.35), (0.49 - wide / 3, 0.95), (0.46 - wide, 0.95)]
        cloth.cut([(side(x), y) for x, y in points])
    cloth.seam([(0.5 - wide, top + 0.06), (0.5 + wide, top + 0.06)])


def _pullover(cloth: _Cloth) -> None:
    length = cloth.draw(0.78, 0.86)
    cloth.sleeves(cloth.draw(0.74, 0.8), 0.14)
    cloth.body(length, collar=cloth.draw(0.08, 0.11))
    cloth.seam([(0.3, length - 0.06), (0.7, length - 0.06)])


def _dress(cloth: _Cloth) -> None:
    waist = cloth.draw(0.06, 0.1)
    cloth.body(0.95, waist, cloth.draw(0.0, 0.1), cloth.draw(0.1, 0.15))
    cloth.seam([(0.3 + waist, 0.45), (0.7 - waist, 0.45)], 0.03)


def _coat(cloth: _Cloth) -> None:
    cloth.sleeves(cloth.draw(0.72, 0.8), 0.15)
    cloth.body(cloth.draw(0.93, 0.97), hem=cloth.draw(0.03, 0.07))
    cloth.hole([(0.485, 0.15), (0.515, 0.15), (0.53, 0.97), (0.47, 0.97)])
    cloth.seam([(0.4, 0.1), (0.46, 0.35)])
    cloth.seam([(0.6, 0.1), (0.54, 0.35)])


def _sandal(cloth: _Cloth) -> None:
    heel = cloth.draw(0.05, 0.25)
    cloth.cut([(0.05, 0.75), (0.55, 0.72), (0.95, 0.72 - heel), (0.95, 0.8 - heel / 2), (0.5, 0.82), (0.05, 0.82)])
    cloth.cut([(0.85, 0.7 - heel), (0.95, 0.72 - heel), (0.95, 0.82), (0.88, 0.82)])
    for start in np.linspace(0.12, 0.5, int(cloth.random.integers(2, 5))):
        cloth.pen.line([(start, 0.76), (start + 0.14, 0.5), (start + 0.24, 0.74)], cloth.grey, 0.035)
    cloth.pen.line([(0.75, 0.7 - heel / 2), (0.82, 0.42), (0.94, 0.72 - heel)], cloth.grey, 0.035)


def _shirt(cloth: _Cloth) -> None:
    cloth.sleeves(cloth.draw(0.68, 0.76), 0.11)
    cloth.body(cloth.draw(0.84, 0.9), collar=0.1)
    cloth.seam([(0.5, 0.16), (0.5, 0.88)], 0.015)
    cloth.cut([(0.38, 0.08), (0.5, 0.17), (0.44, 0.24)])
    cloth.cut([(0.62, 0.08), (0.5, 0.17), (0.56, 0.24)])
    for row in np.linspace(0.28, 0.8, 6):
        cloth.seam([(0.5, row), (0.54, row)], 0.035)


def _sneaker(cloth: _Cloth) -> None:
    top = cloth.draw(0.4, 0.48)
    upper = [(0.04, 0.68), (0.3, 0.6), (0.55, top), (0.7, top + 0.03), (0.92, top - 0.02), (0.96, 0.74), (0.04, 0.74)]
    cloth.cut(upper)
    cloth.pen.polygon([(0.03, 0.73), (0.97, 0.73), (0.95, 0.81), (0.05, 0.81)], 255 if cloth.light else 120)
    for step in np.linspace(0, 0.14, 3):
        cloth.seam([(0.36 + step, 0.57 - step / 2), (0.44 + step, 0.64 - step / 2)])


def _bag(cloth: _Cloth) -> None:
    top, side = cloth.draw(0.35, 0.48), cloth.draw(0.06, 0.16)
    cloth.pen.line([(0.3, top), (0.36, 0.12), (0.64, 0.12), (0.7, top)], cloth.grey, 0.045)
    cloth.cut([(side + 0.03, top), (0.97 - side, top), (1 - side, 0.88), (side, 0.88)])
    cloth.seam([(side + 0.02, top + 0.12), (0.98 - side, top + 0.12)])


def _ankle_boot(cloth: _Cloth) -> None:
    top, heel = cloth.draw(0.08, 0.2), cloth.draw(0.02, 0.1)
    cloth.cut([(0.5, top), (0.92, top), (0.95, 0.84), (0.06, 0.84), (0.06, 0.68), (0.42, 0.54)])
    sole = [(0.06, 0.83), (0.95, 0.83), (0.95, 0.87 + heel), (0.72, 0.87 + heel), (0.68, 0.88), (0.06, 0.88)]
    cloth.pen.polygon(sole, 90)
    cloth.seam([(0.5, top + 0.08), (0.92, top + 0.08)])


# In the order of Fashion-MNIST's labels.
_KINDS = (_t_shirt, _trouser, _pullover, _dress, _coat, _sandal, _shirt, _sneaker, _bag, _ankle_boot)
