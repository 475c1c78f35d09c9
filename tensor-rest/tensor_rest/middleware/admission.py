"""Decides which requests a worker accepts: back-pressure instead of a long queue."""

import itertools
import time
from collections.abc import Callable

from tensor_rest.errors import UnavailableError
from tensor_rest.observability import metrics
from tensor_rest.runtime.wakeup import brief_lock

_MAX_WAIT_S = 5.0  # maximum seconds until a worker accepts a queued request; replacing a killed worker takes less
_CLOCK_STEP = 300.0  # seconds; nginx times out long before, so a longer wait means that the clock was set
_STUCK = 1.0  # seconds after which a request counts as stuck
_SPARE = 2  # places in a worker that are kept free of stuck requests: probes, refusals and the page need one


class Admission:
    """Admits requests to a worker that handles `most` requests at once. One per process.

    Requests that wait for the model server, which `waiting` counts, occupy none of these places.
    """

    def __init__(self, most: int, waiting: Callable[[], int] = lambda: 0) -> None:
        self._capacity = max(1, most - _SPARE)
        self._waiting = waiting
        self._started: dict[int, float] = {}  # when each request at work began, oldest first
        self._numbers = itertools.count()
        self._lock = brief_lock()

    def enter(self, arrived: float | None) -> int:
        """Return a number for `leave`. `arrived` is when nginx passed the request on, in seconds since the epoch.

        Raises UnavailableError if the request was queued for too long, or if stuck requests occupy this worker's
        places: an immediate error, while a place is left for it, is better than a queue behind them.
        """
        if arrived is not None and _MAX_WAIT_S < time.time() - arrived < _CLOCK_STEP:
            metrics.refused("waited")
            raise UnavailableError("The gateway gets more requests than it can answer in time.")
        now = time.monotonic()
        with self._lock:
            if not self._full(now):
                number = next(self._numbers)
                self._started[number] = now
                return number
        metrics.refused("busy")
        raise UnavailableError("The gateway is busy with requests that take long.")

    def leave(self, number: int) -> None:
        """Free the place of the answered request with this number."""
        with self._lock:
            del self._started[number]

    def _full(self, now: float) -> bool:
        """Whether as many requests as the capacity are stuck. Short requests may use all places."""
        if len(self._started) < self._capacity:
            return False
        capacity = self._capacity + self._waiting()
        last = next(itertools.islice(self._started.values(), capacity - 1, None), now)
        return now - last > _STUCK
