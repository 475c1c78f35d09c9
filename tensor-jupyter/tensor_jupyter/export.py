"""From a trained Keras model to a served one: self-contained, loaded back, checked, and only then visible.

Signatures of what is written (with the sizes of the model at hand):
    serving_default  images uint8 [N, H, W, C] -> scores float32 [N, classes]
    describe         index int32 [N] -> card string [N], the same JSON document in every row
"""

import datetime
import importlib.metadata
import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.replay import check, write_golden_samples
from tensor_jupyter.staging import publish, staging

GOLDEN_SAMPLES = 8
"""How many test pictures travel with the model: they warm a server up, and their scores must come out again."""

_log = logging.getLogger(__name__)
tf.get_logger().setLevel(logging.ERROR)  # in a notebook it would tell the name of the staging folder


def export(model: keras.Model, data: Dataset, context: Context, metrics: dict[str, float], command: str = "") -> Path:
    """Publish the model as the context's version, or the next one free; returns the folder in the models volume.

    metrics: what `train.evaluate` measured; command: how the model was made, for the card. Raises LabError when the
    written model does not answer as `model` does; nothing is visible then.
    """
    golden = data.test.images[np.linspace(0, len(data.test) - 1, GOLDEN_SAMPLES, dtype=int)]
    scores = np.asarray(model(golden, training=False))
    text = json.dumps(card(model, data, context.name, metrics, command))
    with staging(context.settings.models) as folder:
        write(model, text, folder)
        write_golden_samples(folder, context.name, golden, scores)
        check(folder)
        published = publish(folder, context.settings.models, context.name, context.version, exact=context.pinned)
    _log.info("published %s version %s", context.name, published.name)
    return published


def card(model: keras.Model, data: Dataset, name: str, metrics: dict[str, float], command: str = "") -> dict[str, Any]:
    """What a client must know of the model, and a person may want to."""
    height, width, channels = model.input_shape[1:]
    data_set: dict[str, Any] = {"name": data.name, "train_images": len(data.train), "split": data.split}
    if command:
        data_set["command"] = command
    return {
        "schema": 1,
        "name": name,
        "labels": list(data.labels),
        "input": {
            "height": height,
            "width": width,
            "channels": channels,
            "polarity": "light-on-dark",
            "centering": "mnist",
        },
        "metrics": metrics,
        "data_set": data_set,
        "frameworks": {"tensorflow": tf.__version__, "keras": importlib.metadata.version("keras")},
        "created": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def write(model: keras.Model, card_text: str, folder: Path) -> None:
    """Write the SavedModel with its two signatures."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda images: {"scores": model(images, training=False)},
        [tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, "images")],
    )
    archive.add_endpoint(
        "describe",
        # One card for each row, so that a server may merge requests and cut the answer apart again.
        lambda index: {"card": tf.fill(tf.shape(index), tf.constant(card_text))},
        [tf.TensorSpec((None,), tf.int32, "index")],
    )
    archive.write_out(folder, tf.saved_model.SaveOptions(save_debug_info=False), verbose=False)
