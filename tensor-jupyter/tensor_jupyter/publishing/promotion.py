"""Measure a version before its promotion: with which images, and against which version."""

from typing import Any

from tensor_jupyter.data import Dataset, ImageSpec, load
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.overview import sound
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.release_gate import Report, check_version
from tensor_jupyter.settings import Settings


def measure(
    registry: Registry, version: int, label: str, data: str | None, settings: Settings, force: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return the gate's report of a version that is to get the label, and the messages of its failed checks.

    The report is stored beside the version. It compares with the version that has the label, else with the highest
    one that would be served without the new one. data: a set or a path; else the images that were held out when the
    version was trained. Raises LabError when those cannot be loaded, unless `force` is given.
    """
    folder = registry.folder(version)
    try:
        dataset = held_out(registry, version, data, settings)
    except LabError:
        if not force or data:
            raise
        dataset = None
    current = current_version(registry, version, label, settings)
    also = other_sets(registry, current, dataset, settings) if current and not data else []
    report = check_version(folder, registry.folder(current) if current else None, dataset, also=also)
    if data and not force:
        _check_measured(report, data)
    about = (registry.report(version) or {}).get("about", {})
    document = report.document(label=label, forced=bool(force and report.failed), about=about)
    registry.store_report(version, document)
    return document, report.failed


def _check_measured(report: Report, data: str) -> None:
    """Raise LabError if the given images do not fit the model: the check must not count as passed then."""
    for check in report.checks:
        if check.name == "accuracy" and check.passed is None:
            raise LabError(f"With --data {data} {check.message}.")


def other_sets(registry: Registry, current: int, dataset: Dataset | None, settings: Settings) -> list[Dataset]:
    """The current version's own test images, if they are another set and can be loaded."""
    try:
        theirs = held_out(registry, current, None, settings)
    except LabError:
        return []
    return [theirs] if theirs and (dataset is None or theirs.name != dataset.name) else []


def current_version(registry: Registry, version: int, label: str, settings: Settings) -> int:
    """The version that `version` would replace, 0 if there is none."""
    conf = registry.settings()
    others = [number for number in sound(registry, settings) if number != version]
    labelled = conf.labels.get(label)
    if labelled in others:
        return labelled
    return max(conf.listed(others) or others, default=0)


def held_out(registry: Registry, version: int, data: str | None, settings: Settings) -> Dataset | None:
    """The images to measure with; None for a model that was trained without images."""
    with Graph(registry.folder(version)) as graph:
        card = graph.card() or {}
    spec = ImageSpec.of_card(card)
    if data:
        return load(data, settings, spec)
    made = card.get("data_set") or {}
    name = made.get("stand_in_for") or made.get("name", "unknown")
    if name == "unknown" or not card.get("input"):
        return None
    try:
        found = load(name, settings, spec)
    except LabError as error:
        raise LabError(
            f"The images that version {version} of {registry.name} was trained with ({name}) cannot be loaded: "
            f"{str(error).rstrip('.')}. Give --data SET with another set of the same kind."
        ) from error
    if made.get("hash") not in (None, found.hash) and found.name != made.get("name"):
        raise LabError(
            f"Version {version} of {registry.name} was trained with {made.get('name')}, but only {found.name} can be "
            f"loaded now: give --data {found.name} to measure with that set, or the set it was trained with."
        )
    return found
