"""A contact sheet: some images of every class on one page, each row under the class's name."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tensor_jupyter.data.dataset import Dataset

MAX_CLASSES = 100
"""How many rows a sheet has at most."""

_CELL = 56  # pixels an image is shown in
_GAP = 6
_TEXT = 16  # pixels of a line
_MAX_CHARS = 40  # characters of a label


def save_sheet(data: Dataset, path: Path, each: int = 10) -> Path:
    """Write a PNG with up to `each` training images of every class, spread over the set; returns the path."""
    rows = [(label, _some(data, number, each)) for number, label in enumerate(data.labels[:MAX_CLASSES])]
    step = _TEXT + _CELL + 2 * _GAP
    sheet = Image.new("RGB", (_GAP + each * (_CELL + _GAP), _GAP + step * len(rows)), "white")
    pen, font = ImageDraw.Draw(sheet), _font()
    for row, (label, images) in enumerate(rows):
        top = _GAP + row * step
        pen.text((_GAP, top), _short(label), fill="black", font=font)
        for column, image in enumerate(images):
            sheet.paste(_shown(image), (_GAP + column * (_CELL + _GAP), top + _TEXT + _GAP))
    sheet.save(path, "PNG")
    return path


def _some(data: Dataset, number: int, each: int) -> np.ndarray:
    rows = np.flatnonzero(data.train.labels == number)
    spread = np.unique(np.linspace(0, len(rows) - 1, min(each, len(rows)), dtype=int))
    chosen: np.ndarray = data.train.images[rows[spread]]
    return chosen


def _shown(image: np.ndarray) -> Image.Image:
    """Return the image in a cell: a small one is enlarged without smoothing, a large one is reduced with smoothing."""
    shown = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("RGB")
    way = Image.Resampling.NEAREST if max(shown.size) < _CELL else Image.Resampling.BILINEAR
    scale = _CELL / max(shown.size)
    cell = Image.new("RGB", (_CELL, _CELL), "white")
    cell.paste(shown.resize([max(1, round(side * scale)) for side in shown.size], way))
    return cell


def _font() -> ImageFont.FreeTypeFont:
    """Matplotlib's: it has the letters of most languages."""
    import matplotlib as mpl

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), 12)


def _short(label: str) -> str:
    return label if len(label) <= _MAX_CHARS else f"{label[: _MAX_CHARS - 3]}..."
