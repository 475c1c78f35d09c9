"""What all peers share: an image's pixels, the model in their own process, and the answer of the tutorial's route.

The model runs as TensorFlow's guide has it (`tf.saved_model.load`, call the signature), with one thread in each worker:
with more, workers on the same cores only disturb each other.
"""

import io
import os
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

BATCH = 32
"""Images in the largest batch of the peers that batch."""


def pixels(data: bytes) -> Any:
    """Return the pixels of an image file, uint8 [28,28,1]."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))[..., np.newaxis]


class Model:
    """The SavedModel in the folder that BENCHMARK_MODEL names: uint8 [N,28,28,1] to float32 [N,10]."""

    def __init__(self) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        self._loaded = tf.saved_model.load(os.environ["BENCHMARK_MODEL"])  # its variables live as long as this does
        self._signature = self._loaded.signatures["serving_default"]
        self(np.zeros((1, 28, 28, 1), np.uint8))

    def __call__(self, images: Any) -> Any:
        """Return the scores of the images."""
        return self._signature(images=tf.constant(images))["scores"].numpy()


def answer(scores: Any) -> dict[str, Any]:
    """Return the three best digits of one row of scores."""
    best = np.argsort(-scores)[:3].tolist()
    return {"classification_result": [{"digit": digit, "probability": float(scores[digit])} for digit in best]}
