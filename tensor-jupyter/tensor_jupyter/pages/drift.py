"""The page and the image about drift: live concept scores over time, and their distribution beside training's."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tensor_jupyter import drift
from tensor_jupyter.metrics_import import percentile
from tensor_jupyter.pages import charts
from tensor_jupyter.pages.render import render, write

_POINTS = 60
"""The largest number of points of a curve; each has at least `_FEWEST` images, except the last."""

_FEWEST = 20


def write_report(
    folder: Path, about: Mapping[str, Any], slices: Sequence[drift.Slice], training: drift.Training
) -> dict[str, str]:
    """Write drift.html and drift.png.

    Args:
        folder: Where both files are written.
        about: The result: `model`, `state`, `created`, `checks`, `images`, `hours`, `counts` and `message`.
        slices: All slices of the concept model's version, at least one.
        training: The threshold and the score quantiles in the card of that version.

    Returns:
        The paths of both files, as `page` and `image`.
    """
    curves = _over_time(slices, training)
    distribution = _distribution(about["counts"] or drift.added(slices), training)
    page, image = folder / "drift.html", folder / "drift.png"
    write(page, render("drift.html", about=about, curves=curves, distribution=distribution, training=training))
    part = image.with_name(f".{image.name}")
    charts.png(curves, part)
    part.replace(image)
    return {"page": str(page), "image": str(image)}


def _over_time(slices: Sequence[drift.Slice], training: drift.Training) -> Figure:
    points = [*_points(slices)]
    series = {
        f"p{share} live": [percentile(Counter(_cumulative(counts)), share / 100) for _, counts in points]
        for share in (50, 90, 99)
    }
    levels = {"threshold": training.threshold, "median in training": training.quantiles[0.5]}
    times = [drift.moment(end) for end, _ in points]
    return charts.lines(series, times, across="time (UTC)", up="concept score", levels=levels, log=True)


def _points(slices: Sequence[drift.Slice]) -> Iterator[tuple[str, dict[float, int]]]:
    """Time and counts of each point, with slices joined until it has enough images."""
    enough = max(_FEWEST, sum(each.images for each in slices) / _POINTS)
    taken: list[drift.Slice] = []
    for each in slices:
        taken.append(each)
        if sum(one.images for one in taken) >= enough or each is slices[-1]:
            yield each.end, drift.added(taken)
            taken = []


def _cumulative(counts: Mapping[float, int]) -> dict[float, int]:
    return dict(zip(counts, accumulate(counts.values()), strict=True))


def _distribution(counts: Mapping[float, int], training: drift.Training) -> Figure:
    *bounds, _ = counts  # the last is infinity
    names = [*(f"≤ {bound:g}" for bound in bounds), f"> {bounds[-1]:g}"]
    groups = {"training": training.shares([*counts]).tolist(), "live": drift.live_shares(counts).tolist()}
    return charts.shares(names, groups, across="concept score")
