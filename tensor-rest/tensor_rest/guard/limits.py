"""How much is taken at once, and how deep: what holds before anything is decoded, and the worker's back-pressure."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ..errors import BadRequestError, UnavailableError
from ..serving.baton import brief_lock
from . import metrics

JSON_DEPTH = 32
"""Levels of nesting a JSON body may have: a batch of pictures with channels has 6."""

ZIP_ENTRIES = 1000
"""Files a zip may hold."""

ZIP_RATIO = 200
"""How many times its packed size an entry of a zip may unpack to. Pictures hardly pack at all."""

_LONGEST_WAIT = 5.0  # seconds in line before a worker took the request; one that was killed is replaced in less
_CLOCK_STEP = 300.0  # seconds; nginx gives up long before, so the clock was set while the request was under way
_STUCK = 1.0  # seconds after which a request no longer counts as one that is about to leave
_SPARE = 2  # places in a worker that stuck requests never get: probes, refusals and the page need one
_LARGE = 1 << 20  # pixels of a picture that is decoded only one at a time
_LARGE_PATIENCE = 5.0  # seconds such a picture waits for its turn

_CHUNK = 1 << 18  # brackets and quotes looked at in one go
_NO_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_CHANGE = np.zeros(256, np.int8)
_CHANGE[list(b"[{")], _CHANGE[list(b"]}")] = 1, -1

_large_picture = threading.Lock()


class Admission:
    """Who gets to work in a worker that handles `most` requests at once. One per process.

    Those that wait for the model server - `waiting` counts them - take none of these places.
    """

    def __init__(self, most: int, waiting: Callable[[], int] = lambda: 0) -> None:
        self._room = max(1, most - _SPARE)
        self._waiting = waiting
        self._started: dict[int, float] = {}  # when each request at work began, oldest first
        self._tickets = itertools.count()
        self._lock = brief_lock()

    def enter(self, arrived: float | None) -> int:
        """A ticket for `leave`. `arrived` is when nginx passed the request on, in seconds since the epoch.

        Raises UnavailableError if it waited in line for too long, or if this worker's places are taken by requests
        that are stuck: an answer at once, while a place is left for it, is better than a line behind them.
        """
        if arrived is not None and _LONGEST_WAIT < time.time() - arrived < _CLOCK_STEP:
            metrics.refused("waited")
            raise UnavailableError("The gateway gets more requests than it can answer in time.")
        now = time.monotonic()
        with self._lock:
            if not self._full(now):
                ticket = next(self._tickets)
                self._started[ticket] = now
                return ticket
        metrics.refused("busy")
        raise UnavailableError("The gateway is busy with requests that take long.")

    def leave(self, ticket: int) -> None:
        """The request with this ticket is answered."""
        with self._lock:
            del self._started[ticket]

    def _full(self, now: float) -> bool:
        """Whether as many requests as there is room for have been here too long. Short ones may use every place."""
        if len(self._started) < self._room:
            return False
        room = self._room + self._waiting()
        last = next(itertools.islice(self._started.values(), room - 1, None), now)
        return now - last > _STUCK


@contextmanager
def decoding(pixels: int) -> Iterator[None]:
    """Around the decoding of a picture: a worker decodes large ones one after the other, each takes 100 MB and more.

    Raises UnavailableError if it is not this one's turn in time.
    """
    if pixels <= _LARGE:
        yield
        return
    if not _large_picture.acquire(timeout=_LARGE_PATIENCE):
        metrics.refused("busy")
        raise UnavailableError("The gateway is busy with other large pictures; a smaller one is taken at once.")
    try:
        yield
    finally:
        _large_picture.release()


def check_json_depth(data: bytes, depth: int = JSON_DEPTH) -> None:
    """Raise BadRequestError if the JSON text `data` nests deeper than `depth`; the parser says whether it is JSON.

    Takes 4 ms per MB at most, whatever the bytes are.
    """
    if b"\\" in data:
        data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = data.translate(None, _NO_MARKS)
    found, level, quoted = 0, 0, False
    for start in range(0, len(marks), _CHUNK):
        chunk = np.frombuffer(marks, np.uint8)[start : start + _CHUNK]
        inside = np.logical_xor.accumulate(chunk == ord('"')) ^ quoted
        levels = level + np.where(inside, 0, _CHANGE[chunk]).cumsum(dtype=np.int32)
        found, level, quoted = max(found, int(levels.max())), int(levels[-1]), bool(inside[-1])
    if found > depth:
        raise BadRequestError(f"The JSON nests {found} levels deep; at most {depth} are taken.")
