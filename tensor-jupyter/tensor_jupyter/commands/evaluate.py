"""`lab evaluate`: how well and how fast a served model answers."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line, out, print_json
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from tensor_jupyter.data import Dataset
    from tensor_jupyter.inference.evaluation import Evaluation

EXAMPLES = """Examples:

  lab evaluate mnist-net --n 1000 --concurrency 8

  lab evaluate mnist-net --label stable --max-error 0.03 || echo "do not ship it"

  lab evaluate flowers --data flowers/ --plot flowers.png --json
"""


Version = Annotated[int | None, typer.Option("--version", min=1, help="This version; else the default version.")]
Label = Annotated[str | None, typer.Option("--label", help="The version under this label, as stable.")]
Data = Annotated[
    str | None, typer.Option(help="Set or folder whose test images are sent; else the one of the model's card.")
]
MaxError = Annotated[
    float | None, typer.Option(min=0, max=1, help="The largest share that may be misread; above it, exit code 1.")
]
Plot = Annotated[Path | None, typer.Option(help="Where the plot goes; else LAB_DATA/evaluations/MODEL-VERSION.png.")]


def evaluate(
    model: Annotated[str, typer.Argument(help="A served model.")] = "mnist-net",
    n: Annotated[int, typer.Option("--n", min=1, help="Test images that are sent, drawn the same each time.")] = 1000,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Connections that send at the same time.")] = 8,
    data: Data = None,
    version: Version = None,
    label: Label = None,
    max_error: MaxError = None,
    plot: Plot = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Send test images through the gateway: error rate, latency, answers/s, confusions, and a plot.

    Exit code 1 if more is misread than --max-error allows, or if a call failed; failed calls are counted separately.
    """
    if version is not None and label is not None:
        raise typer.BadParameter("give --version or --label, not both: a label stands for a version.")
    with errors_in_one_line():
        if plot and not plot.parent.is_dir():
            raise LabError(f"{plot.parent} is not a folder: the plot could not be written.")
        from tensor_jupyter.gateway import Gateway
        from tensor_jupyter.inference.catalogue import metadata
        from tensor_jupyter.inference.remote import path_of

        settings = Settings.read()
        with Gateway(settings) as gateway:
            card = metadata(gateway, model, version, label)["card"]
        dataset = _dataset(model, card, data, settings)
        path = f"{path_of(model, version, label)}/classify?limit=1"
        console = err if as_json else out
        found = _measured(settings, path, dataset, card, n, concurrency, console)
        versions = "+".join(map(str, found.versions))
        target = plot or settings.data / "evaluations" / f"{model}-{versions}.png"
        _plot(found, f"{model} {versions} on {dataset.name}", target)
        missed = _missed(found, max_error)
        about = {"model": model, "data_set": dataset.name, "connections": concurrency, "plot": str(target)}
        if as_json:
            from tensor_jupyter.inference.report import document

            print_json({**about, **document(found), "passed": not missed, "missed": missed})
        else:
            _print_report(found, f"{model} {versions}, {concurrency} connections:", target)
        if missed:
            raise LabError("; ".join(missed))


def _dataset(model: str, card: dict[str, Any], data: str | None, settings: Settings) -> "Dataset":
    """Return the set to measure with, in the model's image format. Raises LabError for a label the model lacks."""
    from tensor_jupyter.data import ImageSpec, load

    made = card.get("data_set") or {}
    name = data or made.get("stand_in_for") or made.get("name")
    if not name or name == "unknown":
        raise LabError(f"The card of {model} names no data set: give --data SET, a set or folder with its labels.")
    try:
        found = load(name, settings, ImageSpec.of_card(card))
    except LabError as error:
        if data:
            raise
        raise LabError(f"{model} was trained on {name}, which cannot be loaded: {error} Give --data SET.") from error
    unknown = [one for one in found.labels if one not in card["labels"]] if card.get("labels") else []
    if unknown:
        known = ", ".join(map(str, card["labels"][:20]))
        raise LabError(f"{found.name} has the label {unknown[0]!r}, which {model} does not know: {known}.")
    return found


def _measured(
    settings: Settings,
    path: str,
    dataset: "Dataset",
    card: dict[str, Any],
    n: int,
    concurrency: int,
    console: "Console",
) -> "Evaluation":
    from tensor_jupyter.data.progress import shown
    from tensor_jupyter.inference import evaluation

    console.print(dataset.message)
    if n > len(dataset.test):
        console.print(f"It has {len(dataset.test)} test images, fewer than {n}: all are sent.")
    some = evaluation.drawn(dataset.test, n)
    # Without labels on a card a model answers with the indices of its scores.
    labels = dataset.labels if card.get("labels") else [str(number) for number in range(len(dataset.labels))]
    with shown("sending", len(some)) as advance:
        return evaluation.evaluate(settings, path, some, labels, concurrency, advance)


def _plot(found: "Evaluation", title: str, path: Path) -> None:
    """Write a temporary file and rename it, so that a viewer never sees half a plot."""
    from tensor_jupyter.inference.report import save_plot

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_plot(found, title, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _missed(found: "Evaluation", max_error: float | None) -> list[str]:
    """The reasons for exit code 1, as messages."""
    missed = []
    if max_error is not None and found.error_rate > max_error:
        missed.append(f"{found.error_rate:.2%} were misread, more than {max_error:.2%}")
    if failed := sum(found.failed.values()):
        missed.append(f"{failed} of {failed + found.answered} calls failed")
    return missed


def _print_report(found: "Evaluation", title: str, plot: Path) -> None:
    from tensor_jupyter.inference.report import show

    out.print(title)
    show(found, out)
    out.print(f"Plot: {plot}")
