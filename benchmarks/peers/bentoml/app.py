"""BentoML with its adaptive batching: images in, the best digits of each out."""

import os
from typing import Any

import bentoml
import digits
import numpy as np
from PIL.Image import Image


@bentoml.service(workers=int(os.environ["BENCHMARK_WORKERS"]))
class Digits:
    """One model in each worker."""

    def __init__(self) -> None:
        self.model = digits.Model()

    @bentoml.api(batchable=True, max_batch_size=digits.BATCH)
    def classify(self, image: list[Image]) -> list[dict[str, Any]]:
        """Return the best digits of each image."""
        scores = self.model(np.stack([np.asarray(one.convert("L"))[..., np.newaxis] for one in image]))
        return [digits.answer(row) for row in scores]
