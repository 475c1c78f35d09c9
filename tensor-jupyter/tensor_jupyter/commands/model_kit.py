"""What the commands on models have in common: their arguments, the registry, waiting for the gateway, and texts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensor_jupyter.commands.console import err, out
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from tensor_jupyter.publishing.graph import Signature
    from tensor_jupyter.publishing.registry import Registry
    from tensor_jupyter.publishing.served import Seen

Model = Annotated[str, typer.Argument(help="The model's name.")]
Number = Annotated[int, typer.Argument(min=1, help="The version.")]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until the gateway shows it; 0: do not.")]
Data = Annotated[
    str | None, typer.Option("--data", help="Data set or folder with the test images; else the one on the card.")
]


def print_default(settings: Settings, published: Path) -> None:
    """Print that the version just published is the default. If it is not, a warning was logged with the reason."""
    from tensor_jupyter.publishing.registry import Registry

    found = (Registry(settings.models, published.parent.name).report(int(published.name)) or {}).get("default", {})
    if found and found["version"] == found["default"]:
        out.print(f"Default:   {found['message']}")


def signature_lines(signatures: "dict[str, Signature]") -> list[str]:
    """Return a line for each signature with its inputs and outputs, `serving_default` first."""
    lines = []
    for name in sorted(signatures, key=lambda name: (name != "serving_default", name)):
        given, answered = (
            ", ".join(f"{alias} {tensor}" for alias, tensor in tensors.items()) or "nothing"
            for tensors in (signatures[name].inputs, signatures[name].outputs)
        )
        lines.append(f"  {name}: {given} -> {answered}")
    return lines


def registry_of(model: str) -> "tuple[Settings, Registry]":
    from tensor_jupyter.publishing.registry import Registry

    settings = Settings.read()
    return settings, Registry(settings.models, model)


def wait_for(
    model: str, settings: Settings, seconds: float, arrived: "Callable[[Seen], bool]", quiet: bool = False
) -> None:
    """Wait until the gateway shows the change; if no gateway answers, print that it was not checked."""
    from tensor_jupyter.gateway import SilentError
    from tensor_jupyter.publishing import served

    if not seconds:
        return
    try:
        seen = served.wait(model, settings, seconds, arrived)
    except SilentError as error:
        err.print(f"Written, but not seen to be served: {error}")
        return
    if not quiet:
        labels = "".join(f", {label} is {version}" for label, version in sorted(seen.labels.items()))
        out.print(f"Served now: {', '.join(map(str, seen.available)) or 'none'}{labels}.")


def mark(passed: bool | None) -> str:
    return {True: "ok     ", False: "missed ", None: "-      "}[passed]


def plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
