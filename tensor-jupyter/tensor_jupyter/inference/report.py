"""Show an evaluation: as a table at a terminal, plain lines elsewhere, and a plot."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tensor_jupyter.inference.evaluation import OTHER, Evaluation

_MAX_LABELS = 15  # for a table, and for counts in a plot; more do not fit


def document(found: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON; times in milliseconds."""
    return {
        "versions": list(found.versions),
        "answered": found.answered,
        "misread": found.misread,
        "error_rate": round(found.error_rate, 6),
        "failed": sum(found.failed.values()),
        "failures": found.failed,
        "p50_ms": round(found.milliseconds(50), 3),
        "p99_ms": round(found.milliseconds(99), 3),
        "answers_per_second": round(found.rate, 1),
        "confusion": {"labels": list(found.labels), "read": [*found.labels, OTHER], "counts": found.confusion.tolist()},
    }


def show(found: Evaluation, console: Console) -> None:
    """Print the figures and the confusion matrix; with many labels, the most frequent mistakes instead of it."""
    console.print(f"Error rate: {found.error_rate:.2%}, {found.misread} misread of {found.answered} answered")
    failed = sum(found.failed.values())
    console.print(f"Failed:     {failed} {'call' if failed == 1 else 'calls'}")
    for reason, count in sorted(found.failed.items(), key=lambda failure: -failure[1])[:5]:
        console.print(f"            {count} times: {reason}")
    console.print(f"Latency:    p50 {found.milliseconds(50):.1f} ms, p99 {found.milliseconds(99):.1f} ms")
    console.print(f"Rate:       {found.rate:.0f} answers/s")
    if len(found.labels) > _MAX_LABELS:
        for label, read, count in found.mistakes():
            console.print(f"{label} read as {read}: {count}")
    elif console.is_terminal:
        console.print(_table(found))
    else:
        _print_lines(found, console)


def save_plot(found: Evaluation, title: str, path: Path) -> None:
    """Write a PNG with the confusion matrix, and a histogram of the latencies."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.5), layout="constrained")
    figure.suptitle(title)
    matrix, times = figure.subplots(1, 2)
    _plot_confusion(found, matrix)
    milliseconds = found.seconds * 1000
    times.hist(milliseconds, bins=np.linspace(0, found.milliseconds(99.5), 60), color="tab:blue")
    for percent, style in ((50, "-"), (99, "--")):
        at = found.milliseconds(percent)
        times.axvline(at, color="black", linestyle=style, label=f"p{percent} {at:.1f} ms")
    times.set(xlabel="milliseconds a call", ylabel="calls", title=f"{found.rate:.0f} answers/s")
    times.legend()
    figure.savefig(path, format="png", dpi=120)


def _plot_confusion(found: Evaluation, axes: Any) -> None:
    read = _read(found)
    counts = found.confusion[:, : len(read)]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set(xlabel="read as", ylabel="is", title=f"{found.error_rate:.2%} misread of {found.answered}")
    if len(found.labels) > _MAX_LABELS:
        return
    turned = max(map(len, read)) > 3
    axes.set_xticks(range(len(read)), [_short(label) for label in read], rotation=45 if turned else 0)
    axes.set_yticks(range(len(found.labels)), [_short(label) for label in found.labels])
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, int(count), ha="center", va="center", color=colour, fontsize=8)


def _table(found: Evaluation) -> Table:
    table = Table(title="Rows: what it is. Columns: what was read.", title_justify="left", box=None)
    table.add_column("")
    for label in _read(found):
        table.add_column(Text(_short(label)), justify="right")
    for row, label in enumerate(found.labels):
        cells = [
            _cell(int(count), column == row) for column, count in enumerate(found.confusion[row][: len(_read(found))])
        ]
        table.add_row(Text(_short(label), "bold"), *cells)
    return table


def _cell(count: int, right: bool) -> Text:
    if not count:
        return Text("·", "dim")
    return Text(str(count), "green" if right else "bold red")


def _print_lines(found: Evaluation, console: Console) -> None:
    """Print the same table as plain text with aligned columns."""
    read = _read(found)
    names = [_short(label) for label in found.labels]
    rows = [["is / read as", *map(_short, read)]]
    rows += [[name, *map(str, counts[: len(read)])] for name, counts in zip(names, found.confusion, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *cells in rows:
        words = [first.ljust(widths[0]), *(cell.rjust(wide) for cell, wide in zip(cells, widths[1:], strict=True))]
        console.print("  ".join(words))


def _read(found: Evaluation) -> list[str]:
    """Return the labels of the matrix's columns, with OTHER only if it occurs."""
    return [*found.labels, OTHER] if found.confusion[:, -1].any() else list(found.labels)


def _short(label: str) -> str:
    return label if len(label) <= 12 else f"{label[:9]}..."
