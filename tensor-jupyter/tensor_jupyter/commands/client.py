"""`lab client`: a call of a served model, ready to paste."""

import sys
from typing import Annotated, Literal

import typer

from tensor_jupyter.commands.console import errors_in_one_line


def client(
    model: Annotated[str, typer.Argument(help="A served model.")] = "mnist-net",
    lang: Annotated[Literal["python", "curl"], typer.Option(help="What the call is written in.")] = "python",
) -> None:
    """Print a working call of a served model, made from its signature."""
    with errors_in_one_line():
        from tensor_jupyter import rest

        sys.stdout.write(rest.client(model, lang))
