"""One repeat of a lost call at a time among all workers of the gateway: a repeat may end the model server.

Two at once could be lost together, and then an innocent call would be taken for the one that ends the server.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_MAX_WAIT_S = 5.0  # for another worker's repeat: a call that takes long is not waited for
_INTERVAL_S = 0.02


class RepeatLock:
    """A lock in a file that workers share; one that is killed lets go of it. Without a file it is no lock."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, or go on without it: after a while, and where the file cannot be opened."""
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
        """Without blocking: the other greenlets of this worker go on."""
        until = time.monotonic() + _MAX_WAIT_S
        while time.monotonic() < until:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(_INTERVAL_S)
