"""Typed settings from several sources: a file, then the environment, then flags; the last one that gives a value wins.

settings = read(Run, "run", read_file(path), path, {"LAB_TRAIN_EPOCHS": "epochs"}, {"epochs": 5})
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tensor_jupyter.errors import LabError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Settings = TypeVar("Settings", bound=BaseModel)

MAX_BYTES = 100_000
"""The largest settings file that is read; normally it has a few lines."""


def read(
    kind: type[Settings],
    what: str,
    values: Mapping[str, Any],
    file: Path | None,
    variables: Mapping[str, str],
    flags: Mapping[str, object],
) -> Settings:
    """Return the validated settings.

    Args:
        kind: The pydantic model of the settings.
        what: What the settings belong to, for messages, as "run".
        values: What `file` holds, by name.
        file: Named in messages about `values`.
        variables: Setting by environment variable; an empty variable counts as unset, since Compose passes those on.
        flags: Values by name; those that are None count as not given.

    Raises:
        LabError: For the first wrong value, with its source, the value and what is expected.
    """
    given: dict[str, tuple[object, str]] = {name: (value, f"{name} in {file}") for name, value in values.items()}
    for variable, name in variables.items():
        if os.environ.get(variable):
            given[name] = os.environ[variable], variable
    for name, value in flags.items():
        if value is not None:
            given[name] = value, f"--{name.replace('_', '-')}"
    try:
        return kind(**{name: value for name, (value, _) in given.items()})
    except ValidationError as error:
        first = error.errors()[0]
        value, source = given[str(first["loc"][0])]
        raise LabError(f"{source} is {value!r}: {explained(kind, what, first)}.") from error


def explained(kind: type[BaseModel], what: str, error: Mapping[str, Any]) -> str:
    """Return the message for one of pydantic's errors."""
    if error["type"] == "extra_forbidden":
        return f"a {what} has no such setting; it has {', '.join(kind.model_fields)}"
    return str(error["msg"])


def read_file(path: Path, suffixes: tuple[str, ...] = (".toml", ".json")) -> dict[str, Any]:
    """Return a file's settings by name. Raises LabError if its suffix is not in `suffixes`, or it cannot be parsed."""
    if path.suffix not in suffixes:
        raise LabError(f"{path} is not a file of settings: {' or '.join(suffixes)} is wanted.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise LabError(f"{path} has more than {MAX_BYTES} bytes: it is not a settings file.")
        values = _parsed(content.decode(), path.suffix)
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, TOML, JSON or YAML
        raise LabError(f"{path} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise LabError(f'{path} holds a {type(values).__name__}: settings by name are wanted, as {{"epochs": 5}}.')
    return values


def _parsed(text: str, suffix: str) -> Any:
    """Return the parsed document: TOML, JSON or YAML, by its suffix. Raises ValueError if it is not valid."""
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text)
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return {} if values is None else values
