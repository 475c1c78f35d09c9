"""The concept model beside a classifier: `<name>-concept` scores how unlike the training data an image is.

It is called in parallel with the classifier, with the same pixels. A response waits for it at most `wait_seconds`
after the classification, and never fails because of it: a score that is late or missing is left out.
"""

import contextvars
import logging
import sys
import time
from collections.abc import Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from tensor_rest.backend import ModelServer, Prediction
from tensor_rest.backend.protos.serving_pb2 import DataType
from tensor_rest.errors import ApiError, without_frames
from tensor_rest.inference.inventory import Inventory
from tensor_rest.inference.metadata import SIGNATURE, MetadataCache, ModelMetadata, Target
from tensor_rest.observability import metrics

log = logging.getLogger(__name__)

SUFFIX = "-concept"
"""Suffix of the companion's name."""

_OUTPUT = "score"
_MAX_THRESHOLD = sys.float_info.max  # JSON may have NaN, and whole numbers that no float holds
_CALLS = 64  # in flight at once in this process; further ones are queued, and left out if they are late

Batch = np.ndarray[Any, np.dtype[np.uint8]]


class Concept(NamedTuple):
    """How unlike the training data an image is: its score, and the highest score of images that are like it."""

    score: float
    threshold: float

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        inside = self.score <= self.threshold
        return {"score": round(self.score, 6), "threshold": self.threshold, "in_distribution": inside}


class Scoring:
    """The companion's calls for the images of one request."""

    def __init__(self, companions: "Companions", model: str) -> None:
        self._companions = companions
        self._model = model
        self._calls: list[tuple[int, futures.Future[list[Concept]]]] = []

    def add(self, images: Batch) -> Batch:
        """Start the call for some images, and return them."""
        self._calls.append((len(images), self._companions.start(self._model, images)))
        return images

    def scores(self) -> list[Concept | None]:
        """Return the score of each image in their order, None for those that are late or failed."""
        until = time.monotonic() + self._companions.wait_seconds
        found: list[Concept | None] = []
        for count, call in self._calls:
            try:
                found += call.result(max(0.0, until - time.monotonic()))
            except (futures.TimeoutError, futures.CancelledError):
                call.cancel()
                found += [None] * count
            except ApiError as error:
                log.debug("no concept score for %s: %s", self._model, without_frames(error))
                found += [None] * count
        return found


class Companions:
    """The concept models that the inventory lists."""

    def __init__(
        self, server: ModelServer, metadata_cache: MetadataCache, listed: Inventory, wait_seconds: float
    ) -> None:
        self.wait_seconds = wait_seconds
        self._server = server
        self._metadata_cache = metadata_cache
        self._inventory = listed
        self._pool = futures.ThreadPoolExecutor(_CALLS, "concept")  # threads start with the first companion

    def scoring(self, model: str) -> Scoring | None:
        """Return the Scoring for one request to `model`; None where no companion is served."""
        entry = self._inventory.known().by_name.get(model + SUFFIX)
        return Scoring(self, model) if entry is not None and entry.serving else None

    def start(self, model: str, images: Batch) -> "futures.Future[list[Concept]]":
        """Start the call for uint8 [N,H,W,C]; the future raises ApiError where there is no score."""
        return self._pool.submit(contextvars.copy_context().run, self._score, model, images)

    def _score(self, model: str, images: Batch) -> list[Concept]:
        target = Target(model + SUFFIX)
        listing = self._inventory.known()
        entry = listing.by_name.get(target.model)
        if entry is not None:
            target = Target(target.model, entry.default_version if listing.several else entry.stable)
        threshold = 0.0

        def call(metadata: ModelMetadata, exact: Target) -> Prediction:
            nonlocal threshold
            alias, threshold = _takes(metadata, images)
            return self._server.predict(
                exact.model, {alias: images}, version=exact.version, label=exact.label, outputs=(_OUTPUT,)
            )

        scores = self._metadata_cache.use(target, call).outputs.get(_OUTPUT, np.empty(0))
        if scores.shape != (len(images),) or scores.dtype.kind not in "fiu" or not np.isfinite(scores).all():
            raise ApiError(f"{target} answered no finite score for each image.")
        metrics.concept(model, scores.tolist())
        return [Concept(score, threshold) for score in scores.tolist()]


def _takes(metadata: ModelMetadata, images: Batch) -> tuple[str, float]:
    """The input's alias and the threshold. Raises ApiError for a model that does not score such images."""
    threshold: object = (metadata.card.model_extra or {}).get("threshold") if metadata.card else None
    if (
        isinstance(threshold, bool)
        or not isinstance(threshold, int | float)
        or not -_MAX_THRESHOLD <= threshold <= _MAX_THRESHOLD
    ):
        raise ApiError(f"The card of {metadata.model} has no threshold.")
    inputs: Sequence[tuple[str, Any]] = [*metadata.signature(SIGNATURE).inputs.items()]
    for alias, info in inputs:
        sizes = [dim.size for dim in info.tensor_shape.dim]
        fits = len(sizes) == 4 and all(size in (-1, have) for size, have in zip(sizes, images.shape, strict=True))
        if len(inputs) == 1 and info.dtype == DataType.DT_UINT8 and fits:
            return alias, float(threshold)
    raise ApiError(f"{metadata.model} does not take images of {images.shape[1:]}.")
