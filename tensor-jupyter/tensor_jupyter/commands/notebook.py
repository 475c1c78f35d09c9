"""`lab notebook`: a notebook outside of JupyterLab."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tensor_jupyter.commands.console import errors_in_one_line, out
from tensor_jupyter.errors import LabError

app = typer.Typer(help="Notebooks: turn one into a script.", no_args_is_help=True)


@app.callback()
def notebook() -> None:
    """Keeps `export` a subcommand: Typer would merge a group's only command into the group."""


@app.command()
def export(
    notebook: Annotated[Path, typer.Argument(help="As MnistNet.ipynb.", exists=True, dir_okay=False, readable=True)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The script; else beside the notebook, as .py. - is stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a script that is there.")] = False,
) -> None:
    """Write a notebook's code as a script that plain `python` runs, its texts as comments.

    lab notebook export MnistNet.ipynb && python MnistNet.py
    """
    with errors_in_one_line():
        from tensor_jupyter.script import script

        target = output or notebook.with_suffix(".py")
        if target.exists() and target.samefile(notebook):
            raise LabError(f"{target} is the notebook itself: give the script another name with -o.")
        if str(target) != "-" and target.exists() and not force:
            raise LabError(f"{target} exists already: --force overwrites it, -o gives another path.")
        text = script(notebook)
        if str(target) == "-":
            sys.stdout.write(text)
            return
        _write(target, text)
        out.print(f"{target} is written; run it with: python {target}")


def _write(target: Path, text: str) -> None:
    """Write the script atomically, also over an older one."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
