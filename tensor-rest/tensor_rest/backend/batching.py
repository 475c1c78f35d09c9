"""Micro-batching: rows of requests that arrive at the same time share one call. It starts no thread.

While few requests are open, each is sent at once. A request that arrives while the allowed number of calls is in
flight, or while many requests are open, is queued. A queue is flushed where a call may be made: at once when it holds
half of the open requests, so that the model works on one half while the worker reads the other; else as soon as the
worker is idle, so that requests which have arrived but are not read yet are included. One request of a batch, the
leader, makes the call for all. The busier the worker, the larger the batches.
"""

import copy
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tensor_rest.errors import ApiError, DeadlineError, without_frames
from tensor_rest.runtime.wakeup import brief_lock, one_shot_event, when_idle

Inputs = Mapping[str, np.ndarray[Any, Any]]

_MIN_OPEN = 4
"""With at least so many open requests a request is queued, even if a call may be made."""

SHARED_STATUS = (404, 429, 503, 504)
"""A batch that failed with one of these failed for all its requests: no row caused it, and a repeat would fail too."""


class SignatureRef(NamedTuple):
    """A signature of a model's version or label (neither: the newest), and which outputs are returned."""

    model: str
    version: int | None
    label: str | None
    signature: str
    outputs: tuple[str, ...]


class Prediction(NamedTuple):
    """The response of a Predict call.

    The version and signature that computed it, its outputs by alias, how long the rows were queued, and how long the
    call took.
    """

    version: int
    outputs: Mapping[str, np.ndarray[Any, Any]]
    signature: str = ""
    queue_seconds: float = 0.0
    model_seconds: float = 0.0


Run = Callable[[SignatureRef, Inputs, float, Sequence[str]], Prediction]
"""Makes one call: signature, inputs, deadline, ids of the requests it is made for."""

Independent = Callable[[SignatureRef, int], bool]
"""Whether the rows of the version that answered are independent, so that the answer of a shared call is right."""


class _PendingRequest:
    """The rows of a queued request. It waits on `event` until they are answered or it is the leader of a batch."""

    __slots__ = (
        "answer",
        "batch",
        "chosen",
        "deadline",
        "error",
        "event",
        "inputs",
        "queued",
        "request_id",
        "rows",
    )

    def __init__(self, inputs: Inputs, rows: int, deadline: float, request_id: str) -> None:
        self.inputs, self.rows, self.deadline, self.request_id = inputs, rows, deadline, request_id
        self.queued = time.monotonic()
        self.event = one_shot_event()
        self.chosen = False
        self.batch: list[_PendingRequest] | None = None  # a leader's: the requests it makes the call for, and itself
        self.answer: Prediction | None = None
        self.error: ApiError | None = None


@dataclass(eq=False)
class _Queue:
    """The requests whose rows can share a call."""

    running: int = 0
    in_flight: int = 0  # requests whose rows are in a call
    flush_scheduled: bool = False  # for when the worker is idle
    pending: deque[_PendingRequest] = field(default_factory=deque)


class Batcher:
    """Lets rows of the same signature, types and shapes share calls of at most `max_rows` rows and `max_bytes` bytes.

    `running` is how many calls of one queue may be in flight at once. If a shared call is answered by a version whose
    rows are not `independent`, it is repeated for each request alone.
    """

    def __init__(
        self, run: Run, max_rows: int, max_bytes: int, running: int, independent: Independent = lambda *_: True
    ) -> None:
        self._run = run
        self._independent = independent
        self._max_rows, self._max_bytes, self._max_running = max_rows, max_bytes, running
        self._queues: dict[Any, _Queue] = {}
        self._open = 0  # requests of the queue that was flushed last: pending and in flight
        self._lock = brief_lock()

    def max_rows_of(self, row_bytes: int) -> int:
        """Return how many rows of `row_bytes` bytes each one call takes."""
        return max(1, min(self._max_rows, self._max_bytes // max(1, row_bytes)))

    def predict(self, ref: SignatureRef, inputs: Inputs, rows: int, deadline: float, request_id: str) -> Prediction:
        """Return the prediction for `rows` rows, at most `max_rows_of`.

        Raises:
            ApiError: of the call.
            DeadlineError: the request was queued until its deadline.
        """
        key = (ref, tuple([(alias, array.dtype.str, array.shape[1:]) for alias, array in sorted(inputs.items())]))
        request = None
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue()
            if queue.running < self._max_running and not queue.pending and self._open < _MIN_OPEN:
                queue.running += 1
                queue.in_flight += 1
            else:
                request = _PendingRequest(inputs, rows, deadline, request_id)
                queue.pending.append(request)
                if self._holds_half(queue):
                    self._flush(queue)
        if request is None:
            try:
                return self._run(ref, inputs, deadline, [request_id])
            finally:
                self._call_ended(key, queue, 1)
        self._schedule_flush(key, queue)
        self._wait(key, queue, request)
        if request.batch is not None:
            self._send_batch(key, queue, request, request.batch)
        if request.error is not None:
            raise copy.copy(request.error)  # raising writes into an exception, and others raise it too
        return request.answer or self._run(ref, inputs, deadline, [request_id])

    def _wait(self, key: Any, queue: _Queue, request: _PendingRequest) -> None:
        """Wait until the request is answered, leads a batch or is to be sent alone.

        Raises DeadlineError at its deadline.
        """
        try:
            if request.event.wait(request.deadline - time.monotonic()) or not self._remove(key, queue, request):
                return
        except BaseException:  # the greenlet is killed
            if not self._remove(key, queue, request) and request.batch is not None:
                self._release_batch(key, queue, request, request.batch)
            raise
        raise DeadlineError("The model server did not answer in time.")

    def _remove(self, key: Any, queue: _Queue, request: _PendingRequest) -> bool:
        """Remove the request from the queue. Returns False if it has already been chosen to send the batch."""
        with self._lock:
            if request.batch is not None:
                return False
            if not request.chosen:
                queue.pending.remove(request)
                self._drop_if_empty(key, queue)
        return True

    def _send_batch(self, key: Any, queue: _Queue, leader: _PendingRequest, batch: list[_PendingRequest]) -> None:
        """Make the call for the batch. A request with neither answer nor error afterwards is sent alone."""
        try:
            self._answer(key[0], batch)
        finally:
            self._release_batch(key, queue, leader, batch)

    def _release_batch(self, key: Any, queue: _Queue, leader: _PendingRequest, batch: list[_PendingRequest]) -> None:
        self._call_ended(key, queue, len(batch))
        for request in batch:
            if request is not leader:
                request.event.set()

    def _answer(self, ref: SignatureRef, batch: list[_PendingRequest]) -> None:
        started = time.monotonic()
        deadline = max(request.deadline for request in batch)
        try:
            answer = self._run(ref, _joined(batch), deadline, [request.request_id for request in batch])
        except ApiError as error:
            if len(batch) == 1 or error.status in SHARED_STATUS:
                for request in batch:
                    request.error = without_frames(error)
            return
        rows = sum(request.rows for request in batch)
        if len(batch) > 1 and any(array.shape[:1] != (rows,) for array in answer.outputs.values()):
            return  # whatever the signature says, the outputs do not have a row for each row
        if len(batch) > 1 and not self._independent(ref, answer.version):
            return
        start = 0
        for request in batch:
            outputs = answer.outputs
            if len(batch) > 1:
                outputs = {alias: array[start : start + request.rows] for alias, array in outputs.items()}
            request.answer = Prediction(
                answer.version, outputs, answer.signature, started - request.queued, answer.model_seconds
            )
            start += request.rows

    def _schedule_flush(self, key: Any, queue: _Queue) -> None:
        """Schedule a flush for when the worker is idle, if a call may be made and none is scheduled."""
        with self._lock:
            if queue.flush_scheduled or not queue.pending or queue.running >= self._max_running:
                return
            queue.flush_scheduled = True
        when_idle(partial(self._flush_idle, key, queue))

    def _call_ended(self, key: Any, queue: _Queue, requests: int) -> None:
        """Count a call for this many requests as finished."""
        with self._lock:
            queue.running -= 1
            queue.in_flight -= requests
            if self._holds_half(queue):
                self._flush(queue)  # before the worker continues with the requests that are answered
            self._drop_if_empty(key, queue)
        self._schedule_flush(key, queue)

    def _flush_idle(self, key: Any, queue: _Queue) -> None:
        """Flush the queue: all requests that had arrived have been read."""
        with self._lock:
            queue.flush_scheduled = False
            if queue.pending:
                self._open = 0  # counted anew by the flush
                self._flush(queue)
            self._drop_if_empty(key, queue)

    def _holds_half(self, queue: _Queue) -> bool:
        """Whether the queue holds half of at least `_MIN_OPEN` open requests, and a call may be made."""
        return queue.running < self._max_running and 2 * len(queue.pending) >= self._open >= _MIN_OPEN

    def _flush(self, queue: _Queue) -> None:
        """Make batches of the queued requests, as many as may be in flight."""
        self._open = max(self._open, len(queue.pending) + queue.in_flight)
        while queue.pending and queue.running < self._max_running:
            queue.running += 1
            self._take_batch(queue)

    def _drop_if_empty(self, key: Any, queue: _Queue) -> None:
        if not (queue.pending or queue.running or queue.flush_scheduled) and self._queues.get(key) is queue:
            del self._queues[key]

    def _take_batch(self, queue: _Queue) -> None:
        """Make a batch of the requests that are queued longest."""
        batch = [queue.pending.popleft()]
        room = self.max_rows_of(row_bytes(batch[0].inputs, batch[0].rows)) - batch[0].rows
        while queue.pending and queue.pending[0].rows <= room:
            batch.append(queue.pending.popleft())
            room -= batch[-1].rows
        for request in batch:
            request.chosen = True
        queue.in_flight += len(batch)
        # The one with the latest deadline makes the call: the others can time out before.
        leader = max(batch, key=lambda request: request.deadline)
        leader.batch = batch
        leader.event.set()


def row_bytes(inputs: Inputs, rows: int) -> int:
    """Return the size of one of the rows in bytes."""
    return sum(array.nbytes for array in inputs.values()) // rows


def _joined(batch: list[_PendingRequest]) -> Inputs:
    if len(batch) == 1:
        return batch[0].inputs
    return {alias: np.concatenate([request.inputs[alias] for request in batch]) for alias in batch[0].inputs}
