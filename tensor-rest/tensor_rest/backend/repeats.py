"""Lets one worker of the gateway at a time repeat a lost call: a repeat may crash the model server.

Two at once could be lost together, and the harmless one would be taken for a call that crashes the server.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_MAX_WAIT_S = 5.0  # for another worker's repeat; a longer one is not waited for
_INTERVAL_S = 0.02


class RepeatLock:
    """A lock in a file that workers share; it is released when its holder is killed. Without a path it does nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; go on without it after `_MAX_WAIT_S`, or where the file cannot be opened."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if self._path else None
        except OSError:
            file = None
        if file is None:
            yield
            return
        try:
            self._acquire(file)
            yield
        finally:
            os.close(file)

    @staticmethod
    def _acquire(file: int) -> None:
        """Acquire it by polling, so that the other greenlets of this worker can run."""
        until = time.monotonic() + _MAX_WAIT_S
        while time.monotonic() < until:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(_INTERVAL_S)
