"""Charts by matplotlib: `svg` in the colours of the page that contains it, and `png` for everything else."""

import contextlib
import datetime
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

_TEXT, _GRID = "#22211e", "#dedbd2"
SERIES = ("#2563a8", "#c9431c", "#2c7a4b")
_VARIABLES = {_TEXT: "--text", _GRID: "--line"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)
}
"""Variables of the pages' style sheet, which replace the colours in the SVG."""

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": _GRID,
    "axes.grid": True,
    "axes.labelcolor": _TEXT,
    "axes.prop_cycle": f"cycler(color={[*SERIES]})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,
    "font.size": 10,
    "grid.color": _GRID,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.color": _TEXT,
    "text.parse_math": False,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
}
_SIZE = (4.8, 3)  # inches
_BINS = 60
_MARGIN = datetime.timedelta(seconds=30)


def lines(
    series: Mapping[str, Sequence[float]],
    times: Sequence[datetime.datetime] | None = None,
    *,
    across: str,
    up: str,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
) -> Figure:
    """Return a chart with one curve for each series, over `times`, else over 1, 2, 3 and so on.

    levels: horizontal lines by name, at most three.
    """
    with _axes(across, up) as (figure, axes):
        for name, values in series.items():
            places = times or range(1, len(values) + 1)
            axes.plot(places, values, label=name, marker="o" if len(values) < 15 else None, markersize=3.5)
        for (name, level), style in zip((levels or {}).items(), ("--", ":", "-."), strict=False):
            axes.axhline(level, color=_TEXT, linestyle=style, linewidth=1, label=name)
        if log:
            axes.set_yscale("log")
            _plain(axes.yaxis)
        if times:
            if times[-1] - times[0] < 2 * _MARGIN:  # the locator cannot handle a shorter axis
                axes.set_xlim(times[0] - _MARGIN, times[-1] + _MARGIN)
            axes.xaxis.set_major_locator(ticks := AutoDateLocator(maxticks=6))
            axes.xaxis.set_major_formatter(ConciseDateFormatter(ticks))
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(loc="outside upper left", ncols=3)
    return figure


def histogram(
    groups: Mapping[str, np.ndarray],
    marks: Mapping[str, float],
    *,
    across: str,
    up: str = "share of the images",
    log: bool = False,
) -> Figure:
    """Return a histogram of each group, as shares of its values. marks: vertical lines by name, at most three."""
    every = np.concatenate([*groups.values()])
    low, high = float(every.min()), float(max(every.max(), *marks.values()))
    if log:
        low = float(every[every > 0].min(initial=high))
        low = min(low, high / 10)
    bins = np.geomspace(low, high, _BINS) if log else np.linspace(low, high, _BINS)
    with _axes(across, up) as (figure, axes):
        for name, values in groups.items():
            weights = np.full(len(values), 1 / len(values))
            axes.hist(values, bins, weights=weights, label=name, alpha=0.65)
        _mark(axes, marks)
        if log:
            axes.set_xscale("log")
            _plain(axes.xaxis)
        figure.legend(loc="outside upper left", ncols=3)
    return figure


def shares(bounds: Sequence[str], groups: Mapping[str, Sequence[float]], *, across: str) -> Figure:
    """Return the share of each group in each bucket. bounds: the buckets' names."""
    with _axes(across, "share of the images") as (figure, axes):
        width = 0.8 / len(groups)
        for number, (name, values) in enumerate(groups.items()):
            axes.bar(np.arange(len(values)) + width * (number - (len(groups) - 1) / 2), values, width, label=name)
        axes.set_xticks(range(len(bounds)), bounds, rotation=45, ha="right")
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside upper left", ncols=3)
    return figure


def svg(figure: Figure) -> str:
    """Return the chart as an SVG element in the colours of the page that contains it."""
    file = io.StringIO()
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # the same in every chart
    text = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*"', r"\1\2", text)
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var({name})")
    return text


def png(figure: Figure, path: Path) -> None:
    """Write the chart as a PNG file."""
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure.savefig(path, format="png", dpi=150, facecolor="white")


@contextlib.contextmanager
def _axes(across: str, up: str) -> Iterator[tuple[Figure, Any]]:
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set(xlabel=across, ylabel=up)
        yield figure, axes


def _mark(axes: Any, marks: Mapping[str, float]) -> None:
    for (name, place), style in zip(marks.items(), ("-", "--", ":"), strict=False):
        axes.axvline(place, color=_TEXT, linestyle=style, linewidth=1.2, label=name)


def _plain(axis: Any) -> None:
    """Label the ticks with plain decimals: 0.01 instead of 10⁻²."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
