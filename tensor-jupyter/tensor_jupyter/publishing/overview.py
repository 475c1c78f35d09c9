"""Which models and versions exist: as the gateway lists them, or by the models volume if it does not answer."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tensor_jupyter.context import NAME
from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway, SilentError
from tensor_jupyter.inference.catalogue import default_version
from tensor_jupyter.publishing import served
from tensor_jupyter.publishing.near_models import NearModel, near_models
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.served import Seen
from tensor_jupyter.settings import Settings

_STATES = {"AVAILABLE": "served", "LOADING": "loading", "START": "loading", "UNLOADING": "unloading"}


@dataclass(frozen=True)
class Version:
    """One version of a model.

    state: served, loading, unloading, failed, quarantined, kept (in the volume, but not served), or listed (to be
    served, where the gateway did not answer). reason: why it failed or is quarantined. accuracy (on the test images
    of data_set), data_set and created are the card's; None or "" where they are missing.
    """

    version: int
    state: str
    labels: tuple[str, ...] = ()
    reason: str = ""
    accuracy: float | None = None
    data_set: str = ""
    created: str = ""


@dataclass(frozen=True)
class Overview:
    """Every model's versions, newest first, by name; silent: why the gateway could not be called, else "".

    ignored: folders and files that are nearly models.
    """

    models: dict[str, list[Version]]
    silent: str
    ignored: list[NearModel] = field(default_factory=list)


def overview(settings: Settings) -> Overview:
    """Return the overview from the gateway and the models volume."""
    found: dict[str, Seen] | None = None
    document: dict[str, Any] = {}
    silent = ""
    try:
        found, document = served.listed(settings)
    except SilentError as error:
        silent = str(error)
    names = {*_names(settings.models), *(found or {})}
    models = {name: _versions(settings, name, found.get(name, Seen()) if found is not None else None) for name in names}
    if not silent:
        models = {name: _with_cards(settings, name, versions) for name, versions in models.items()}
    every = {name: versions for name, versions in sorted(models.items()) if versions}
    return Overview(every, silent, near_models(document, settings.models))


def about(card: dict[str, Any]) -> dict[str, Any]:
    """The card's fields for a list of versions: accuracy, data_set and created."""
    metrics, made = card.get("metrics"), card.get("data_set")
    found = metrics.get("test_accuracy") if isinstance(metrics, dict) else None
    name = made.get("name") if isinstance(made, dict) else None
    accuracy = float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
    return {
        "accuracy": accuracy,
        "data_set": "" if name in (None, "unknown") else str(name),
        "created": str(card.get("created") or ""),
    }


def sound(registry: Registry, settings: Settings) -> list[int]:
    """The versions of a model in the volume that are not quarantined, ascending, as far as the gateway knows."""
    held = _quarantined(registry.name, settings)
    return [number for number in registry.numbers() if number not in held]


def quarantine_reason(name: str, version: int, settings: Settings) -> str:
    """Why a version is not served, "" if it is not quarantined, or the gateway does not answer."""
    return _quarantined(name, settings).get(version, "")


def _with_cards(settings: Settings, name: str, versions: list[Version]) -> list[Version]:
    """Add the card's fields of the default version from the gateway, if no report supplied them."""
    if all(version.created for version in versions if version.state == "served"):
        return versions
    try:
        with Gateway(settings) as gateway:
            number, card = default_version(gateway, name)
    except LabError:
        return versions
    more = about(card)
    return [replace(each, **more) if each.version == number and not each.created else each for each in versions]


def _quarantined(name: str, settings: Settings) -> dict[int, str]:
    try:
        return served.fetch(settings).get(name, Seen()).quarantined
    except SilentError:
        return {}


def _names(models: Path) -> list[str]:
    if not models.is_dir():
        return []
    return [path.name for path in models.iterdir() if path.is_dir() and NAME.fullmatch(path.name)]


def _versions(settings: Settings, name: str, seen: Seen | None) -> list[Version]:
    registry = Registry(settings.models, name)
    numbers: set[int] = set()
    labels: dict[str, int] = {}
    listed: list[int] = []
    if registry.family.is_dir():
        numbers = set(registry.numbers())
        try:
            labels, listed = registry.settings().labels, registry.settings().listed(numbers)
        except LabError:  # the watcher ignores such a file, too
            listed = [max(numbers)] if numbers else []
    if seen is not None:
        labels = seen.labels
        ended = {version for version, state in seen.states.items() if state == "END" and version not in seen.errors}
        numbers |= {*seen.states, *seen.quarantined} - ended
    return [_described(registry, _version(number, labels, listed, seen)) for number in sorted(numbers, reverse=True)]


def _described(registry: Registry, version: Version) -> Version:
    """Add the card's fields that the version's report holds."""
    found = (registry.report(version.version) or {}).get("about")
    if not isinstance(found, dict):
        return version
    accuracy = found.get("accuracy")
    return replace(
        version,
        accuracy=float(accuracy) if isinstance(accuracy, int | float) else None,
        data_set=str(found.get("data_set") or ""),
        created=str(found.get("created") or ""),
    )


def _version(number: int, labels: dict[str, int], listed: list[int], seen: Seen | None) -> Version:
    carried = tuple(sorted(label for label, version in labels.items() if version == number))
    if seen is None:
        return Version(number, "listed" if number in listed else "kept", carried)
    if number in seen.quarantined:
        return Version(number, "quarantined", carried, seen.quarantined[number])
    state = seen.states.get(number, "")
    if state == "END":
        state = "failed" if number in seen.errors else ""
    return Version(number, _STATES.get(state, state.lower()) or "kept", carried, seen.errors.get(number, ""))
