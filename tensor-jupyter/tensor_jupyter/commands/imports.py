"""`lab import`: what people have, served."""

from pathlib import Path
from typing import Annotated

import typer

from tensor_jupyter.commands.console import err, out, print_json, told_in_one_line
from tensor_jupyter.commands.model_kit import Data, Json, say_default, signature_lines
from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

EXAMPLES = """Examples:

  lab import flowers.keras --labels daisy,rose,tulip

  lab import old_model.h5 --name digits --data mnist

  lab import saved_model/ --name anything
"""


def import_model(
    path: Annotated[Path, typer.Argument(help="A .keras or .h5 file, or the folder of a SavedModel.")],
    name: Annotated[str | None, typer.Option("--name", help="What it is called; else after the file.")] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Names of its scores: a,b,c or a file with one in each line.")
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Make a served version of a model from elsewhere. A SavedModel is copied as it is, whatever its signatures."""
    with told_in_one_line():
        from tensor_jupyter.publishing.importing import default_name, import_model

        settings = Settings.read()
        context = Context(name or default_name(path), settings=settings)
        names = _labels(labels) if labels else []
        pictures = None
        if data:
            from tensor_jupyter.data import load

            pictures = load(data, settings)
            err.print(pictures.message)
        published, signatures = import_model(path, context, names, pictures)
        if json:
            print_json({"name": context.name, "version": int(published.name), "folder": str(published)})
            return
        out.print(f"Published: {published}")
        say_default(context.settings, published)
        for line in signature_lines(signatures):
            out.print(line)
        if "serving_default" not in signatures:
            out.print(f"It has no signature serving_default: call it with ?signature={min(signatures)}")


def _labels(given: str) -> list[str]:
    """From a file with one in each line, or separated by commas. Raises LabError for none, or an empty one."""
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
            f"--labels {given}: wanted are names that differ, as daisy,rose,tulip, or a file of one per line."
        )
    return found
