"""Waiting for another request's thread or greenlet: what a lock does, without most of its price under gevent.

A lock of gevent's that is waited for with a time limit makes half a dozen objects, and its release a turn of the event
loop more. Requests that share calls wait once each, so that is a tenth of a busy worker's time.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import monkey

_SOON = 0.005  # seconds; a loop that is never idle must not hold anybody up


class Baton(Protocol):
    """One waits for it; another passes it on, before or meanwhile."""

    def wait(self, seconds: float) -> bool:
        """Whether it came within `seconds`."""

    def pass_on(self) -> None:
        """Wake who waits, or will wait."""


def baton() -> Baton:
    """One for this process: between greenlets where threads are greenlets, else between threads."""
    return _OfGreenlets() if monkey.is_module_patched("threading") else _OfThreads()


def brief_lock() -> Any:
    """A lock around a few lines that never wait: the threads' own kind, also where threads are greenlets.

    Greenlets cannot change places in such lines, so it is never waited for; gevent's takes several times as long.
    """
    return monkey.get_original("threading", "Lock")()


def when_idle(act: Callable[[], None]) -> None:
    """Have `act` called when the event loop has nothing else to do, at the latest after a few milliseconds.

    Where threads are threads it is called at once.
    """
    if monkey.is_module_patched("threading"):
        _Idle(act)
    else:
        act()


class _OfThreads:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=max(0.0, seconds))

    def pass_on(self) -> None:
        self._lock.release()


class _OfGreenlets:
    """Wakes by switching to the greenlet, from the event loop only, and only while it waits here."""

    __slots__ = ("_passed", "_waiting")

    def __init__(self) -> None:
        self._passed = False
        self._waiting: gevent.Greenlet | None = None

    def wait(self, seconds: float) -> bool:
        if not self._passed:
            hub = gevent.get_hub()
            self._waiting = gevent.getcurrent()
            timer = hub.loop.timer(max(0.0, seconds))
            timer.start(self._wake)
            try:
                hub.switch()
            finally:  # also when the greenlet is killed here
                self._waiting = None
                timer.stop()
                timer.close()
        passed, self._passed = self._passed, False
        return passed

    def pass_on(self) -> None:
        self._passed = True
        if self._waiting is not None:
            gevent.get_hub().loop.run_callback(self._wake)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.switch()


class _Idle:
    """One call, by whichever of two watchers comes first."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        loop = gevent.get_hub().loop
        self._watchers = (loop.idle(), loop.timer(_SOON))
        for watcher in self._watchers:
            watcher.start(self._now)

    def _now(self) -> None:
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
        self._act()
