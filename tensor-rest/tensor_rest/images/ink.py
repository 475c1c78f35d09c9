"""Find the glyph drawn or photographed in a grey image, and clean it of paper, shadows, specks and frames.

`docs/preprocessing.md` shows the steps. This file is the same in the gateway and in the workbench, so that a model is
trained on what it is served; it must import neither of them. Numpy and Pillow only.
"""

from typing import Any

import numpy as np
from PIL import Image

from tensor_rest.images.components import Box, components, pooled_sums

Levels = np.ndarray[Any, np.dtype[np.uint8]]  # [height, width], grey
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Ink = np.ndarray[Any, np.dtype[np.float32]]  # [height, width], distance from the paper, 0 without ink

_SIDE = 112  # pixels of the longer side at which the glyph is looked for: averaging removes the grain of photographs
_LABELLED = 56  # pixels of the longer side at which components are labelled
_FRAME = 0.15  # maximum width of a frame, as a share of the shorter side
_FRAME_STEP, _FRAME_SHARE = 60, 0.95  # levels from the median; share of a row or column of a frame that differs by more
_INK = 0.1  # of the strongest stroke: what is fainter is not ink
_GRAIN = 4.0  # standard deviations of the paper's grain: what is fainter is not ink
_FAINTEST = 12  # levels between paper and the strongest stroke, or nothing is drawn
_LIGHTEST = 150.0  # minimum sum of a glyph's ink, in standard deviations of the grain
_SPECK = 0.04  # of the heaviest component's ink: what has less is a speck
_DRAWN = 0.4  # minimum share of a component's ink in the image continued at its border; less is a shadow or a frame
_MARGIN = 0.3  # margin around a glyph when it is looked at again, as a share of its size
_FILL = 20 / 28  # share of the canvas that the glyph fills, as in MNIST


def is_dark_on_light(grey: Levels) -> bool:
    """Return whether the ink is darker than the paper around it, in any light."""
    small = _reduced(grey, _step(grey))
    return _is_dark_on_light(_inside_frame(small).of(small))


def mnist_like(grey: Levels, height: int, width: int) -> Levels | None:
    """Return the glyph as in MNIST: light on dark, in 20/28 of the canvas, its centre of mass in the middle.

    Returns None where nothing is drawn.
    """
    strokes = _glyph(grey)
    if strokes is None:
        return None
    canvas = np.zeros((height, width), np.float32)
    _place(_scaled(strokes, round(width * _FILL), round(height * _FILL)), canvas)
    return canvas.astype(np.uint8)


def _glyph(grey: Levels) -> Ink | None:
    """The strokes, cropped to their bounding box; None where nothing is drawn."""
    step = _step(grey)
    small = _reduced(grey, step)
    inside = _inside_frame(small)
    small = inside.of(small)
    dark = _is_dark_on_light(small)
    strokes = _strokes(small if dark else 255 - small)
    if strokes is None:
        return None
    box = _bounds(strokes)
    if step > 1:
        close = _around(box, inside, step).of(grey)
        again = _step(close)
        if 2 * again <= step:  # a glyph in a small part of the image: look at it again at a larger scale
            near = _reduced(close, again)
            closer = _strokes(near if dark else 255 - near)
            return None if closer is None else _bounds(closer).of(closer)
    return box.of(strokes)


def _step(grey: Levels) -> int:
    return -(-int(max(grey.shape)) // _SIDE)


def _reduced(grey: Levels, step: int) -> Levels:
    return grey if step == 1 else np.asarray(Image.fromarray(grey).reduce(step))


def _around(box: Box, inside: Box, step: int) -> Box:
    """The box with a margin, in the coordinates of the image that was reduced by `step`."""
    margin = 2 + round(_MARGIN * max(box.bottom - box.top, box.right - box.left))
    top, left = max(0, box.top - margin) + inside.top, max(0, box.left - margin) + inside.left
    bottom = min(inside.bottom, inside.top + box.bottom + margin)
    right = min(inside.right, inside.left + box.right + margin)
    return Box(top * step, bottom * step, left * step, right * step)


def _inside_frame(small: Levels) -> Box:
    """Return the box inside a frame, such as a scanner's black edges: border rows and columns with hardly any paper."""
    height, width = small.shape
    most = round(_FRAME * min(height, width))
    middle = int(np.partition(small.ravel()[::3], small.size // 6)[small.size // 6])
    edges = _border(small)
    low, high = max(0, middle - _FRAME_STEP), min(255, middle + _FRAME_STEP)
    if not most or 4 * np.count_nonzero((edges < low) | (edges > high)) < len(edges) / 2:
        return Box(0, height, 0, width)
    frame = (small < low) | (small > high)
    rows = frame.mean(axis=1) >= _FRAME_SHARE
    columns = frame.mean(axis=0) >= _FRAME_SHARE
    return Box(
        _leading(rows[:most]),
        height - _leading(rows[::-1][:most]),
        _leading(columns[:most]),
        width - _leading(columns[::-1][:most]),
    )


def _leading(flags: Mask) -> int:
    """Return how many flags at the start are set."""
    return len(flags) if flags.all() else int(flags.argmin())


def _is_dark_on_light(small: Levels) -> bool:
    """Whether the pixels are nearer to the lightest around them than to the darkest: paper covers more than ink.

    The border counts as much as the whole, for digits that are cut out tightly: most of it is paper.
    """
    reach = _reach(small)
    lightest, darkest = _widened(small, reach), 255 - _widened(255 - small, reach)
    nearer = 2 * small.astype(np.int16) - lightest - darkest
    return bool(nearer.mean() + _border(nearer).mean() >= 0)


def _paper(small: Levels) -> Levels:
    """The levels of the paper, also under the strokes of dark-on-light levels.

    A morphological closing with a square of half the longer side: light that falls off and the edges of shadows stay
    as they are, strokes narrower than the square vanish.
    """
    return _paper_within(small, _reach(small))


def _paper_within(small: Levels, reach: int) -> Levels:
    return 255 - _widened(255 - _widened(small, reach), reach)


def _continued_paper(small: Levels) -> Levels:
    """Return `_paper` of the image continued at its border: there, shadows and frames at the border count as paper."""
    reach = _reach(small)
    return _paper_within(np.pad(small, reach, "edge"), reach)[reach:-reach, reach:-reach]


def _grain(small: Levels) -> float:
    """The standard deviation of the paper's grain, from the median second difference along the rows."""
    if small.shape[1] < 3:
        return 0.0
    wide = small.astype(np.int16)
    bends = np.abs(wide[:, :-2] - 2 * wide[:, 1:-1] + wide[:, 2:]).ravel()
    return float(np.partition(bends, len(bends) // 2)[len(bends) // 2]) / (0.6745 * 6**0.5)


def _border(levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])


def _reach(small: Levels) -> int:
    return max(1, int(max(small.shape)) // 4)


def _widened(small: Levels, reach: int) -> Levels:
    """Return, for each pixel, the maximum over the square that reaches `reach` pixels to each side."""
    for axis in (0, 1):
        size = small.shape[axis]
        near = min(reach, size - 1)
        pad = [(near, near) if other == axis else (0, 0) for other in (0, 1)]
        wide = np.pad(small, pad)  # zeros never are the maximum
        wide = wide if axis == 0 else wide.T
        span = 1
        while span < 2 * near + 1:  # the maximum over `span`, then over up to twice that
            more = min(span, 2 * near + 1 - span)
            wide = np.maximum(wide[: len(wide) - more], wide[more:])
            span += more
        small = wide if axis == 0 else wide.T
    return small


def _strokes(small: Levels) -> Ink | None:
    """The ink of the glyph in dark-on-light levels, all else 0; None where nothing is drawn."""
    ink = (_paper(small) - small).astype(np.float32)
    grain = _grain(small)
    quarter = float(np.partition(ink.ravel(), ink.size // 4)[ink.size // 4])
    raised = min(quarter + 0.67 * grain, 3 * grain)  # the closing follows the lightest grains, not the middle ones
    ink -= raised
    strongest = float(ink.max())
    if strongest < _FAINTEST:
        return None
    ink *= ink > min(max(_INK * strongest, _GRAIN * grain), strongest / 2)
    step = -(-max(ink.shape) // _LABELLED)
    pooled = pooled_sums(ink, step)
    parts = components(pooled)
    if any(part.touches(pooled) for part in parts):
        inner = pooled_sums((_continued_paper(small) - small - raised) * (ink > 0), step).ravel()
        parts = [part for part in parts if not part.touches(pooled) or part.sum(inner) >= _DRAWN * part.ink]
    heaviest = max((part.ink for part in parts), default=0.0)
    if heaviest < _LIGHTEST * max(grain, 1.0):
        return None
    keep = np.zeros(pooled.size, bool)
    for part in parts:
        if part.ink >= _SPECK * heaviest:
            for start, end in part.runs:
                keep[start:end] = True
    whole = keep.reshape(pooled.shape).repeat(step, axis=0).repeat(step, axis=1)
    cleaned: Ink = ink * whole[: ink.shape[0], : ink.shape[1]]
    return cleaned


def _bounds(strokes: Ink) -> Box:
    rows, columns = np.flatnonzero(strokes.any(axis=1)), np.flatnonzero(strokes.any(axis=0))
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def _scaled(strokes: Ink, width: int, height: int) -> Ink:
    """The glyph as large as fits into width x height, its strongest stroke at 255."""
    scale = min(width / strokes.shape[1], height / strokes.shape[0])
    size = (max(1, round(strokes.shape[1] * scale)), max(1, round(strokes.shape[0] * scale)))
    filtering = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(strokes).resize(size, filtering))
    stretched: Ink = small * (255 / small.max())
    return stretched.clip(0, 255)


def _place(strokes: Ink, canvas: Ink) -> None:
    """Put the glyph into the canvas, its centre of mass as near to the middle as it fits."""
    start = []
    for axis in (0, 1):
        weights = strokes.sum(axis=1 - axis)
        mass = float((weights * np.arange(len(weights))).sum() / weights.sum()) + 0.5
        start.append(int(np.clip(round(canvas.shape[axis] / 2 - mass), 0, canvas.shape[axis] - strokes.shape[axis])))
    canvas[start[0] : start[0] + strokes.shape[0], start[1] : start[1] + strokes.shape[1]] = strokes
