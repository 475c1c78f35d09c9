"""The step test: call the candidate over REST, as any client does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.inference.evaluation import drawn, evaluate
from tensor_jupyter.inference.remote import path_of
from tensor_jupyter.inference.report import document
from tensor_jupyter.pipeline import checks
from tensor_jupyter.pipeline.bodies import gather
from tensor_jupyter.pipeline.bodies.deploy import check_there
from tensor_jupyter.pipeline.execute import Job
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.release_gate import Check
from tensor_jupyter.publishing.replay import compare
from tensor_jupyter.publishing.samples import golden_samples
from tensor_jupyter.served_model import ServedModel

_CONNECTIONS = 4
_MAX_ROWS = 500  # in one call of the concept model


def run(job: Job) -> None:
    data, letters = gather.read(job.root / "gather-mnist"), gather.read(job.root / "gather-notmnist")
    deployed = check_there(job)
    found, calls = _classifier(job, deployed["classifier"], data)
    found += _concept(job, deployed["concept"], data, letters)
    for check in found:
        job.say(check.message)
    job.write("live.json", {"checks": checks.documents(found), "calls": calls})


def _classifier(job: Job, deployed: dict[str, Any], data: Dataset) -> tuple[list[Check], dict[str, Any]]:
    name, version = deployed["name"], deployed["version"]
    images = drawn(data.test, job.parameters.live_calls)
    path = f"{path_of(name, version)}/classify"
    calls = evaluate(job.settings, path, images, data.labels, _CONNECTIONS)
    right = calls.answered - calls.misread
    found = [
        checks.live_accuracy(right, calls.answered, sum(calls.failed.values()), job.parameters),
        checks.live_latency(calls.milliseconds(50), job.parameters),
        _golden(job, name, version),
    ]
    milliseconds = [round(1000 * seconds, 2) for seconds in calls.seconds.tolist()]
    return found, {**document(calls), "milliseconds": milliseconds}


class _Live:
    """A served version with the interface of a graph."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def run(self, _: str, inputs: Mapping[str, Any], /) -> dict[str, np.ndarray]:
        return self._model.predict_arrays(**inputs)


def _golden(job: Job, name: str, version: int) -> Check:
    """Check that the golden samples get the recorded outputs over REST."""
    samples = golden_samples(_folder(job, name, version))
    try:
        compare(_Live(ServedModel(name, version, settings=job.settings)), samples)
    except LabError as error:
        return Check("live golden samples", False, str(error))
    return Check("live golden samples", True, f"all {len(samples)} golden samples get their recorded answers over REST")


def _concept(job: Job, deployed: dict[str, Any], data: Dataset, letters: Dataset) -> list[Check]:
    name, version = deployed["name"], deployed["version"]
    model = ServedModel(name, version, settings=job.settings)
    with Graph(_folder(job, name, version)) as graph:
        threshold = float((graph.card() or {})["threshold"])
    inside, outside = (_scores(model, drawn(each.test, job.parameters.live_calls).images) for each in (data, letters))
    return [
        checks.separation(inside, outside, job.parameters.min_auroc, "live"),
        checks.false_alarms(inside, threshold, job.parameters.max_false_alarms, "live"),
    ]


def _scores(model: ServedModel, images: np.ndarray) -> np.ndarray:
    parts = range(0, len(images), _MAX_ROWS)
    return np.concatenate([model.predict_arrays(images=images[start : start + _MAX_ROWS])["score"] for start in parts])


def _folder(job: Job, name: str, version: int) -> Path:
    return job.settings.models / name / str(version)
