"""A lock, so that only one command at a time changes a lab."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TextIO

from .errors import EngineError
from .settings import Settings
from .waiting import wait_until

RECOVERY = "recovery"  # the monitor's verb
INSTALL = "install"
_RECOVERY_SECONDS = 60.0
_INSTALL_SECONDS = 900.0  # for a first installation over a slow line


@contextlib.contextmanager
def exclusive(settings: Settings, verb: str) -> Iterator[None]:
    """Lock the lab for a verb that changes it; raises EngineError naming the holder if it is locked.

    It waits for a recovery by the monitor; an installation also waits for another one, which does the same work.
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
            holder = _holder(lock)
            if not wait_until(taken, _wait_seconds(verb, holder)):
                raise EngineError(
                    f"another command is at work on this lab ({holder}): wait until it has ended, or stop it"
                )
        lock.truncate(0)
        lock.write(f"'{verb}', process {os.getpid()}")
        lock.flush()
        yield


def _wait_seconds(verb: str, holder: str) -> float:
    """Return how many seconds to wait for the holder."""
    if f"'{RECOVERY}'" in holder:
        return _RECOVERY_SECONDS
    return _INSTALL_SECONDS if verb == INSTALL and f"'{INSTALL}'" in holder else 0.0


def _holder(lock: TextIO) -> str:
    """Return what the holder wrote into the lock file; wait up to a second, as it may not have written it yet."""
    holder = ""

    def read() -> bool:
        nonlocal holder
        lock.seek(0)
        holder = lock.read().strip()
        return bool(holder)

    wait_until(read, 1)
    return holder
