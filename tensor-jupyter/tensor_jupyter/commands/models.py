"""`lab models`: which versions there are, which one answers, and which one is to."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensor_jupyter.commands.console import check_sure, err, out, print_json, told_in_one_line
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from tensor_jupyter.publishing.graph import Signature
    from tensor_jupyter.publishing.registry import Registry
    from tensor_jupyter.publishing.served import Seen

_EXAMPLES = """Examples:

  lab models                            what there is, and what is served

  lab models label mnist-net canary 3   try version 3 under /tf/models/mnist-net/labels/canary/classify

  lab models promote mnist-net 3        through the gate, then it is `stable`

  lab models rollback mnist-net         the version before answers again
"""

app = typer.Typer(help="Versions: list, show, label, promote, roll back, retry, delete.", epilog=_EXAMPLES)

Model = Annotated[str, typer.Argument(help="The model's name.")]
Number = Annotated[int, typer.Argument(min=1, help="The version.")]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until the gateway shows it; 0: do not.")]
Data = Annotated[
    str | None, typer.Option("--data", help="Set or folder whose test pictures are measured with; else the card's.")
]


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models(json: Json = False) -> None:
    """List every model's versions, newest first: state, labels, and why one is held back."""
    with told_in_one_line():
        from tensor_jupyter.publishing.overview import overview

        settings = Settings.read()
        found = overview(settings)
        if json:
            entries = [
                {"name": name, "versions": [asdict(version) for version in versions]}
                for name, versions in found.models.items()
            ]
            print_json({"models": entries, "gateway": {"ready": not found.silent, "message": found.silent}})
            return
        if found.silent:
            err.print(f"{found.silent} What follows is what {settings.models} holds.")
        wide = max((len(name) for name in found.models), default=0)
        for name, versions in found.models.items():
            for version in versions:
                text = f"{name:{wide}}  {version.version:>4}  {version.state:11}  {', '.join(version.labels):12}"
                out.print(f"{text}  {version.reason}".rstrip())
        if not found.models:
            out.print(f"No models in {settings.models}: `lab train mnist-net` makes one.")


@app.command()
def show(
    model: Model,
    version: Annotated[int | None, typer.Argument(min=1, help="The version; the newest if left out.")] = None,
    json: Json = False,
) -> None:
    """Show a version: its card, signatures, and the gate's report."""
    with told_in_one_line():
        from tensor_jupyter.publishing.registry import Registry

        registry = Registry(Settings.read().models, model)
        number = version or max(registry.numbers(), default=0)
        folder = registry.folder(number)

        from tensor_jupyter.publishing.graph import Graph

        with Graph(folder) as graph:
            card, signatures = graph.card(), graph.signatures
        report = registry.report(number)
        if json:
            found = {name: asdict(signature) for name, signature in signatures.items()}
            print_json({"model": model, "version": number, "signatures": found, "card": card, "report": report})
            return
        out.print(f"{model} {number}")
        for line in signature_lines(signatures):
            out.print(line)
        for key, value in (card or {"card": "none: labels are the indices of its scores"}).items():
            out.print(f"  {key:12} {_plain(value)}")
        for check in (report or {}).get("checks", []):
            out.print(f"  gate         {_mark(check['passed'])} {check['told']}")


@app.command()
def label(
    model: Model, label: Annotated[str, typer.Argument(help="As `canary`.")], version: Number, wait: Wait = 20.0
) -> None:
    """Give a version a label, under which it is served whatever else is: /tf/models/MODEL/labels/LABEL/classify."""
    with told_in_one_line():
        from tensor_jupyter.publishing.overview import sound

        settings, registry = _registry(model)
        _check_sound(registry, version, settings)
        registry.label(label, version)
        out.print(f"{model} {version} is called {label}: /tf/models/{model}/labels/{label}/classify")
        present, conf = sound(registry, settings), registry.conf()
        _hint_default(conf.default(present), conf.listed(present), version)
        _wait(model, settings, wait, lambda seen: version in seen.available and seen.labels.get(label) == version)


@app.command()
def promote(
    model: Model,
    version: Number,
    to: Annotated[str, typer.Option("--to", help="The label it gets.")] = "stable",
    data: Data = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it even if it misses a bar; that is recorded.")
    ] = False,
    wait: Wait = 20.0,
    json: Json = False,
) -> None:
    """Measure a version against the one it takes the place of; when it reaches every bar, give it the label.

    Bars are set by LAB_GATE_MIN_ACCURACY, LAB_GATE_MAX_ACCURACY_LOSS, LAB_GATE_MAX_DISAGREEMENT and
    LAB_GATE_MAX_LATENCY_MS.
    """
    with told_in_one_line():
        from tensor_jupyter.publishing.promotion import measure

        settings, registry = _registry(model)
        _check_sound(registry, version, settings)
        report, missed = measure(registry, version, to, data, settings, force)
        if not json:
            for check in report["checks"]:
                out.print(f"{_mark(check['passed'])} {check['told']}")
        if missed and not force:
            if json:
                print_json({"promoted": False, "report": report})
            raise _missed(model, version, missed)
        registry.promote(version, to, forced=bool(missed))
        if not json:
            out.print(f"{model} {version} is {to} now{', by --force' if missed else ''}.")
        _wait(
            model, settings, wait, lambda seen: version in seen.available and seen.labels.get(to) == version, quiet=json
        )
        if json:
            print_json({"promoted": True, "report": report})


@app.command()
def rollback(
    model: Model,
    to: Annotated[int | None, typer.Option("--to", min=1, help="This version, not the one before.")] = None,
    wait: Wait = 20.0,
) -> None:
    """Have the version before answer again. Newer ones are not served until one is promoted."""
    with told_in_one_line():
        from tensor_jupyter.publishing.overview import sound

        settings, registry = _registry(model)
        before, now = registry.rollback(sound(registry, settings), to)
        out.print(f"{model} {now} answers in place of {before}, until `lab models promote {model} VERSION`.")
        _wait(model, settings, wait, lambda seen: bool(seen.available) and seen.available[-1] == now)


@app.command()
def retry(model: Model, version: Number, wait: Wait = 30.0) -> None:
    """Have a quarantined version looked at again, as after putting right what held it back."""
    with told_in_one_line():
        from tensor_jupyter.publishing.overview import quarantine_reason

        settings, registry = _registry(model)
        reason = quarantine_reason(model, version, settings)
        registry.retry(version)
        out.print(f"{model} {version} is looked at again{f' ({reason})' if reason else ''}.")
        listed = version in registry.conf().listed({*registry.numbers(), version})

        looked = False

        def arrived(seen: "Seen") -> bool:
            nonlocal looked
            if looked and version in seen.quarantined:
                raise LabError(f"{model} {version} is quarantined again: {seen.quarantined[version]}")
            looked = version not in seen.quarantined
            return version in seen.available or not (listed or version in seen.quarantined)

        _wait(model, settings, wait, arrived)


@app.command()
def delete(
    model: Model,
    version: Annotated[int | None, typer.Argument(min=1, help="The version.")] = None,
    every: Annotated[bool, typer.Option("--all", help="The model with all its versions; asks first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if it is served or has a label.")] = False,
    wait: Wait = 20.0,
) -> None:
    """Delete a version, or with --all a model.

    A version that is served or labelled is deleted only by --force, the last sound one only with --all.
    """
    if (version is None) != every:
        raise typer.BadParameter("give a VERSION, or --all for the model with every version.")
    with told_in_one_line():
        from tensor_jupyter.publishing.overview import sound

        settings, registry = _registry(model)
        if version is None:
            numbers = registry.folders()
            what = f"{model} with {len(numbers)} version{'' if len(numbers) == 1 else 's'}"
            check_sure(yes, what)
            registry.delete_all()
            out.print(f"{what} is deleted; its runs in TensorBoard stay (lab runs delete {model}).")
            _wait(model, settings, wait, lambda seen: not seen.available)
            return
        registry.delete(version, sound(registry, settings), force)
        out.print(f"{model} {version} is deleted.")
        _wait(model, settings, wait, lambda seen: version not in seen.available and version not in seen.quarantined)


def say_default(settings: Settings, published: Path) -> None:
    """Print that the version which was just published is the default; anything else has been logged as a warning."""
    from tensor_jupyter.publishing.registry import Registry

    found = (Registry(settings.models, published.parent.name).report(int(published.name)) or {}).get("default", {})
    if found and found["version"] == found["default"]:
        out.print(f"Default:   {found['message']}")


def signature_lines(signatures: "dict[str, Signature]") -> list[str]:
    """Each signature with what it takes and answers, the default one first, one line each."""
    lines = []
    for name in sorted(signatures, key=lambda name: (name != "serving_default", name)):
        given, answered = (
            ", ".join(f"{alias} {tensor}" for alias, tensor in tensors.items()) or "nothing"
            for tensors in (signatures[name].inputs, signatures[name].outputs)
        )
        lines.append(f"  {name}: {given} -> {answered}")
    return lines


def _registry(model: str) -> "tuple[Settings, Registry]":
    from tensor_jupyter.publishing.registry import Registry

    settings = Settings.read()
    return settings, Registry(settings.models, model)


def _check_sound(registry: "Registry", version: int, settings: Settings) -> None:
    """Raises LabError unless the version could be served."""
    from tensor_jupyter.publishing.overview import quarantine_reason

    registry.folder(version)
    reason = quarantine_reason(registry.name, version, settings)
    if not reason and version not in registry.numbers():
        reason = "it holds no saved_model.pb"
    if reason:
        raise LabError(
            f"Version {version} of {registry.name} is not sound ({reason}): put it right and "
            f"`lab models retry {registry.name} {version}`."
        )


def _hint_default(default: int, listed: list[int], version: int) -> None:
    """A request without version and label gets the default; that is not always what one had in mind."""
    if default == version and len(listed) > 1:
        out.print("Calls without a label go to it, too: it is the default version.")


def _missed(model: str, version: int, missed: list[str]) -> LabError:
    return LabError(f"{model} {version} is not promoted: {'; '.join(missed)}. --force promotes it all the same.")


def _wait(
    model: str, settings: Settings, seconds: float, arrived: "Callable[[Seen], bool]", quiet: bool = False
) -> None:
    """Until the gateway shows the change; without a gateway it is only said that nobody looked."""
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


def _mark(passed: bool | None) -> str:
    return {True: "ok     ", False: "missed ", None: "-      "}[passed]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
