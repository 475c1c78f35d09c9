"""The step promote: the gate. Models that pass become stable; others are removed, and nothing else changes."""

from typing import Any

from tensor_jupyter.pipeline import checks
from tensor_jupyter.pipeline.bodies import gather
from tensor_jupyter.pipeline.bodies.deploy import check_there, wait_for_label
from tensor_jupyter.pipeline.bodies.evaluate import thresholds
from tensor_jupyter.pipeline.execute import Job
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.overview import about, sound
from tensor_jupyter.publishing.promotion import current_version, other_sets
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.release_gate import Check, check_version
from tensor_jupyter.publishing.serving_settings import STABLE


def run(job: Job) -> None:
    deployed = check_there(job)
    compared, current = _compared(job, deployed["classifier"])
    again = {check.name for check in compared}  # measured again, compared with the version in place
    documents = [each for path in ("evaluate/evaluation.json", "test/live.json") for each in job.read(path)["checks"]]
    found = [*(Check(**each) for each in documents if each["name"] not in again), *compared]
    failed = [check.message for check in found if check.passed is False]
    for role in ("concept", "classifier"):  # the classifier needs its companion when it becomes the default
        name, version = deployed[role]["name"], deployed[role]["version"]
        registry = Registry(job.settings.models, name)
        if failed:
            _take_back(job, registry, version)
        else:
            registry.promote(version, STABLE)
            wait_for_label(name, version, STABLE, job.settings)
    for line in failed:
        job.say(f"REFUSED: {line}")
    document: dict[str, Any] = {"run": deployed["run"], "promoted": not failed, "replaces": current}
    roles = {role: deployed[role] for role in ("classifier", "concept")}
    job.write("decision.json", {**document, **roles, "failed": failed, "checks": checks.documents(found)})


def _compared(job: Job, deployed: dict[str, Any]) -> tuple[list[Check], int]:
    """The checks of the candidate against the version in place, on the same sets; and that version, 0: none."""
    registry, version = Registry(job.settings.models, deployed["name"]), deployed["version"]
    data = gather.read(job.root / "gather-mnist")
    current = current_version(registry, version, STABLE, job.settings)
    folder = registry.folder(current) if current else None
    also = other_sets(registry, current, data, job.settings) if current else []
    report = check_version(registry.folder(version), folder, data, thresholds(job.parameters), also)
    card: dict[str, Any] = {}
    if folder:
        with Graph(folder) as graph:
            card = graph.card() or {}
    with Graph(registry.folder(version)) as graph:
        registry.store_report(version, report.document(label=STABLE, about=about(graph.card() or {})))
    return [*report.checks, checks.stand_in(data, card.get("data_set", {}) if folder else None)], current


def _take_back(job: Job, registry: Registry, version: int) -> None:
    """Undo the deployment, so that the versions before it are served again."""
    if registry.settings().labels.get(STABLE) == version:  # promoted by an earlier run, and refused now
        present = sound(registry, job.settings)
        if present and min(present) < version:
            registry.rollback(present)
        return
    if registry.numbers() == [version]:
        registry.delete_all()
        return
    registry.delete(version, registry.numbers(), force=True)
    registry.release_default()
