"""The step evaluate: measure the graphs of both exported models on images they were not trained on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tensor_jupyter.pipeline import checks
from tensor_jupyter.pipeline.bodies import gather
from tensor_jupyter.pipeline.bodies.export import exported
from tensor_jupyter.pipeline.execute import Job
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.publishing.graph import DEFAULT, Graph
from tensor_jupyter.publishing.release_gate import Check, Thresholds, check_version
from tensor_jupyter.training.outliers import fitted

MEASURED = "measured.npz"
"""For each test image the predicted label (`read`), its probability, and the concept score (`inside`); the concept
scores of letters, as they are (`outside`) and fitted into MNIST's box (`fitted`)."""

_BATCH = 256


def run(job: Job) -> None:
    parameters = job.parameters
    data, letters = gather.read(job.root / "gather-mnist"), gather.read(job.root / "gather-notmnist")
    classifier = exported(job.root, "export-classifier", parameters.model)
    report = check_version(classifier, None, data, thresholds(parameters))
    card, (scores,) = _measured(classifier, "scores", data.test.images)
    concept = exported(job.root, "export-concept", parameters.concept)
    images = (data.test.images, letters.test.images, fitted(letters.test.images))
    concept_card, (inside, outside, boxed) = _measured(concept, "score", *images)
    threshold = float(concept_card["threshold"])
    found: list[Check] = [
        *report.checks,
        checks.leak(replace(data, train=gather.read_all(job.root).train)),
        checks.separation(inside, outside, parameters.min_auroc, "offline"),
        checks.separation(inside, boxed, parameters.min_fitted_auroc, "of fitted letters"),
        checks.false_alarms(inside, threshold, parameters.max_false_alarms, "offline"),
    ]
    for check in found:
        job.say(check.message)
    answers = {"read": scores.argmax(axis=1), "probability": scores.max(axis=1)}
    np.savez(job.folder / MEASURED, **answers, inside=inside, outside=outside, fitted=boxed)
    cards = {"classifier": card, "concept": concept_card}
    job.write("evaluation.json", {"checks": checks.documents(found), "threshold": threshold, "cards": cards})


def thresholds(parameters: Parameters) -> Thresholds:
    """Return the gate's thresholds: all are the pipeline's parameters, so that every engine has the same ones."""
    return Thresholds(
        min_accuracy=parameters.min_accuracy,
        max_accuracy_loss=parameters.max_accuracy_loss,
        max_disagreement=parameters.max_disagreement,
        max_latency_ms=parameters.max_latency_ms,
        images=parameters.gate_images,
    )


def _measured(folder: Path, output: str, *sets: np.ndarray) -> tuple[dict[str, Any], list[np.ndarray]]:
    """An exported model's card, and its outputs for each set of images."""
    with Graph(folder) as graph:
        (alias,) = graph.signatures[DEFAULT].inputs
        found = [
            np.concatenate(
                [
                    graph.run(DEFAULT, {alias: images[start : start + _BATCH]})[output]
                    for start in range(0, len(images), _BATCH)
                ]
            )
            for images in sets
        ]
        return graph.card() or {}, found
