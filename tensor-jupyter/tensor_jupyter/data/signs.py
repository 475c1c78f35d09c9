"""Drawn road signs in drawn scenes: a folder of images by class, for users without their own images."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tensor_jupyter.data.synthetic import Pen
from tensor_jupyter.settings import Settings

EACH = 60
"""How many images of each sign are drawn."""

SIDE = 64
"""Pixels a side."""

_LARGE = 2 * SIDE  # signs are drawn at this size and then reduced
_RED, _WHITE, _BLACK, _BLUE, _YELLOW = (190, 25, 35), (240, 240, 238), (25, 25, 28), (25, 80, 165), (245, 195, 20)


def drawn_signs(settings: Settings | None = None) -> Path:
    """The folder LAB_DATA/signs, with a folder of JPEGs for each of six signs; drawn if it is not there."""
    settings = settings or Settings.read()
    folder = settings.data / "signs"
    if not folder.is_dir():
        settings.data.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".signs-", dir=settings.data))
        try:
            save_signs(staging)
            staging.chmod(staging.stat().st_mode | 0o075)  # mkdtemp makes it 0700
            staging.replace(folder)  # whole or not at all
        except OSError:
            if not folder.is_dir():  # else drawn by another notebook meanwhile
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder


def save_signs(folder: Path, each: int = EACH) -> None:
    """Write `each` images of every sign as `<folder>/<sign>/<number>.jpg`: SIDE x SIDE, colour; always the same."""
    random = np.random.default_rng(7)
    for name, draw in _SIGNS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            _image(draw, random).save(folder / name / f"{number:03d}.jpg", quality=90)


def _image(draw: Callable[[Pen], None], random: np.random.Generator) -> Image.Image:
    """One sign as if photographed: near or far, tilted, by day or at dusk, sharp or not."""
    sign = Image.new("RGBA", (_LARGE, _LARGE))
    draw(Pen(ImageDraw.Draw(sign), _LARGE))
    size = round(_LARGE * random.uniform(0.5, 0.9))
    sign = sign.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC).resize((size, size))
    scene = _scene(random)
    left, top = random.integers(0, _LARGE - size + 1, 2)
    ImageDraw.Draw(scene).line([(left + size / 2, top + size / 2), (left + size / 2, _LARGE)], (120, 122, 125), 7)
    scene.paste(sign, (int(left), int(top)), sign)
    small = scene.filter(ImageFilter.GaussianBlur(random.uniform(0, 2))).resize((SIDE, SIDE))
    light = np.asarray(small) * random.uniform(0.5, 1.1) + random.normal(0, random.uniform(2, 12), (SIDE, SIDE, 3))
    return Image.fromarray(light.round().clip(0, 255).astype(np.uint8))


def _scene(random: np.random.Generator) -> Image.Image:
    """Sky above, something green or grey below, and blots like leaves and clouds."""
    sky, ground = random.integers((110, 150, 180), (200, 215, 240)), random.integers((50, 70, 40), (130, 130, 110))
    scene = Image.new("RGB", (_LARGE, _LARGE), tuple(map(int, sky)))
    pen = ImageDraw.Draw(scene)
    horizon = int(random.uniform(0.3, 0.9) * _LARGE)
    pen.rectangle((0, horizon, _LARGE, _LARGE), tuple(map(int, ground)))
    for _ in range(40):
        x, y, far = random.uniform(0, _LARGE), random.uniform(0, _LARGE), random.uniform(4, 22)
        colour = (ground if y > horizon else sky) + random.integers(-25, 26, 3)
        pen.ellipse((x - far, y - far, x + far, y + far), tuple(map(int, colour.clip(0, 255))))
    return scene.filter(ImageFilter.GaussianBlur(2))


def _around(corners: int, radius: float, turn: float = 0.0) -> list[tuple[float, float]]:
    """Return the corners of a regular polygon, the first at the top; turn: its rotation, 1 is one corner further."""
    angles = (np.arange(corners) + turn) * 2 * np.pi / corners
    return [(0.5 + radius * float(np.sin(angle)), 0.5 - radius * float(np.cos(angle))) for angle in angles]


def _stop(pen: Pen) -> None:
    pen.polygon(_around(8, 0.48, 0.5), _WHITE)
    pen.polygon(_around(8, 0.45, 0.5), _RED)
    pen.text("STOP", 0.3, _WHITE)


def _give_way(pen: Pen) -> None:
    pen.polygon(_around(3, 0.5, 0.5), _RED)
    pen.polygon(_around(3, 0.3, 0.5), _WHITE)


def _no_entry(pen: Pen) -> None:
    pen.circle((0.5, 0.5), 0.47, _RED)
    pen.polygon([(0.17, 0.42), (0.83, 0.42), (0.83, 0.58), (0.17, 0.58)], _WHITE)


def _priority(pen: Pen) -> None:
    pen.polygon(_around(4, 0.49), _WHITE)
    pen.polygon(_around(4, 0.35), _YELLOW)


def _parking(pen: Pen) -> None:
    pen.polygon(_around(4, 0.64, 0.5), _WHITE)
    pen.polygon(_around(4, 0.6, 0.5), _BLUE)
    pen.text("P", 0.7, _WHITE)


def _speed_limit(pen: Pen) -> None:
    pen.circle((0.5, 0.5), 0.47, _RED)
    pen.circle((0.5, 0.5), 0.36, _WHITE)
    pen.text("30", 0.42, _BLACK)


_SIGNS = {
    "give way": _give_way,
    "no entry": _no_entry,
    "parking": _parking,
    "priority road": _priority,
    "speed limit": _speed_limit,
    "stop": _stop,
}
