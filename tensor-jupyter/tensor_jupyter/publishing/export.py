"""Publish a trained Keras model: write it self-contained, load it back, check it, and only then make it visible.

Signatures of what is written (for a classifier of images; other models keep the names of their inputs and outputs):
    serving_default  images uint8 [N, H, W, C] -> scores float32 [N, classes], or score float32 [N] of a concept model
    describe         index int32 [N] -> card string [N], the same JSON document in every row
Preprocessing layers are served with the model. Its requests are batched only if its rows are found independent.
"""

import errno
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.card import card
from tensor_jupyter.publishing.default_version import decide, held
from tensor_jupyter.publishing.describe import add_card
from tensor_jupyter.publishing.graph import DEFAULT
from tensor_jupyter.publishing.independence import declare
from tensor_jupyter.publishing.keras_card import Hints, card_input, images_for, input_range, rows_of, with_scores
from tensor_jupyter.publishing.keras_endpoint import Endpoint
from tensor_jupyter.publishing.keras_reading import compiled_loss
from tensor_jupyter.publishing.made_up import made_up
from tensor_jupyter.publishing.replay import TOLERANCE, check
from tensor_jupyter.publishing.samples import Sample, write_golden_samples
from tensor_jupyter.publishing.staging import publish, staging
from tensor_jupyter.training.evaluation import measured

GOLDEN_SAMPLES = 8
"""Number of test images stored with the model: they warm up a server, and it must reproduce their scores."""

_BATCH = 256  # images measured at once
_COARSE = 1e-2  # tolerance where scores were computed in half precision or on a GPU, and are replayed on the CPU

_log = logging.getLogger(__name__)
tf.get_logger().setLevel(logging.ERROR)  # in a notebook it would print the name of the staging folder


def export(
    model: keras.Model,
    context: Context,
    data: Dataset | None = None,
    *,
    metrics: Mapping[str, float] | None = None,
    command: str = "",
    samples: Any = None,
    labels: Sequence[str] = (),
    pixels: str | None = None,
    threshold: float | None = None,
    quantiles: Mapping[str, float] | None = None,
    companion: str = "",
    run: str = "",
    decides: bool = True,
) -> Path:
    """Publish any Keras model as the context's version, or the next free one; return its folder in the models volume.

        export(model, Context("mnist-net"), data)               # a classifier of images, with its data set
        export(model, Context("prices"), samples=x_test[:8])    # any model, functional, sequential or subclassed

    Args:
        model: Built, or built by a call with `samples`. Its compiled loss shows whether its scores are logits.
        context: The name and the version.
        data: Its labels go into the card, and some of its test images become golden samples.
        metrics: What was measured on images never trained on; measured here on `data.test` if left out.
        command: How the model was made, for the card; run: the pipeline run; companion: a concept model's classifier.
        samples: A few inputs as the model takes them, as golden samples: an array [N, ...], or a list or dict of these.
        labels: The names of the scores; else those of `data`.
        pixels: "0..255", "0..1" or "-1..1": the numbers of an image input of floats, where no layer shows them.
        threshold: A concept model's score above which an image is foreign; quantiles: of its held-out images' scores.
        decides: Whether `default_version.decide` sets, and logs, which version is the default; else the caller does.

    Raises LabError, and publishes nothing, when the model cannot be served, its outputs differ, or the disk is full.
    """
    about = (data.about if data else {"name": "unknown"}) | ({"command": command} if command else {})
    more = {"threshold": threshold, "score_quantiles": quantiles, "companion": companion, "run": run}
    version = _prepared(model, data, samples, list(labels or (data.labels if data else ())), pixels)
    metrics = _measured(version, data, threshold) if metrics is None else metrics
    document = card(context.name, version.labels, version.image_input, metrics, about, **more, scores=version.scores)
    published = publish_model(version.endpoint, document, version.samples, context)
    if decides:
        decide(published, data, context)
    _log.info("published %s version %s", context.name, published.name)
    return published


@dataclass(frozen=True)
class _Prepared:
    """A model that is ready to be published, and what its card needs."""

    endpoint: Endpoint
    samples: dict[str, np.ndarray]
    labels: list[str]
    pixels: str | None
    image_input: dict[str, Any] | None
    scores: str


def _prepared(
    model: keras.Model, data: Dataset | None, samples: Any, labels: list[str], pixels: str | None
) -> _Prepared:
    hints = Hints(pixels=pixels)
    endpoint = Endpoint.of(model, samples)
    found, how = input_range(endpoint, hints)
    if found == "":
        _log.warning("%s: build its preprocess_input into the model, else its images are not as in its training", how)
    rows = golden(endpoint, samples, data, found or None)
    endpoint, classes, scores = with_scores(endpoint, rows, labels, hints, compiled_loss(model))
    if labels and classes not in (None, len(labels)):
        raise LabError(f"{len(labels)} labels for {classes} scores: there must be one for each.")
    image_input = card_input(endpoint, data, hints, found or None)
    return _Prepared(endpoint, rows, labels, found or None, image_input, scores)


def publish_model(
    endpoint: Endpoint,
    document: dict[str, Any],
    samples: Mapping[str, np.ndarray],
    context: Context,
    independent_rows: bool | None = None,
) -> Path:
    """Write, check and publish a model with this card.

    samples: inputs [N, ...] by alias for the golden samples; independent_rows: the user's declaration, see `declared`.
    """
    models = context.settings.models
    with staging(models) as folder:
        try:
            write(endpoint, folder)
            write_golden_samples(folder, context.name, _answered(endpoint, samples))
        except tf.errors.ResourceExhaustedError as error:  # TensorFlow's error for a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        except tf.errors.OpError as error:
            raise LabError(f"The model could not be written: {' '.join(str(error).split())[:300]}") from error
        independent = declared(check(folder, tolerance(endpoint.model)), independent_rows)
        finish(folder, document, independent)
        with held(context):
            return publish(folder, models, context.name, context.version, exact=context.pinned)


def declared(found: bool | None, given: bool | None) -> bool | None:
    """Whether rows are declared independent: as the user declares, else as the check found.

    Raises LabError when the user calls rows independent that were found to depend on each other.
    """
    if given and found is False:
        raise LabError("The rows depend on each other, so they cannot be declared independent.")
    return found if given is None else given


def finish(folder: Path, document: dict[str, Any], independent: bool | None) -> None:
    """Add the card, and the declaration of independent rows, to a checked version."""
    if independent:
        declare(folder)
    add_card(folder, json.dumps({**document, **({"independent_rows": True} if independent else {})}))


def write(endpoint: Endpoint, folder: Path) -> None:
    """Write the SavedModel with its signature serving_default."""
    archive = keras.export.ExportArchive()
    around = tf.Module()
    around.model = endpoint.model  # tracked as a model, each variable would be written twice
    archive.track(around)
    aliases = [*endpoint.inputs]
    archive.add_endpoint(
        DEFAULT, lambda *values: endpoint(dict(zip(aliases, values, strict=True))), [*endpoint.inputs.values()]
    )
    archive.write_out(folder, tf.saved_model.SaveOptions(save_debug_info=False), verbose=False)


def golden(
    endpoint: Endpoint, samples: Any = None, data: Dataset | None = None, pixels: str | None = None
) -> dict[str, np.ndarray]:
    """Inputs by alias to replay: the samples, else test images where they fit, else random numbers and words."""
    if samples is not None:
        return {alias: rows[:GOLDEN_SAMPLES] for alias, rows in endpoint.rows(samples).items()}
    images = images_for(data, endpoint) if data else None
    if images is not None:
        return rows_of(images[np.linspace(0, len(images) - 1, GOLDEN_SAMPLES, dtype=int)], endpoint, pixels)
    random = np.random.default_rng(0)
    return {
        alias: made_up(spec.dtype.name, tuple(spec.shape[1:]), GOLDEN_SAMPLES, random, pixels)
        for alias, spec in endpoint.inputs.items()
    }


def tolerance(model: keras.Model) -> float:
    """How far a replayed score may be from the recorded one."""
    halves = any(str(layer.compute_dtype) in ("float16", "bfloat16") for layer in model._flatten_layers())
    return _COARSE if halves or tf.config.list_physical_devices("GPU") else TOLERANCE


def _measured(version: _Prepared, data: Dataset | None, threshold: float | None) -> dict[str, float]:
    """Accuracy or error on the test images; {} if the model does not take them or its scores do not fit the labels."""
    endpoint, pixels = version.endpoint, version.pixels
    images = images_for(data, endpoint) if data else None
    if data is None or images is None:
        return {}
    found: list[np.ndarray] = []
    for start in range(0, len(images), _BATCH):
        answers = endpoint.answers(rows_of(images[start : start + _BATCH], endpoint, pixels))
        name = next((name for name in ("scores", "score") if name in answers), "")
        if not name:
            return {}
        found.append(answers[name])
    scores = np.concatenate(found)
    if scores.ndim == 2 and scores.shape[1] != len(data.labels):
        return {}
    if scores.ndim == 1 or _are_probabilities(scores):
        return measured(scores, data, threshold)
    metrics = measured(tf.nn.softmax(scores.astype(np.float64)).numpy(), data, threshold)
    return {key: value for key, value in metrics.items() if version.scores == "logits" or "calibration" not in key}


def _are_probabilities(scores: np.ndarray) -> bool:
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def _answered(endpoint: Endpoint, samples: Mapping[str, np.ndarray]) -> Iterator[Sample]:
    """A golden sample for each row, with what the model answers to that row alone."""
    for row in range(len(next(iter(samples.values())))):
        inputs = {alias: values[row : row + 1] for alias, values in samples.items()}
        yield Sample(DEFAULT, inputs, endpoint.answers(inputs))
