"""The reference, in a process of its own: TensorFlow's answers, and how fast it runs batches without any server.

Usage: reference.py FILE writes sample images and their scores to FILE (.npz), then measures on demand.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tensor_serving.environment import set_environment

set_environment()  # as the server does, before TensorFlow reads it

import tensorflow as tf  # noqa: E402 - the whole package, before rig installs a stand-in for it
from rig import SAMPLES, SHIPPED_MODEL  # noqa: E402
from rig.workers import work  # noqa: E402

from tensor_serving.embedded.call import Call  # noqa: E402
from tensor_serving.embedded.runtime import Model  # noqa: E402


def samples() -> Any:
    """Return the repository's sample digits, uint8 [N, 28, 28, 1]."""
    files = sorted(SAMPLES.glob("*.jpg"))
    return np.stack([np.asarray(Image.open(file).convert("L")) for file in files])[..., None]


class Reference:
    """Answers of the eager signature, and rates of it and of the embedded server's runtime, each on all cores."""

    def __init__(self, file: Path) -> None:
        self._images = samples()
        self._eager = tf.saved_model.load(str(SHIPPED_MODEL)).signatures["serving_default"]
        self._model = Model(SHIPPED_MODEL)
        signature = self._model.signatures["serving_default"]
        self._feeds = (signature.inputs["images"].name,)
        self._fetches = (signature.outputs["scores"].name,)
        np.savez(file, images=self._images, scores=self._eager(images=tf.constant(self._images))["scores"].numpy())

    def rate(self, rows: int, seconds: float) -> float:
        """Return images a second of the faster of the two ways, batch after batch of so many rows."""
        batch = np.ascontiguousarray(np.resize(self._images, (rows, *self._images.shape[1:])))
        constant = tf.constant(batch)
        call = Call("serving_default", self._feeds, (batch,), self._fetches)
        ways = (lambda: self._eager(images=constant)["scores"].numpy(), lambda: self._model.run(call))
        return max(self._measure(way, rows, seconds / 2) for way in ways)

    @staticmethod
    def _measure(way: Any, rows: int, seconds: float) -> float:
        way()
        count, started = 0, time.perf_counter()
        while (now := time.perf_counter()) < started + seconds:
            way()
            count += rows
        return count / (now - started)


if __name__ == "__main__":
    work(Reference(Path(sys.argv[1])).rate)
