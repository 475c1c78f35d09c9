"""Connected components of the ink in an image: union-find over runs of pixels, without SciPy or OpenCV.

This file is the same in the gateway and in the workbench; it must import neither of them.
"""

from typing import Any, NamedTuple

import numpy as np

Ink = np.ndarray[Any, np.dtype[np.float32]]  # [height, width], 0 without ink


class Box(NamedTuple):
    """Rows and columns, ends exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The part of `levels` inside."""
        return levels[self.top : self.bottom, self.left : self.right]


class Component(NamedTuple):
    """The sum of a component's ink, its bounding box, and its runs of pixels."""

    ink: float
    box: Box
    runs: list[tuple[int, int]]  # start and end in the flat image

    def touches(self, pooled: Ink) -> bool:
        """Return whether the component reaches the border of `pooled`."""
        height, width = pooled.shape
        return not (self.box.top and self.box.left and self.box.bottom < height and self.box.right < width)

    def sum(self, flat: Ink) -> float:
        """Return the sum of the values of another flat image at the component's pixels."""
        return sum(float(flat[start:end].sum()) for start, end in self.runs)


def components(pooled: Ink) -> list[Component]:
    """Return the 8-connected components of the pixels over 0: runs of pixels in each row, joined by union-find."""
    height, width = pooled.shape
    framed = np.zeros((height, width + 2), np.int8)
    framed[:, 1:-1] = pooled > 0
    steps = np.flatnonzero(np.diff(framed.ravel()))
    starts, ends = steps[::2], steps[1::2]
    rows = (starts // (width + 2)).tolist()
    firsts, lasts = (starts % (width + 2)).tolist(), (ends % (width + 2)).tolist()
    total = np.concatenate([[0.0], np.cumsum(pooled.ravel(), dtype=np.float64)])
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    above = 0
    for run, row in enumerate(rows):
        while rows[above] < row - 1 or (rows[above] == row - 1 and lasts[above] < firsts[run]):
            above += 1
        other = above
        while rows[other] == row - 1 and firsts[other] <= lasts[run]:
            parent[root(other)] = root(run)
            other += 1
    found: dict[int, list[int]] = {}
    for run in range(len(rows)):
        found.setdefault(root(run), []).append(run)
    parts = []
    for runs in found.values():
        flat = [(rows[run] * width + firsts[run], rows[run] * width + lasts[run]) for run in runs]
        box = Box(rows[runs[0]], rows[runs[-1]] + 1, min(firsts[r] for r in runs), max(lasts[r] for r in runs))
        parts.append(Component(sum(float(total[end] - total[start]) for start, end in flat), box, flat))
    return parts


def pooled_sums(ink: Ink, step: int) -> Ink:
    """Return the sum over each square of `step` x `step` pixels."""
    if step == 1:
        return ink
    pooled = np.zeros((-(-ink.shape[0] // step), -(-ink.shape[1] // step)), np.float32)
    for row in range(step):
        for column in range(step):
            part = ink[row::step, column::step]
            pooled[: part.shape[0], : part.shape[1]] += part
    return pooled
