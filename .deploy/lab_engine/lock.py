"""One command at a time changes a lab."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TextIO

from .errors import EngineError
from .settings import Settings
from .waiting import wait_until


@contextlib.contextmanager
def exclusive(settings: Settings, verb: str) -> Iterator[None]:
    """Hold the lab for a verb that changes it; raises EngineError naming who holds it already."""
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                f"another command is at work on this lab ({_told(lock)}): wait until it has ended, or stop it"
            ) from None
        lock.truncate(0)
        lock.write(f"'{verb}', process {os.getpid()}")
        lock.flush()
        yield


def _told(lock: TextIO) -> str:
    """What the holder of the lock wrote into it; it may be about to."""
    told = ""

    def read() -> bool:
        nonlocal told
        lock.seek(0)
        told = lock.read().strip()
        return bool(told)

    wait_until(read, 1)
    return told
