"""The tables of settings, flags, verbs, commands, routes, metrics, images and services in the documents.

Each is made from where its facts are declared.
"""

import ast
import inspect
import re
import textwrap
from argparse import REMAINDER, ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer.main
from pydantic import AliasChoices, BaseModel
from pydantic_core import PydanticUndefined

from lab_engine import __main__ as engine
from tensor_jupyter import cli as workbench
from tensor_jupyter.publishing.release_gate import Thresholds
from tensor_jupyter.settings import Settings as Workbench
from tensor_jupyter.training.run import PREFIX, Run
from tensor_rest.app import create_app
from tensor_rest.observability import metrics
from tensor_rest.settings import Settings as Gateway
from tensor_serving.embedded import options
from tests.docs import images
from tests.docs.images import Row
from tests.running import ROOT

_PROTECTION = (
    *("api_keys_file", "allowed_hosts", "cors_origins", "requests_per_second", "connections_per_client"),
    *("trusted_proxies", "url_allow", "max_upload_bytes", "body_memory_bytes", "max_pixels"),
)
"""The gateway's settings that docs/security.md describes."""

_NOTHING_SERVED: dict[str, Any] = {"server": "127.0.0.1:1", "inventory_url": "http://127.0.0.1:1/", "grace_seconds": 0}
"""Whatever lab runs on this machine, the document describes no model."""

_ELSEWHERE = "see right"
"""Instead of a default that depends on the machine."""


def table(rows: Iterable[Row]) -> str:
    """Markdown; the first row is the head."""
    head, *others = (tuple(cell.replace("|", r"\|") for cell in row) for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *others))


def variables(path: Path) -> Iterator[Row]:
    """The lines of versions.env that an environment variable overrides, each described by the comment above it."""
    yield "variable", "default", "is"
    comment: list[str] = []
    for line in path.read_text().splitlines():
        name, assigned, value = line.partition("=")
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        elif assigned and name.startswith("LAB_") and name != "LAB_VERSION":
            assert comment, f"{name} has no comment above it"
            yield f"`{name}`", value, _sentence(" ".join(comment))
        if not line.startswith("#"):
            comment = []


def settings(model: type[BaseModel], prefix: str, names: Iterable[str] = ()) -> Iterator[Row]:
    """A line for each field: its variable, its default, and its docstring or description."""
    yield "variable", "default", "is"
    texts = _docstrings(model)
    for name in names or model.model_fields:
        field = model.model_fields[name]
        alias = field.validation_alias
        given = alias.choices if isinstance(alias, AliasChoices) else [alias or f"{prefix}{name.upper()}"]
        shown = _ELSEWHERE if field.default is PydanticUndefined else _value(field.default)
        yield ", ".join(f"`{each}`" for each in given), shown, _sentence(field.description or texts[name])


def flags() -> Iterator[Row]:
    """Yield a row for each flag of the model server."""
    yield "flag", "default", "is"
    for field in fields(options.Options):
        shown = _ELSEWHERE if field.name == "grpc_max_threads" else _value(field.default)
        yield f"`--{field.name}`", shown, options.HELP[field.name]


def verbs() -> Iterator[Row]:
    """The verbs of bin/compose.sh, each followed by its options; --engine, which all have, is left out."""
    yield "`bin/compose.sh`", "does"
    _, found = engine._parsers()
    helps = {action.dest: action.help for action in found._choices_actions}
    for name, verb in found.choices.items():
        places = [action for action in verb._actions if not action.option_strings]
        yield f"`{' '.join([name, *map(_place, places)])}`", helps[name]
        yield from ((f"`{name} {option}`", text) for option, text in _options(verb))


def commands() -> Iterator[Row]:
    """Those of `lab`, with the first sentence of their help."""
    yield "command", "does"
    yield from _commands(typer.main.get_command(workbench.app), "lab ")


def routes() -> Iterator[Row]:
    """Yield the gateway's routes from its OpenAPI document, without those of a version or a label."""
    yield "request", "does"
    with TemporaryDirectory() as folder:
        client = create_app(Gateway(run_dir=Path(folder), **_NOTHING_SERVED)).test_client()
        found = client.get("/tf/openapi.json", headers={"Host": "localhost"}).get_json()
    for path, methods in found["paths"].items():
        if not re.search("{(version|label)}", path):
            place = path.replace("{model}", "M")
            operations = {method: one for method, one in methods.items() if method != "parameters"}
            yield from ((f"`{method.upper()} {place}`", one["summary"]) for method, one in operations.items())


def gateway_metrics() -> Iterator[Row]:
    yield "metric", "labels", "is"
    for metric in metrics.METRICS:
        (family,) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield f"`{name}`", ", ".join(metric._labelnames), f"{family.type}: {_sentence(family.documentation)}"


def _docstrings(owner: type) -> dict[str, str]:
    """Each field's docstring: the text below it in the class."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(found, ast.ClassDef)
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairwise(found.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def _value(value: Any) -> str:
    if value == () or str(value) in ("None", ""):  # also an empty SecretStr
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _sentence(text: str) -> str:
    return text.removesuffix(".")


def _place(action: Any) -> str:
    name = str(action.metavar or action.dest.upper())
    forms: dict[object, str] = {"*": f"[{name}...]", REMAINDER: f"{name}..."}
    return forms.get(action.nargs, name)


def _options(verb: ArgumentParser) -> Iterator[Row]:
    for action in verb._actions:
        if action.option_strings and action.dest not in ("help", "engine"):
            value = (
                "" if action.nargs == 0 else f" {action.metavar or '|'.join(action.choices or [action.dest.upper()])}"
            )
            yield f"{', '.join(action.option_strings)}{value}", action.help or ""


def _commands(group: Any, before: str) -> Iterator[Row]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"`{before}{name}`", _sentence(re.split(r"(?<=\.)\s", command.help or "")[0])


TABLES: dict[str, tuple[str, Callable[[], Iterable[Row]]]] = {
    "lab": ("docs/operations.md", lambda: variables(ROOT / "versions.env")),
    "verbs": ("docs/operations.md", verbs),
    "gateway": ("tensor-rest/README.md", lambda: settings(Gateway, "TENSOR_REST_")),
    "protection": ("docs/security.md", lambda: settings(Gateway, "TENSOR_REST_", _PROTECTION)),
    "metrics": ("docs/security.md", gateway_metrics),
    "routes": ("docs/rest-api.md", routes),
    "workbench": ("tensor-jupyter/README.md", lambda: settings(Workbench, "LAB_")),
    "training": ("tensor-jupyter/README.md", lambda: settings(Run, PREFIX)),
    "gate": ("tensor-jupyter/README.md", lambda: settings(Thresholds, "LAB_GATE_")),
    "commands": ("tensor-jupyter/README.md", commands),
    "flags": ("tensor-serving-gpu/README.md", flags),
    "services": ("README.md", images.services),
    "images": ("docs/images.md", images.held),
    "containers": ("docs/images.md", images.running),
}
"""By the name in its comment: the document, and what makes its rows."""
