"""Settings as flags: names, help, choices and limits come from the settings' pydantic model, their only definition.

@run_flags()                                                         # those of a training run
def train(name: str, *, flags: dict[str, object]) -> None: ...       # flags holds those that were given
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from rich.markup import escape

from tensor_jupyter.layers import explained
from tensor_jupyter.training.run import Run

_TYPES = (bool, int, float)


def run_flags(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each setting of a run, except `without`; it gets them as the dictionary `flags`."""
    return setting_flags(Run, "run", "How to train", without)


def setting_flags(
    kind: type[BaseModel], what: str, panel: str, without: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Do the same for the settings `kind`. what: their name in messages; panel: the heading of the flags in --help."""
    names = [name for name in kind.model_fields if name not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def taking_flags(**given: Any) -> None:
            flags = {name: given.pop(name) for name in names}
            command(**given, flags={name: value for name, value in flags.items() if value is not None})

        own = [parameter for parameter in inspect.signature(command).parameters.values() if parameter.name != "flags"]
        keyword = inspect.Parameter.KEYWORD_ONLY
        added = [
            inspect.Parameter(name, keyword, default=None, annotation=_annotation(kind, what, panel, name))
            for name in names
        ]
        signature = inspect.Signature([*own, *added])
        taking_flags.__signature__ = signature  # type: ignore[attr-defined]
        taking_flags.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
        return taking_flags

    return decorate


def _annotation(kind: type[BaseModel], what: str, panel: str, name: str) -> Any:
    field = kind.model_fields[name]
    types = (field.annotation, *get_args(field.annotation))
    given = next((each for each in _TYPES if each in types), str)
    choices = [str(value) for value in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []
    default = "" if field.default in (None, False) else escape(f" [default: {field.default}]")
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{field.description}{default}",
        callback=_check(kind, what),
        metavar="|".join(choices) or None,
        autocompletion=(lambda: choices) if choices else None,
        rich_help_panel=panel,
    )
    return Annotated[given | None, option]


def _check(kind: type[BaseModel], what: str) -> Callable[[typer.CallbackParam, object], object]:
    """Return a callback that reports a wrong value as a usage error, before anything is read."""

    def checked(param: typer.CallbackParam, value: object) -> object:
        if value is not None:
            try:
                kind(**{str(param.name): value})
            except ValidationError as error:
                raise typer.BadParameter(f"{value!r}: {explained(kind, what, error.errors()[0])}.") from error
        return value

    return checked
