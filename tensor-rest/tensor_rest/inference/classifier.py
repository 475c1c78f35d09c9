"""Classifies images: labels with scores. All routes that classify use it."""

import itertools
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from tensor_rest.backend import ModelServer, Prediction
from tensor_rest.errors import ApiError, BadGatewayError, TooLargeError, without_frames
from tensor_rest.images.decode import prepare
from tensor_rest.images.preprocess import Pixels
from tensor_rest.inference.concept import Companions, Concept
from tensor_rest.inference.image_signature import ImageSignature
from tensor_rest.inference.metadata import SIGNATURE, MetadataCache, ModelMetadata, Target
from tensor_rest.runtime import request_context

_MAX_BYTES = 16 << 20  # of the images of one request at the model's size, as uint8; four times that as float32

Batch = np.ndarray[Any, np.dtype[np.uint8]]
"""Images at the size and channels a model takes, [N,H,W,C]."""

Ranking = list[tuple[str, float]]
"""Labels with their scores, best first."""


class Answer(NamedTuple):
    """The answer of a version for some images.

    `rankings` and `pixels` are in the order of the images, with the error of each that could not be read.
    `concepts` are the companion's scores in the same order, empty where none is served or wanted.
    `queue_seconds` is how long the images waited in the batch queue, `model_seconds` how long the call took.
    """

    model: str
    version: int
    image_signature: ImageSignature
    rankings: list[Ranking | ApiError]
    pixels: list[Pixels | ApiError]
    queue_seconds: float
    model_seconds: float
    concepts: Sequence[Concept | None] = ()

    @property
    def ranking(self) -> Ranking:
        """The ranking of the only image; raises its error if it could not be read."""
        (only,) = self.rankings
        if isinstance(only, ApiError):
            raise only
        return only


class Classifier:
    """Classifies images of at most `max_pixels` with the models of `server`, described in `metadata_cache`."""

    def __init__(
        self, server: ModelServer, metadata_cache: MetadataCache, max_pixels: int, companions: Companions
    ) -> None:
        self._companions = companions
        self._server = server
        self._metadata_cache = metadata_cache
        self._max_pixels = max_pixels

    def classify(
        self, target: Target, images: Sequence[bytes], signature: str = SIGNATURE, concept: bool = False
    ) -> Answer:
        """Labels and scores of each image file, all from one version; with `concept` its companion's scores, too.

        Raises the ApiError that fits the failure; if no image can be read, the error of the first one.
        """

        def call(metadata: ModelMetadata, exact: Target) -> Answer:
            image_signature = metadata.image_signature(signature)
            _check_count(len(images), image_signature)
            pixels: list[Pixels | ApiError] = []
            parts = self._prepared(images, image_signature, pixels)
            scoring = self._companions.scoring(target.model) if concept else None
            if scoring:
                parts = map(scoring.add, parts)
            first = next(parts, None)
            if first is None:  # none can be read, whichever version is called
                return Answer(metadata.model, metadata.version, image_signature, list(_errors(pixels)), pixels, 0, 0)
            predictions = self._predicted(image_signature, exact, first, parts if len(pixels) < len(images) else None)
            others = {prediction.version for prediction in predictions} - {metadata.version}
            if others:  # another version may have other labels
                return Answer(metadata.model, others.pop(), image_signature, [], [], 0, 0)
            readable = len(images) - sum(1 for _ in _errors(pixels))
            rows = iter(_rankings(metadata, image_signature, predictions, readable))
            rankings = [item if isinstance(item, ApiError) else next(rows) for item in pixels]
            queue = sum(prediction.queue_seconds for prediction in predictions)
            model = sum(prediction.model_seconds for prediction in predictions)
            scored = iter(scoring.scores()) if scoring else None
            concepts = [None if isinstance(item, ApiError) else next(scored) for item in pixels] if scored else ()
            return Answer(metadata.model, metadata.version, image_signature, rankings, pixels, queue, model, concepts)

        answer = self._metadata_cache.use(target, call)
        if len(answer.rankings) != len(images):
            raise BadGatewayError(f"{target} answered as version {answer.version}, which was not requested.")
        if all(isinstance(item, ApiError) for item in answer.rankings):
            try:
                raise next(_errors(answer.pixels))
            finally:
                del answer  # the error's traceback refers to this frame
        return answer

    def _predicted(
        self, image_signature: ImageSignature, at: Target, first: Batch, more: Iterator[Batch] | None
    ) -> list[Prediction]:
        """Make one call for the first part alone, several for more; one per image if the signature takes only one."""
        name, outputs = image_signature.signature, (image_signature.scores,)

        def one(rows: Batch) -> Prediction:
            inputs = image_signature.inputs(rows)
            return self._server.predict(
                at.model, inputs, version=at.version, label=at.label, signature=name, outputs=outputs
            )

        if image_signature.single:
            batches = itertools.chain((first,), more or ())
            return [one(row) for batch in batches for row in np.split(batch, len(batch))]
        if more is None:
            return [one(first)]
        parts = (image_signature.inputs(part) for part in itertools.chain((first,), more))
        return [
            self._server.predict_parts(
                at.model, parts, version=at.version, label=at.label, signature=name, outputs=outputs
            )
        ]

    def _prepared(
        self, images: Sequence[bytes], image_signature: ImageSignature, pixels: list[Pixels | ApiError]
    ) -> Iterator[Batch]:
        """The images as batches, made one after the other; each image's pixels or error go to `pixels`."""
        most = self._server.max_rows(image_signature.row_bytes)
        # Of many images a few are sent first, so that the model works on one part while the next is prepared.
        start, size = 0, most if len(images) <= most else max(1, most // 4)
        while start < len(images):
            readable = []
            for data in images[start : start + size]:
                request_context.check()  # a thousand small files may be a thousand large images
                try:
                    item = prepare(data, image_signature.wanted, self._max_pixels)
                    readable.append(item)
                    pixels.append(item)
                except ApiError as error:
                    pixels.append(without_frames(error))
            start, size = start + size, most
            if readable:
                yield np.stack(readable) if len(readable) > 1 else readable[0][np.newaxis]


def _errors(pixels: Sequence[Pixels | ApiError]) -> Any:
    return (item for item in pixels if isinstance(item, ApiError))


def _check_count(images: int, image_signature: ImageSignature) -> None:
    """Raise TooLargeError for more images than fit into memory at the model's size."""
    wanted = image_signature.wanted
    most = max(1, _MAX_BYTES // (wanted.height * wanted.width * wanted.channels))
    if images > most:
        raise TooLargeError(
            f"The request has {images} images; of {wanted.width} x {wanted.height} pixels, as this model takes "
            f"them, at most {most} are taken at once."
        )


def _rankings(
    metadata: ModelMetadata, image_signature: ImageSignature, predictions: list[Prediction], rows: int
) -> list[Ranking]:
    """Return one ranking per row. Raises BadGatewayError unless the answers have a row of finite scores for each."""
    found = [prediction.outputs.get(image_signature.scores, np.empty(0)) for prediction in predictions]
    if any(s.dtype.kind not in "fiu" or s.ndim != 2 or len(s) != rows // len(found) for s in found):
        raise _wrong(metadata, found, rows)
    rankings = []
    for scores in found:
        labels = metadata.labels(scores.shape[1])
        for row in image_signature.probabilities(scores).tolist():
            if not isfinite(sum(row)):
                raise _wrong(metadata, found, rows)
            rankings.append([(labels[i], row[i]) for i in sorted(range(len(row)), key=row.__getitem__, reverse=True)])
    return rankings


def _wrong(metadata: ModelMetadata, found: list[Any], rows: int) -> BadGatewayError:
    shapes = ", ".join(str(scores.shape) for scores in found)
    wanted = "one row of finite scores" if rows == 1 else f"{rows} rows of finite scores"
    return BadGatewayError(f"Model {metadata.model!r} answered shape {shapes}; wanted {wanted}.")
