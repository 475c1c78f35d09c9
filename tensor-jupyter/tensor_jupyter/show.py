"""Images and curves in a notebook. Each function returns the figure, which the notebook shows as a cell's result."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tensor_jupyter.data import Dataset

_HEIGHT = 3.6  # inches, of a plot
_GREY = "0.4"


class Source:
    """Where a data set came from, as a cell's result; with a red frame if it stands in for another set."""

    def __init__(self, data: Dataset) -> None:
        self.text = f"STAND-IN DATA, not {data.stand_in_for}. {data.message}" if data.stand_in_for else data.message
        self._style = "border: 3px solid #c62828; padding: 8px; font-weight: bold" if data.stand_in_for else ""

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<div style="{self._style}">{html.escape(self.text)}</div>'


def contact_sheet(images: np.ndarray, titles: Sequence[object], columns: int = 10) -> Figure:
    """Return a figure of the images in rows of `columns`, each below its title; an empty row if there are no images.

    images: uint8 [N, H, W, 1] or [N, H, W, 3].
    """
    rows = max(1, -(-len(images) // columns))
    more = max((str(title).count("\n") for title in titles), default=0)  # lines of a title beyond the first
    figure, axes = pyplot.subplots(rows, columns, figsize=(columns, (1.25 + 0.17 * more) * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(str(title), fontsize=9)
    return _finished(figure)


def lines(
    series: Mapping[str, Sequence[float]], along: Sequence[float] | None = None, name: str = "epoch", title: str = ""
) -> Figure:
    """Return a figure of the curves, each with its name.

    along: the values on the x axis; else 1, 2, 3 ... name: the label of the x axis.
    """
    figure, axis = pyplot.subplots(figsize=(8, _HEIGHT))
    for label, values in series.items():
        axis.plot(range(1, len(values) + 1) if along is None else along, values, marker="o", markersize=4, label=label)
    axis.set_xlabel(name)
    axis.set_title(title, fontsize=11)
    axis.legend(frameon=False)
    _plain(axis)
    return _finished(figure)


def confusion(labels: Sequence[str], truth: np.ndarray, answers: np.ndarray) -> Figure:
    """Return a figure of the confusion matrix: true labels in rows, predicted labels in columns, counts in the cells.

    truth, answers: int [N], indices into `labels`.
    """
    counts = np.zeros((len(labels), len(labels)), int)
    np.add.at(counts, (truth, answers), 1)
    side = 1.5 + 0.45 * len(labels)
    figure, axis = pyplot.subplots(figsize=(side + 0.5, side))
    axis.imshow(np.sqrt(counts), cmap="Blues")  # else a few wrong ones beside a thousand right ones would be invisible
    for row, column in zip(*counts.nonzero(), strict=True):
        strong = counts[row, column] > counts.max() / 3
        axis.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color="w" if strong else "k")
    axis.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(labels)), labels)
    axis.set_xlabel("predicted label")
    axis.set_ylabel("true label")
    return _finished(figure)


def separation(groups: Mapping[str, np.ndarray], threshold: float, name: str = "reconstruction error") -> Figure:
    """A histogram of the errors of each group of images, on a logarithmic axis, with the threshold."""
    together = np.concatenate(list(groups.values()))
    bins = np.geomspace(max(together.min(), 1e-6), together.max(), 60).tolist()
    figure, axis = pyplot.subplots(figsize=(8, _HEIGHT))
    for label, errors in groups.items():
        axis.hist(errors, bins, weights=np.full(len(errors), 100 / len(errors)), alpha=0.65, label=label)
    axis.axvline(threshold, color=_GREY, linestyle="--", label=f"threshold {threshold:.4f}")
    axis.set_xscale("log")
    axis.set_xlabel(name)
    axis.set_ylabel("% of the images")
    axis.legend(frameon=False)
    _plain(axis)
    return _finished(figure)


def bars(scores: Mapping[str, float], title: str = "") -> Figure:
    """One bar for each name, the first on top."""
    figure, axis = pyplot.subplots(figsize=(6, 0.6 + 0.3 * len(scores)))
    drawn = axis.barh(list(scores), list(scores.values()))
    axis.bar_label(drawn, fmt="%.3g", padding=3, fontsize=9)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set_title(title, fontsize=11)
    _plain(axis)
    return _finished(figure)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(visible=True, alpha=0.25)
    axis.set_axisbelow(True)


def _finished(figure: Figure) -> Figure:
    """Lay the figure out and close it: the notebook shows a cell's result, and would show an open figure twice."""
    figure.tight_layout()
    pyplot.close(figure)
    return figure
