"""One command at a time changes a lab."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TextIO

from .errors import EngineError
from .settings import Settings
from .waiting import wait_until

RECOVERY = "recovery"  # the monitor's verb
_RECOVERY_SECONDS = 60.0


@contextlib.contextmanager
def exclusive(settings: Settings, verb: str) -> Iterator[None]:
    """Hold the lab for a verb that changes it; raises EngineError naming who holds it already.

    A recovery by the monitor is waited for.
    """
    settings.make_home()
    settings.run.mkdir(exist_ok=True)
    with (settings.run / "lock").open("a+") as lock:

        def taken() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not taken():
            holder = _told(lock)
            if f"'{RECOVERY}'" not in holder or not wait_until(taken, _RECOVERY_SECONDS):
                raise EngineError(
                    f"another command is at work on this lab ({holder}): wait until it has ended, or stop it"
                )
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
