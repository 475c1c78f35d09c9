"""The command `lab`: the workbench from a terminal.

This is only the root: `commands` has a module for each group. They import TensorFlow inside the functions that
need it, so that help is fast.
"""

import logging
from typing import Annotated

import typer

from tensor_jupyter import __version__
from tensor_jupyter.commands import (
    client,
    data,
    doctor,
    drift,
    evaluate,
    imports,
    models,
    notebook,
    pipeline,
    predict,
    runs,
    train,
    watch,
)
from tensor_jupyter.commands.console import out
from tensor_jupyter.typed import LAB

app = typer.Typer(
    name="lab",
    help="The workbench of tensor-lab: train models that the lab serves.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"tensor-lab {__version__}")
        raise typer.Exit


@app.callback()
def _lab(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log each step, and where an error arose.")] = False,
    version: Annotated[  # noqa: ARG001 - Typer calls its callback
        bool, typer.Option("--version", help="Print the release.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("tensor_jupyter").setLevel(level)


app.command()(train.train)
app.command()(train.retrain)
app.command(epilog=predict.PREDICT_EXAMPLES)(predict.predict)
app.command(epilog=predict.LABEL_EXAMPLES)(predict.label)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.add_typer(data.app, name="data")
app.command()(data.samples)
app.command()(client.client)
app.command("import", epilog=imports.EXAMPLES)(imports.import_model)
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(drift.app, name="drift")
app.command()(doctor.doctor)
app.command()(watch.watch)
app.add_typer(notebook.app, name="notebook")


def main() -> None:
    """Run the command line: the entry point of `lab` and of `python -m tensor_jupyter`."""
    app(prog_name=LAB)
