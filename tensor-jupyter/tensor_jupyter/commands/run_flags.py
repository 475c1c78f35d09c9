"""The settings of a training run as flags: names, help, choices and limits come from `Run`, where they stand once.

@run_flags()
def train(name: str, *, flags: dict[str, object]) -> None: ...      # flags holds those that were given
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import ValidationError
from rich.markup import escape

from tensor_jupyter.training.run import Run, explained

_TYPES = (bool, int, float)


def run_flags(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with a flag for each setting of a run but those named; it takes them as the dictionary `flags`."""
    names = [name for name in Run.model_fields if name not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def taking_flags(**given: Any) -> None:
            flags = {name: given.pop(name) for name in names}
            command(**given, flags={name: value for name, value in flags.items() if value is not None})

        own = [parameter for parameter in inspect.signature(command).parameters.values() if parameter.name != "flags"]
        keyword = inspect.Parameter.KEYWORD_ONLY
        added = [inspect.Parameter(name, keyword, default=None, annotation=_annotation(name)) for name in names]
        signature = inspect.Signature([*own, *added])
        taking_flags.__signature__ = signature  # type: ignore[attr-defined]
        taking_flags.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
        return taking_flags

    return decorate


def _annotation(name: str) -> Any:
    field = Run.model_fields[name]
    kinds = (field.annotation, *get_args(field.annotation))
    kind = next((kind for kind in _TYPES if kind in kinds), str)
    choices = [str(value) for value in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []
    default = "" if field.default in (None, False) else escape(f" [default: {field.default}]")
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{field.description}{default}",
        callback=_checked,
        metavar="|".join(choices) or None,
        autocompletion=(lambda: choices) if choices else None,
        rich_help_panel="How to train",
    )
    return Annotated[kind | None, option]


def _checked(param: typer.CallbackParam, value: object) -> object:
    """A wrong flag is wrong usage, found out before anything is read."""
    if value is not None:
        try:
            Run(**{str(param.name): value})  # type: ignore[arg-type]
        except ValidationError as error:
            raise typer.BadParameter(f"{value!r}: {explained(error.errors()[0])}.") from error
    return value
