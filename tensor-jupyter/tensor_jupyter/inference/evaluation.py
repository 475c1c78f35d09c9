"""Measure how well and how fast a served model classifies labelled images, over REST like any client."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tensor_jupyter.data import LabelledImages
from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway
from tensor_jupyter.inference.remote import predictions
from tensor_jupyter.rest import png
from tensor_jupyter.settings import Settings

OTHER = "other"
"""In place of answers that are not among the labels, such as those of another model that a rule calls."""


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation. Failed calls count in none of the other figures.

    confusion: int [labels, labels + 1], counts by true label and answered label; the last column is OTHER.
    seconds: float [answered], each call's time. versions: those that answered. failed: how many calls, by reason.
    """

    labels: tuple[str, ...]
    confusion: np.ndarray
    seconds: np.ndarray
    elapsed: float
    versions: tuple[int, ...]
    failed: dict[str, int]

    @property
    def answered(self) -> int:
        return len(self.seconds)

    @cached_property
    def misread(self) -> int:
        return int(self.confusion.sum() - np.trace(self.confusion))

    @property
    def error_rate(self) -> float:
        """The share of answered images that were misread."""
        return self.misread / self.answered

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered / self.elapsed

    def milliseconds(self, percent: float) -> float:
        """The latency that `percent` of the calls did not exceed."""
        return float(np.percentile(self.seconds, percent)) * 1000

    def mistakes(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: true label, answered label, count."""
        read = (*self.labels, OTHER)
        wrong = [
            (label, read[column], int(count))
            for row, label in enumerate(self.labels)
            for column, count in enumerate(self.confusion[row])
            if count and column != row
        ]
        return sorted(wrong, key=lambda mistake: -mistake[2])[:most]


def drawn(labelled: LabelledImages, count: int) -> LabelledImages:
    """`count` of the images, the same ones each time; all if there are fewer."""
    rows = np.random.default_rng(0).permutation(len(labelled))[:count]
    return labelled.take(rows)


def evaluate(
    settings: Settings,
    path: str,
    labelled: LabelledImages,
    labels: Sequence[str],
    connections: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Send each image as a PNG to the gateway's `path` over `connections` connections; count the answered labels.

    Raises LabError when no call was answered.
    """
    calls = _Calls(settings, path, labelled, advance)
    begin = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        try:
            for done in [pool.submit(calls.work) for _ in range(connections)]:
                done.result()
        finally:  # Ctrl-C: no further calls
            calls.stop()
    elapsed = time.perf_counter() - begin
    if not calls.answers:
        reason, count = calls.failed.most_common(1)[0]
        raise LabError(f"None of {len(labelled)} calls was answered; {count} of them: {reason}")
    rows, seconds, read, versions = zip(*calls.answers, strict=True)
    number = {label: place for place, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels) + 1), np.int64)
    for row, label in zip(rows, read, strict=True):
        confusion[labelled.labels[row], number.get(label, len(labels))] += 1
    return Evaluation(
        tuple(labels), confusion, np.array(seconds), elapsed, tuple(sorted(set(versions))), dict(calls.failed)
    )


class _Calls:
    """The calls of one evaluation, made by several threads that each keep a connection."""

    def __init__(self, settings: Settings, path: str, labelled: LabelledImages, advance: Callable[[int], None]) -> None:
        self.answers: list[tuple[int, float, str, int]] = []  # row, seconds, label, version
        self.failed: Counter[str] = Counter()
        self._settings = settings
        self._path = path
        self._labelled = labelled
        self._advance = advance
        self._rows = iter(range(len(labelled)))
        self._lock = threading.Lock()

    def stop(self) -> None:
        with self._lock:
            self._rows = iter(range(0))

    def work(self) -> None:
        """Send images until all have been sent."""
        with Gateway(self._settings) as gateway:
            while (row := self._next()) is not None:
                image = png(self._labelled.images[row])
                begin = time.perf_counter()
                try:
                    reply = gateway.send("POST", self._path, image, {"Content-Type": "image/png"})
                    seconds = time.perf_counter() - begin
                    if reply.status != 200:
                        raise LabError(reply.message)
                    (prediction,) = predictions(reply, 1)
                    answer, failure = (row, seconds, prediction.labels[0][0], prediction.version), ""
                except LabError as error:
                    answer, failure = None, str(error)
                with self._lock:
                    if answer:
                        self.answers.append(answer)
                    else:
                        self.failed[failure] += 1
                    self._advance(1)

    def _next(self) -> int | None:
        with self._lock:
            return next(self._rows, None)
