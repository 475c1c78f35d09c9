"""`lab models`: list versions, and choose which one is the default."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line, out, print_json
from tensor_jupyter.commands.model_changes import delete, independent_rows, unpin
from tensor_jupyter.commands.model_kit import (
    Data,
    Json,
    Model,
    Number,
    Wait,
    mark,
    plain,
    registry_of,
    signature_lines,
    wait_for,
)
from tensor_jupyter.commands.model_store import pull, push
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings
from tensor_jupyter.typed import LAB

if TYPE_CHECKING:
    from tensor_jupyter.publishing.overview import Overview
    from tensor_jupyter.publishing.registry import Registry
    from tensor_jupyter.publishing.served import Seen

_EXAMPLES = """Examples:

  lab models                            what there is, and what is served

  lab models label mnist-net canary 3   try version 3 under /tf/models/mnist-net/labels/canary/classify

  lab models promote mnist-net 3        measure it; if it passes the gate, it becomes `stable`

  lab models rollback mnist-net         the previous version answers again
"""

app = typer.Typer(
    help="Versions: list, show, label, promote, roll back, unpin, retry, delete, push, pull.", epilog=_EXAMPLES
)


app.command()(unpin)
app.command()(delete)
app.command()(push)
app.command()(pull)
app.command("independent-rows")(independent_rows)


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models(json: Json = False) -> None:
    """List every model's versions, newest first: state, labels, and why one is not served."""
    with errors_in_one_line():
        from tensor_jupyter.publishing.overview import overview

        settings = Settings.read()
        found = overview(settings)
        if json:
            entries = [
                {"name": name, "versions": [asdict(version) for version in versions]}
                for name, versions in found.models.items()
            ]
            ignored = [asdict(near) for near in found.ignored]
            print_json(
                {"models": entries, "ignored": ignored, "gateway": {"ready": not found.silent, "message": found.silent}}
            )
            return
        if found.silent:
            err.print(f"{found.silent} What follows is what {settings.models} holds.")
        for line in _lines(found):
            out.print(line)
        for near in found.ignored:
            err.print(f"{near.path} is not served: {near.reason}." + (f" {near.fix}" if near.fix else ""))
        if not found.models:
            out.print(f"No models in {settings.models}: `{LAB} train mnist-net` makes one.")


@app.command()
def show(
    model: Model,
    version: Annotated[int | None, typer.Argument(min=1, help="The version; the newest if left out.")] = None,
    json: Json = False,
) -> None:
    """Show a version: its card, signatures, and the gate's report."""
    with errors_in_one_line():
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
            out.print(f"  {key:12} {plain(value)}")
        for check in (report or {}).get("checks", []):
            out.print(f"  gate         {mark(check['passed'])} {check['message']}")


@app.command()
def label(
    model: Model, label: Annotated[str, typer.Argument(help="As `canary`.")], version: Number, wait: Wait = 20.0
) -> None:
    """Give a version a label; it is then served, whatever the policy: /tf/models/MODEL/labels/LABEL/classify."""
    with errors_in_one_line():
        from tensor_jupyter.publishing.overview import sound

        settings, registry = registry_of(model)
        _check_sound(registry, version, settings)
        registry.label(label, version)
        out.print(f"{model} {version} has the label {label}: /tf/models/{model}/labels/{label}/classify")
        present, conf = sound(registry, settings), registry.settings()
        _hint_default(conf.default(present), conf.listed(present), version)
        wait_for(model, settings, wait, lambda seen: version in seen.available and seen.labels.get(label) == version)


@app.command()
def promote(
    model: Model,
    version: Number,
    to: Annotated[str, typer.Option("--to", help="The label it gets.")] = "stable",
    data: Data = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it even if it misses a threshold; that is recorded.")
    ] = False,
    wait: Wait = 20.0,
    json: Json = False,
) -> None:
    """Measure a version against the one it would replace; if it meets every threshold, give it the label.

    The thresholds are set by LAB_GATE_MIN_ACCURACY, LAB_GATE_MAX_ACCURACY_LOSS, LAB_GATE_MAX_DISAGREEMENT and
    LAB_GATE_MAX_LATENCY_MS.
    """
    with errors_in_one_line():
        from tensor_jupyter.publishing.promotion import measure

        settings, registry = registry_of(model)
        _check_sound(registry, version, settings)
        report, missed = measure(registry, version, to, data, settings, force)
        if not json:
            for check in report["checks"]:
                out.print(f"{mark(check['passed'])} {check['message']}")
        if missed and not force:
            if json:
                print_json({"promoted": False, "report": report})
            raise _missed(model, version, missed)
        registry.promote(version, to, forced=bool(missed))
        if not json:
            out.print(f"{model} {version} is {to} now{', by --force' if missed else ''}.")
        wait_for(
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
    """Make the previous version the default again. Newer ones are not served until one is promoted."""
    with errors_in_one_line():
        from tensor_jupyter.publishing.overview import sound

        settings, registry = registry_of(model)
        before, now = registry.rollback(sound(registry, settings), to)
        out.print(f"{model} {now} answers in place of {before}, until `{LAB} models promote {model} VERSION`.")
        wait_for(model, settings, wait, lambda seen: bool(seen.available) and seen.available[-1] == now)


@app.command()
def retry(model: Model, version: Number, wait: Wait = 30.0) -> None:
    """Have a quarantined version checked again, after the cause of the quarantine has been fixed."""
    with errors_in_one_line():
        from tensor_jupyter.publishing.overview import quarantine_reason

        settings, registry = registry_of(model)
        reason = quarantine_reason(model, version, settings)
        registry.retry(version)
        out.print(f"{model} {version} is checked again{f' ({reason})' if reason else ''}.")
        listed = version in registry.settings().listed({*registry.numbers(), version})

        released = False  # from quarantine, when last polled

        def arrived(seen: "Seen") -> bool:
            nonlocal released
            if released and version in seen.quarantined:
                raise LabError(f"{model} {version} is quarantined again: {seen.quarantined[version]}")
            released = version not in seen.quarantined
            return version in seen.available or not (listed or version in seen.quarantined)

        wait_for(model, settings, wait, arrived)


def _lines(found: "Overview") -> list[str]:
    """Return the lines of a table of versions, starting with the heading; no lines if there are no models."""
    rows = [("MODEL", "VERSION", "STATE", "LABELS", "ACCURACY", "DATE", "DATA SET", "")]
    for name, versions in found.models.items():
        for one in versions:
            accuracy = "" if one.accuracy is None else f"{one.accuracy:.2%}"
            labels, number = ",".join(one.labels), str(one.version)
            rows.append((name, number, one.state, labels, accuracy, one.created[:10], one.data_set, one.reason))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:{wide}}" for cell, wide in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines if found.models else []


def _check_sound(registry: "Registry", version: int, settings: Settings) -> None:
    """Raise LabError if the version does not exist, is quarantined, or holds no SavedModel."""
    from tensor_jupyter.publishing.overview import quarantine_reason

    registry.folder(version)
    reason = quarantine_reason(registry.name, version, settings)
    if not reason and version not in registry.numbers():
        reason = "it holds no saved_model.pb"
    if reason:
        raise LabError(
            f"Version {version} of {registry.name} is not sound ({reason}): fix it, then run "
            f"`{LAB} models retry {registry.name} {version}`."
        )


def _hint_default(default: int, listed: list[int], version: int) -> None:
    """Print that this version also answers requests without version and label, if it is the default of several."""
    if default == version and len(listed) > 1:
        out.print("It also answers calls without a label, since it is the default version.")


def _missed(model: str, version: int, missed: list[str]) -> LabError:
    return LabError(f"{model} {version} is not promoted: {'; '.join(missed)}. --force promotes it all the same.")
