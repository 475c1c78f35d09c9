"""Images for TensorBoard. Drawn with Pillow: in matplotlib a sheet of thirty subplots takes seconds in every run."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MAX_CLASSES = 40
"""A confusion matrix of more classes is unreadable."""

_TILE = 84  # pixels a side of an image on a sheet
_LINE = 13  # pixels of a line of text
_CELL = 34  # pixels a side of a cell of the matrix
_FONT = ImageFont.load_default(11)


def sheet(images: np.ndarray, titles: Sequence[str], columns: int = 10) -> np.ndarray:
    """The images in rows, each under its title of one or two lines: uint8 [1, H, W, 3].

    images: uint8 [N, H, W, 1] or [N, H, W, 3].
    """
    lines = max(title.count("\n") + 1 for title in titles)
    width, height = _TILE + 8, _TILE + 8 + lines * _LINE
    rows = -(-len(images) // columns)
    whole = Image.new("RGB", (min(columns, len(images)) * width, rows * height), "white")
    draw = ImageDraw.Draw(whole)
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        left, top = number % columns * width + 4, number // columns * height
        draw.multiline_text((left, top), _cut(title), "black", _FONT, spacing=1)
        whole.paste(_thumbnail(image, _TILE), (left, top + lines * _LINE + 2))
    return np.asarray(whole)[np.newaxis]


def confusion(counts: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """The confusion matrix, true labels in rows, the model's answers in columns: uint8 [1, H, W, 3].

    counts: int [classes, classes].
    """
    edge = 20 + max(round(_FONT.getlength(_cut(label))) for label in labels)
    side = edge + _CELL * len(labels)
    whole = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(whole)
    draw.text((4, 4), "label \\ answer", "grey", _FONT)
    strongest = np.sqrt(max(1, counts.max()))  # else ten wrong ones beside a thousand right ones would be invisible
    for number, label in enumerate(labels):
        middle = edge + number * _CELL + _CELL / 2
        draw.text((edge - 6, middle), _cut(label), "black", _FONT, anchor="rm")
        draw.text((middle, edge - 6), _cut(label)[:5], "black", _FONT, anchor="mb")
        for column, count in enumerate(counts[number]):
            share = float(np.sqrt(count) / strongest)
            left, top = edge + column * _CELL, edge + number * _CELL
            blue = (round(255 - 230 * share), round(255 - 160 * share), round(255 - 80 * share))
            draw.rectangle((left, top, left + _CELL - 2, top + _CELL - 2), fill=blue)
            if count:
                ink = "white" if share > 0.6 else "black"
                draw.text((left + _CELL / 2, top + _CELL / 2), str(count), ink, _FONT, anchor="mm")
    return np.asarray(whole)[np.newaxis]


def sprite(images: np.ndarray, side: int) -> Image.Image:
    """The images as thumbnails of `side` pixels, row by row in a square, as the embedding projector requires."""
    columns = int(np.ceil(np.sqrt(len(images))))
    whole = Image.new("RGB", (columns * side, columns * side))
    for number, image in enumerate(images):
        whole.paste(_thumbnail(image, side), (number % columns * side, number // columns * side))
    return whole


def _thumbnail(image: np.ndarray, side: int) -> Image.Image:
    whole = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
    scale = side / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    square = Image.new("RGB", (side, side), "white")
    square.paste(whole.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR))
    return square


def _cut(title: str) -> str:
    return "\n".join(line if len(line) <= 15 else f"{line[:14]}…" for line in title.split("\n"))
