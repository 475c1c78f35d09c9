"""Waiting calls: the batches they are put into as they arrive, and the queue of batches of one kind.

Nothing here takes a lock; the batcher's lock guards it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import grpc

from tensor_serving.embedded.batching_parameters import BatchingParameters
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.tensors import Array

_FULL = "The batch scheduling queue to which this task was submitted is full"
_LONG_BATCH_S = 0.01
"""Seconds per batch from which on a hand-over to a thread pays off: the event loop itself runs batches that are likely
to be shorter. If the batches of a kind take longer, a second thread may run a waiting batch before it is full."""

_MAX_PACES = 1000

Outcome = list[Array] | Exception


class Kind(Protocol):
    """Runs the batches of a queue. `seconds`: duration of its last batch; `paces`: seconds per row, by queue."""

    name: str
    parameters: BatchingParameters
    seconds: float
    paces: dict[Hashable, float]

    def outcomes(self, calls: list[Call], rows: list[int]) -> list[Outcome]:
        """Run the calls as one and return the outcome of each."""


@dataclass(eq=False, slots=True)
class Task:
    """A call, or some of its rows, as a part of a batch."""

    call: Call
    rows: int
    future: "asyncio.Future[list[Array]]"
    since: float = field(default_factory=time.monotonic)


@dataclass(eq=False, slots=True)
class Batch:
    """Tasks to be run as one. A closed batch accepts no further tasks, and may run in parallel with others."""

    tasks: list[Task]
    rows: int
    closed: bool


@dataclass(eq=False, slots=True)
class Queue:
    """The waiting batches of one kind; all but the last are closed."""

    key: Hashable
    kind: Kind
    batches: deque[Batch] = field(default_factory=deque)
    running: int = 0
    called: bool = False  # the event loop is scheduled to process it

    def brief(self) -> bool:
        """Return whether all waiting tasks may be run now, as one batch that is expected to be short."""
        if len(self.batches) != 1 or self.running or self.due() != 0.0:
            return False
        return self.batches[0].rows * self.kind.paces.get(self.key, inf) < _LONG_BATCH_S

    def took(self, seconds: float, rows: int) -> None:
        """Record how long a batch of this many rows took."""
        if len(self.kind.paces) >= _MAX_PACES:  # clients choose the shapes, so bound their number
            self.kind.paces.clear()
        self.kind.seconds = seconds
        self.kind.paces[self.key] = seconds / max(1, rows)

    def closed(self) -> int:
        """Return how many of its batches accept no further calls: they may run at once and in parallel."""
        return len(self.batches) - (not self.batches[-1].closed) if self.batches else 0

    def due(self) -> float | None:
        """Return when its first batch may be run: 0 for now, None for after the running one has ended."""
        if not self.batches or (self.running and self.kind.seconds < _LONG_BATCH_S and not self.closed()):
            return None
        timeout = self.kind.parameters.batch_timeout_micros
        return self.batches[0].tasks[0].since + timeout / 1e6 if timeout and not self.closed() else 0.0

    def append(self, tasks: list[Task]) -> None:
        """Put a call into the last batch if it fits, else begin a new one; parts of a call get one batch each.

        Raises ServingError UNAVAILABLE, and changes nothing, when too many batches are waiting.
        """
        most = self.kind.parameters.max_execution_batch_size
        if len(tasks) == 1 and self.batches:
            last = self.batches[-1]
            if not last.closed and last.rows + tasks[0].rows <= most:
                last.tasks.append(tasks[0])
                last.rows += tasks[0].rows
                last.closed = last.rows == most
                return
        if len(self.batches) + len(tasks) > self.kind.parameters.max_enqueued_batches:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, _FULL)
        for task in tasks:
            self.batches.append(Batch([task], task.rows, closed=len(tasks) > 1 or task.rows >= most))

    def remove(self, tasks: list[Task]) -> None:
        """Remove those of the tasks that are still waiting."""
        for waiting in list(self.batches):
            kept = [task for task in waiting.tasks if task not in tasks]
            waiting.rows -= sum(task.rows for task in waiting.tasks) - sum(task.rows for task in kept)
            waiting.tasks = kept
            if not kept:
                self.batches.remove(waiting)
