"""`lab import`: publish an existing model."""

import re
from pathlib import Path
from typing import Annotated

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line, out, print_json
from tensor_jupyter.commands.model_kit import Data, Json, print_default, signature_lines
from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

EXAMPLES = """Examples:

  lab import flowers.keras --labels daisy,rose,tulip

  lab import cats.h5 --labels cat,dog --range 0..255 --size 160x160

  lab import old_model.h5 --name digits --data mnist

  lab import saved_model/ --name anything
"""


Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        help="The values of black and white in a float input: 0..255, 0..1 or -1..1. If left out, derived from the "
        "layers of a Keras model (Rescaling, Normalization, preprocess_input), else 0..1.",
    ),
]
Size = Annotated[
    str | None, typer.Option("--size", help="HEIGHTxWIDTH of its images, where the model leaves them open.")
]
Scores = Annotated[
    str | None,
    typer.Option("--scores", help="probabilities or logits; read from the layers of a Keras model if left out."),
]
Independent = Annotated[
    bool | None,
    typer.Option(
        "--independent-rows/--dependent-rows",
        help="Whether requests may be batched: no row's answer depends on other rows. Checked if left out.",
    ),
]


def import_model(
    path: Annotated[Path, typer.Argument(help="A .keras or .h5 file, or the folder of a SavedModel.")],
    name: Annotated[str | None, typer.Option("--name", help="What it is called; else after the file.")] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Names of its scores: a,b,c or a file with one in each line.")
    ] = None,
    data: Data = None,
    pixels: Range = None,
    size: Size = None,
    scores: Scores = None,
    independent_rows: Independent = None,
    json: Json = False,
) -> None:
    """Make a served version of a model from elsewhere. A SavedModel is copied as it is, whatever its signatures.

    A Keras model with one sigmoid for two classes is served with two scores. Requests are batched only if the rows of
    all signatures were found independent of each other.
    """
    with errors_in_one_line():
        from tensor_jupyter.publishing.importing import default_name, import_model
        from tensor_jupyter.publishing.independence import DECLARATION
        from tensor_jupyter.publishing.keras_card import Hints

        settings = Settings.read()
        context = Context(name or default_name(path), settings=settings)
        names = _labels(labels) if labels else []
        hints = Hints(pixels, _size(size) if size else None, scores)
        dataset = None
        if data:
            from tensor_jupyter.data import load

            dataset = load(data, settings)
            err.print(dataset.message)
        published, signatures = import_model(path, context, names, dataset, hints, independent_rows)
        if json:
            print_json({"name": context.name, "version": int(published.name), "folder": str(published)})
            return
        out.print(f"Published: {published}")
        print_default(context.settings, published)
        for line in signature_lines(signatures):
            out.print(line)
        if not (published / DECLARATION).is_file():
            out.print("Requests are not batched: the rows are not known to be independent (--independent-rows).")
        if "serving_default" not in signatures:
            out.print(f"It has no signature serving_default: call it with ?signature={min(signatures)}")


def _size(given: str) -> tuple[int, int]:
    """Height and width of "160x160". Raises LabError."""
    found = re.fullmatch("([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", given)
    if not found:
        raise LabError(f"invalid --size {given!r} (expected HEIGHTxWIDTH in pixels, as 160x160)")
    return int(found[1]), int(found[2])


def _labels(given: str) -> list[str]:
    """The labels in a file with one per line, or separated by commas. Raises LabError if none, or an empty one."""
    path = Path(given)
    try:
        text = path.read_text(encoding="utf-8").splitlines() if path.is_file() else given.split(",")
    except UnicodeDecodeError as error:
        raise LabError(f"{path} is not UTF-8, so its labels cannot be read.") from error
    found = [label.strip() for label in text]
    while found and not found[-1]:
        found.pop()
    if not found or not all(found) or len(set(found)) < len(found):
        raise LabError(
            f"invalid --labels {given!r} (expected different names, as daisy,rose,tulip, or a file with one per line)"
        )
    return found
