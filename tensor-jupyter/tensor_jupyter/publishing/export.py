"""From a trained Keras model to a served one: self-contained, loaded back, checked, and only then visible.

Signatures of what is written (with the sizes of the model at hand):
    serving_default  images uint8 [N, H, W, C] -> scores float32 [N, classes], or score float32 [N] of a concept model
    describe         index int32 [N] -> card string [N], the same JSON document in every row
"""

import errno
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.card import card
from tensor_jupyter.publishing.default_version import decide, hold
from tensor_jupyter.publishing.replay import TOLERANCE, check, write_golden_samples
from tensor_jupyter.publishing.staging import publish, staging

GOLDEN_SAMPLES = 8
"""How many test pictures travel with the model: they warm a server up, and their scores must come out again."""

_COARSE = 1e-2  # tolerance where the scores were made in half precision or on a GPU, and are replayed on the CPU

_log = logging.getLogger(__name__)
tf.get_logger().setLevel(logging.ERROR)  # in a notebook it would tell the name of the staging folder


def export(
    model: keras.Model,
    data: Dataset,
    context: Context,
    metrics: Mapping[str, float],
    command: str = "",
    *,
    threshold: float | None = None,
    companion: str = "",
) -> Path:
    """Publish the model as the context's version, or the next one free; returns the folder in the models volume.

    metrics: what was measured on pictures never trained on; command: how the model was made, for the card. threshold:
    of a concept model, the score above which a picture is none of what it knows; companion: the model it stands
    guard for. Whether the version becomes the default, `default_version.decide` finds out and logs.

    Raises LabError when the written model does not answer as `model` does, or when there is no room; nothing is visible
    then.
    """
    golden = data.test.images[np.linspace(0, len(data.test) - 1, GOLDEN_SAMPLES, dtype=int)]
    data_set = {**data.about, **({"command": command} if command else {})}
    more = {"threshold": threshold, "companion": companion}
    text = json.dumps(card(context.name, data.labels, data.picture.card(), metrics, data_set, **more))
    (alias, *_) = inputs(model)
    published = publish_model(model, text, {alias: golden}, context)
    decide(published, data, context)
    _log.info("published %s version %s", context.name, published.name)
    return published


def publish_model(model: keras.Model, card_text: str, golden: Mapping[str, np.ndarray], context: Context) -> Path:
    """Write, check and publish a model with this card; golden: inputs [N, ...] by alias that it must answer again."""
    models = context.settings.models
    with staging(models) as folder:
        try:
            write(model, card_text, folder)
            write_golden_samples(folder, context.name, golden, answers(model, golden))
        except tf.errors.ResourceExhaustedError as error:  # TensorFlow's word for a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        except tf.errors.OpError as error:
            raise LabError(f"The model could not be written: {' '.join(str(error).split())[:300]}") from error
        check(folder, tolerance(model))
        hold(context)
        return publish(folder, models, context.name, context.version, exact=context.pinned)


def write(model: keras.Model, card_text: str, folder: Path) -> None:
    """Write the SavedModel with its two signatures."""
    given = inputs(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda *values: _call(model, dict(zip(given, values, strict=True))),
        [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, alias) for alias, tensor in given.items()],
    )
    archive.add_endpoint(
        "describe",
        # One card for each row, so that a server may merge requests and cut the answer apart again.
        lambda index: {"card": tf.fill(tf.shape(index), tf.constant(card_text))},
        [tf.TensorSpec((None,), tf.int32, "index")],
    )
    archive.write_out(folder, tf.saved_model.SaveOptions(save_debug_info=False), verbose=False)


def inputs(model: keras.Model) -> dict[str, Any]:
    """The model's inputs, symbolic, by the names clients give them: pictures are `images`, or `imgs` if called so."""
    given = list(model.inputs)
    if len(given) > 1:
        return {tensor.name: tensor for tensor in given}
    picture = len(given[0].shape) == 4 and given[0].name != "imgs"
    return {"images" if picture else given[0].name: given[0]}


def answers(model: keras.Model, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What Keras says of these inputs, by the aliases under which the served model answers."""
    found = _call(model, {alias: tf.convert_to_tensor(value) for alias, value in given.items()})
    return {alias: np.asarray(value) for alias, value in found.items()}


def tolerance(model: keras.Model) -> float:
    """How far a replayed score may be from the recorded one."""
    halves = any(str(layer.compute_dtype) in ("float16", "bfloat16") for layer in model._flatten_layers())
    return _COARSE if halves or tf.config.list_physical_devices("GPU") else TOLERANCE


def _call(model: keras.Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """The model's outputs by the names clients know: `scores` [N, classes], `score` [N], or Keras's own names."""
    found = model(dict(given) if len(given) > 1 else next(iter(given.values())), training=False)
    if isinstance(found, Mapping):
        return dict(found)
    if isinstance(found, list | tuple):
        return dict(zip(model.output_names, found, strict=True))
    return {{1: "score", 2: "scores"}.get(len(found.shape), "output"): found}
