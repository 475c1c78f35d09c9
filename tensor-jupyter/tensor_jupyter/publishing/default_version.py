"""Decide which version answers requests without a version, after a new one was published.

    with held(context):     # else the new version would answer while it is still being measured
        published = ...
    decision = decide(published, data, context)
    decision.default        # the version that answers from now on
    decision.message        # why, and how to change it

The new version becomes the default unless it was trained on a stand-in and the present one was not, or its accuracy
is lower, by more than the gate's margin, on its own test set or on the present version's. In these cases it gets the
label `candidate`, and `stable` stays on the present version. Pins and labels set by a person are not changed.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing import release_gate
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.overview import about, sound
from tensor_jupyter.publishing.promotion import held_out
from tensor_jupyter.publishing.registry import CANDIDATE, Registry
from tensor_jupyter.publishing.release_gate import Report
from tensor_jupyter.publishing.serving_settings import STABLE
from tensor_jupyter.settings import Settings
from tensor_jupyter.typed import LAB

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """Which version is the default after a publication, and why.

    version: the published one. default: the one that answers requests without a version; 0 if unknown.
    """

    version: int
    default: int
    message: str

    @property
    def is_default(self) -> bool:
        return self.version == self.default


@contextlib.contextmanager
def held(context: Context) -> Iterator[None]:
    """Keep the present default version until `decide` is called; if the block raises, only until its end.

    A serving.json that cannot be read does not stop a publication.
    """
    registry, changed = Registry(context.settings.models, context.name), False
    with contextlib.suppress(LabError):
        changed = registry.hold_default(sound(registry, context.settings))
    try:
        yield
    except BaseException:
        if changed:
            with contextlib.suppress(LabError, OSError):
                registry.release_default()
        raise


def decide(published: Path, data: Dataset | None, context: Context) -> Decision:
    """Measure a version that was just published, decide whether it becomes the default, and set the labels.

    The gate's report is stored beside the version. data: what the version was trained with, or None. If it cannot be
    measured, the default does not change; that is logged and not raised, since the version is published. A decision
    against the new version is logged as a warning.
    """
    registry = Registry(context.settings.models, context.name)
    version = int(published.name)
    try:
        decision, report = _decided(registry, version, data, context.settings)
        registry.store_report(version, report.document(default=asdict(decision), about=_about(registry, version)))
    except (LabError, OSError) as error:
        decision = _undecided(registry, version, error)
        _log.warning("%s", decision.message)
        return decision
    _log.log(logging.INFO if decision.is_default else logging.WARNING, "%s", decision.message)
    return decision


def _decided(registry: Registry, version: int, data: Dataset | None, settings: Settings) -> tuple[Decision, Report]:
    name, conf = registry.name, registry.settings()
    others = [number for number in sound(registry, settings) if number != version]
    older = [number for number in others if number < version]
    settled = bool(conf.pinned) or STABLE in conf.labels  # if not, another process may be measuring a newer version
    current = conf.default(others if settled else older) or max(older, default=0)
    folder = registry.folder(version)
    if not current:
        report = release_gate.check_version(folder, None, data)
        return Decision(version, version, _first(name, version, data)), report
    chosen = registry.is_chosen()
    kept = STABLE in conf.labels and not registry.is_held()
    made = _made_with(registry, current)
    also, missing = _sets_of(registry, current, made, data, settings)
    report = release_gate.check_version(folder, registry.folder(current), data, also=also)
    if chosen:
        return Decision(version, current, _left_alone(registry, version, current)), report
    reason = _reason_against(made, data, report, bool(also)) or missing
    if reason:
        registry.set_default(current, version)
        message = (
            f"{name} {version} is published as {CANDIDATE}, and version {current} stays the default: {reason}. "
            f"Try it under /tf/models/{name}/labels/{CANDIDATE}/classify; "
            f"`{LAB} models promote {name} {version}` makes it the default"
        )
        return Decision(version, current, message), report
    if not kept and version > max(others):
        registry.set_default(None)
    else:
        registry.set_default(version, held=not kept)
    return Decision(version, version, f"{name} {version} is the default now, in place of {current}"), report


def _undecided(registry: Registry, version: int, error: Exception) -> Decision:
    message = f"{registry.name} {version} is published, but without a report: {str(error).rstrip('.')}"
    try:
        default = registry.settings().default(registry.numbers())
    except LabError:
        return Decision(version, 0, message)
    if default != version:
        message += (
            f". Version {default} stays the default; `{LAB} models promote {registry.name} {version}` measures the new "
            "one again, and makes it the default"
        )
    return Decision(version, default, message)


def _first(name: str, version: int, data: Dataset | None) -> str:
    message = f"{name} {version} is the default: there is no other version"
    if data and data.stand_in_for:
        message += f". It was trained on {data.name}, a stand-in for {data.stand_in_for}"
    return message


def _left_alone(registry: Registry, version: int, current: int) -> str:
    pinned = ", ".join(map(str, registry.settings().pinned))
    how = f"{registry.name} is pinned to {pinned}" if pinned else f"{STABLE} of {registry.name} is version {current}"
    return (
        f"{how}: `{LAB} models promote {registry.name} {version}` makes the new version the default, "
        f"`{LAB} models unpin {registry.name}` always the newest one"
    )


def _reason_against(made: dict[str, Any] | None, data: Dataset | None, report: Report, also: bool) -> str:
    """Return why the new version is not the default, "" if it may be.

    made: as `_made_with` returns it for the present version; also: whether that one's test set was used.
    """
    if data and data.stand_in_for and made is not None and not made.get("stand_in_for"):
        return f"it was trained on {data.name}, a stand-in for {data.stand_in_for}"
    accuracy = [check for check in report.checks if check.name.startswith("accuracy")]
    worse = [check.message for check in accuracy if check.passed is False]
    own = "accuracy" if data else ""  # the check on the new version's own test set, which may have none
    unmeasured = [check.message for check in accuracy if also and check.passed is None and check.name != own]
    return "; ".join(worse or unmeasured)


def _sets_of(
    registry: Registry, current: int, made: dict[str, Any] | None, data: Dataset | None, settings: Settings
) -> tuple[list[Dataset], str]:
    """Return the present version's test set, if it is another one than `data`, and "" or why it cannot be loaded.

    made: as `_made_with` returns it for the present version.
    """
    if made is None or made.get("stand_in_for") or (data and made.get("name") in (data.name, data.stand_in_for)):
        return [], ""
    try:
        theirs = held_out(registry, current, None, settings)
    except LabError as error:
        return [], f"it cannot be measured with the test set of version {current}: {str(error).rstrip('.')}"
    return ([theirs] if theirs else []), ""


def _made_with(registry: Registry, version: int) -> dict[str, Any] | None:
    """The `data_set` of a version's card; empty without one, None if the version does not load: it is not compared."""
    try:
        found = _card(registry, version).get("data_set")
    except LabError:
        return None
    return found if isinstance(found, dict) else {}


def _about(registry: Registry, version: int) -> dict[str, Any]:
    """The fields of the card that `lab models` lists, stored so that it need not load the version."""
    return about(_card(registry, version))


def _card(registry: Registry, version: int) -> dict[str, Any]:
    with Graph(registry.folder(version)) as graph:
        return graph.card() or {}
