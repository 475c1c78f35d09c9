"""Micro-batching: rows of callers that come at the same time travel in one call. No thread of its own.

A lane's first callers send at once. Who comes while enough calls are under way, or in a crowd, waits. Those waiting
leave together, where a call may be made: at once when they are half of the crowd, so that the model works on one half
while the worker reads the other; else as soon as the worker has nothing else to do, so that requests that are here
already, but still to be read, come along. One of them makes the call for all. So few callers never wait, and the
busier the worker, the larger the batches.
"""

import copy
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tensor_rest.errors import ApiError, DeadlineError
from tensor_rest.runtime.wakeup import baton, brief_lock, when_idle

Inputs = Mapping[str, np.ndarray[Any, Any]]

_CROWD = 4
"""Callers from which on they wait for each other."""

SHARED_STATUS = (404, 429, 503, 504)
"""A batch that failed with one of these failed for all: no row is at fault, and more calls would not help."""


class Asked(NamedTuple):
    """What is asked: a signature of a model's version or label (neither: the newest), and which outputs come back."""

    model: str
    version: int | None
    label: str | None
    signature: str
    outputs: tuple[str, ...]


class Prediction(NamedTuple):
    """What a Predict call answered.

    The version and signature that computed it, its outputs by alias, how long the rows waited for room in a call, and
    how long that call took.
    """

    version: int
    outputs: Mapping[str, np.ndarray[Any, Any]]
    signature: str = ""
    queue_seconds: float = 0.0
    model_seconds: float = 0.0


Run = Callable[[Asked, Inputs, float, Sequence[str]], Prediction]
"""Makes one call: what is asked, inputs, deadline, ids of the requests it is made for."""

Independent = Callable[[Asked, int], bool]
"""Whether the rows of the version that answered are independent, so that the answer of a shared call is right."""


class _Ticket:
    """The rows of one caller that waits in a lane. He sleeps on `baton` until they are answered or he leads a group."""

    __slots__ = ("answer", "baton", "deadline", "error", "group", "inputs", "queued", "request_id", "rows", "taken")

    def __init__(self, inputs: Inputs, rows: int, deadline: float, request_id: str) -> None:
        self.inputs, self.rows, self.deadline, self.request_id = inputs, rows, deadline, request_id
        self.queued = time.monotonic()
        self.baton = baton()
        self.taken = False
        self.group: list[_Ticket] | None = None  # those he makes the call for, himself among them
        self.answer: Prediction | None = None
        self.error: ApiError | None = None


@dataclass(eq=False)
class _Lane:
    """The callers whose rows can share a call."""

    running: int = 0
    away: int = 0  # callers whose rows are under way
    gathering: bool = False  # those waiting leave when the worker is idle
    waiting: deque[_Ticket] = field(default_factory=deque)


class Batcher:
    """Lets rows of the same signature, types and shapes share calls of at most `most_rows` rows and `most_bytes` bytes.

    `running` is how many calls of one lane may be under way at once. A shared call that a version answers whose rows
    are not `independent` is repeated, alone for each request.
    """

    def __init__(
        self, run: Run, most_rows: int, most_bytes: int, running: int, independent: Independent = lambda *_: True
    ) -> None:
        self._run = run
        self._independent = independent
        self._most_rows, self._most_bytes, self._running = most_rows, most_bytes, running
        self._lanes: dict[Any, _Lane] = {}
        self._crowd = 0  # how many waited or were away when some left last
        self._lock = brief_lock()

    def most(self, row_bytes: int) -> int:
        """How many rows of so many bytes one call takes."""
        return max(1, min(self._most_rows, self._most_bytes // max(1, row_bytes)))

    def predict(self, asked: Asked, inputs: Inputs, rows: int, deadline: float, request_id: str) -> Prediction:
        """The answer for `rows` rows, at most `most`. Raises the call's ApiError, or DeadlineError when time is up."""
        key = (asked, tuple([(alias, array.dtype.str, array.shape[1:]) for alias, array in sorted(inputs.items())]))
        ticket = None
        with self._lock:
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = _Lane()
            if lane.running < self._running and not lane.waiting and self._crowd < _CROWD:
                lane.running += 1
                lane.away += 1
            else:
                ticket = _Ticket(inputs, rows, deadline, request_id)
                lane.waiting.append(ticket)
                if self._half_wait(lane):
                    self._leave(lane)
        if ticket is None:
            try:
                return self._run(asked, inputs, deadline, [request_id])
            finally:
                self._ended(key, lane, 1)
        self._gather(key, lane)
        self._wait(key, lane, ticket)
        if ticket.group is not None:
            self._lead(key, lane, ticket, ticket.group)
        if ticket.error is not None:
            raise copy.copy(ticket.error)  # raising writes into an exception, and others raise it too
        return ticket.answer or self._run(asked, inputs, deadline, [request_id])

    def _wait(self, key: Any, lane: _Lane, ticket: _Ticket) -> None:
        """Until the ticket is answered, leads a group or is to go alone. Raises DeadlineError when its time is up."""
        try:
            if ticket.baton.wait(ticket.deadline - time.monotonic()) or not self._withdraw(key, lane, ticket):
                return
        except BaseException:  # the request is killed
            if not self._withdraw(key, lane, ticket) and ticket.group is not None:
                self._dissolve(key, lane, ticket, ticket.group)
            raise
        raise DeadlineError("The model server did not answer in time.")

    def _withdraw(self, key: Any, lane: _Lane, ticket: _Ticket) -> bool:
        """He waits no more; False if he leads since this moment: others depend on him."""
        with self._lock:
            if ticket.group is not None:
                return False
            if not ticket.taken:
                lane.waiting.remove(ticket)
                self._forget(key, lane)
        return True

    def _lead(self, key: Any, lane: _Lane, leader: _Ticket, group: list[_Ticket]) -> None:
        """Make the call for the group. Who has neither answer nor error afterwards goes alone."""
        try:
            self._answer(key[0], group)
        finally:
            self._dissolve(key, lane, leader, group)

    def _dissolve(self, key: Any, lane: _Lane, leader: _Ticket, group: list[_Ticket]) -> None:
        self._ended(key, lane, len(group))
        for ticket in group:
            if ticket is not leader:
                ticket.baton.pass_on()

    def _answer(self, asked: Asked, group: list[_Ticket]) -> None:
        started = time.monotonic()
        deadline = max(ticket.deadline for ticket in group)
        try:
            answer = self._run(asked, _joined(group), deadline, [ticket.request_id for ticket in group])
        except ApiError as error:
            if len(group) == 1 or error.status in SHARED_STATUS:
                for ticket in group:
                    ticket.error = error
            return
        rows = sum(ticket.rows for ticket in group)
        if len(group) > 1 and any(array.shape[:1] != (rows,) for array in answer.outputs.values()):
            return  # whatever the signature says, the answer has not a row for each row
        if len(group) > 1 and not self._independent(asked, answer.version):
            return
        start = 0
        for ticket in group:
            outputs = answer.outputs
            if len(group) > 1:
                outputs = {alias: array[start : start + ticket.rows] for alias, array in outputs.items()}
            ticket.answer = Prediction(
                answer.version, outputs, answer.signature, started - ticket.queued, answer.model_seconds
            )
            start += ticket.rows

    def _gather(self, key: Any, lane: _Lane) -> None:
        """Have those waiting leave, if they may and nobody has seen to it, as soon as all are here."""
        with self._lock:
            if lane.gathering or not lane.waiting or lane.running >= self._running:
                return
            lane.gathering = True
        when_idle(partial(self._depart, key, lane))

    def _ended(self, key: Any, lane: _Lane, callers: int) -> None:
        """A call for so many callers is over."""
        with self._lock:
            lane.running -= 1
            lane.away -= callers
            if self._half_wait(lane):
                self._leave(lane)  # before the worker turns to those who have their answers
            self._forget(key, lane)
        self._gather(key, lane)

    def _depart(self, key: Any, lane: _Lane) -> None:
        """Those waiting leave: whoever was on his way has come."""
        with self._lock:
            lane.gathering = False
            if lane.waiting:
                self._crowd = 0  # is counted anew
                self._leave(lane)
            self._forget(key, lane)

    def _half_wait(self, lane: _Lane) -> bool:
        """Whether there is a crowd, and half of it waits for nothing but itself."""
        return lane.running < self._running and 2 * len(lane.waiting) >= self._crowd >= _CROWD

    def _leave(self, lane: _Lane) -> None:
        """Those waiting become groups, as many as may be under way."""
        self._crowd = max(self._crowd, len(lane.waiting) + lane.away)
        while lane.waiting and lane.running < self._running:
            lane.running += 1
            self._group(lane)

    def _forget(self, key: Any, lane: _Lane) -> None:
        if not (lane.waiting or lane.running or lane.gathering) and self._lanes.get(key) is lane:
            del self._lanes[key]

    def _group(self, lane: _Lane) -> None:
        """Those waiting longest leave together."""
        group = [lane.waiting.popleft()]
        room = self.most(row_bytes(group[0].inputs, group[0].rows)) - group[0].rows
        while lane.waiting and lane.waiting[0].rows <= room:
            group.append(lane.waiting.popleft())
            room -= group[-1].rows
        for ticket in group:
            ticket.taken = True
        lane.away += len(group)
        # Whoever has most time makes the call: everyone else can leave when his own is up.
        leader = max(group, key=lambda ticket: ticket.deadline)
        leader.group = group
        leader.baton.pass_on()


def row_bytes(inputs: Inputs, rows: int) -> int:
    """How large one of the rows is."""
    return sum(array.nbytes for array in inputs.values()) // rows


def _joined(group: list[_Ticket]) -> Inputs:
    if len(group) == 1:
        return group[0].inputs
    return {alias: np.concatenate([ticket.inputs[alias] for ticket in group]) for alias in group[0].inputs}
