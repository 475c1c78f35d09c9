"""Waiting for another request's thread or greenlet: like a lock, but cheaper under gevent.

Waiting for a gevent lock with a timeout creates half a dozen objects, and its release takes another turn of the event
loop. Requests that share calls wait once each, so that would be a tenth of a busy worker's time.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import monkey

_SOON = 0.005  # seconds; an event loop that is never idle must not delay the call further


class OneShotEvent(Protocol):
    """An event that one thread or greenlet waits for, and another one sets once, before or during the wait."""

    def wait(self, seconds: float) -> bool:
        """Return whether it was set within `seconds`."""

    def set(self) -> None:
        """Wake the waiting thread or greenlet, also if it has not begun to wait."""


def one_shot_event() -> OneShotEvent:
    """Return an event for this process: between greenlets where threads are greenlets, else between threads."""
    return _GreenletEvent() if monkey.is_module_patched("threading") else _ThreadEvent()


def brief_lock() -> Any:
    """Return a lock for a few lines that never wait: a real thread lock, also where threads are greenlets.

    Greenlets cannot switch in such lines, so they never wait for the lock; gevent's takes several times as long.
    """
    return monkey.get_original("threading", "Lock")()


def when_idle(act: Callable[[], None]) -> None:
    """Schedule a call of `act` for when the event loop is idle, at the latest after a few milliseconds.

    Without gevent's patches it is called at once.
    """
    if monkey.is_module_patched("threading"):
        _Idle(act)
    else:
        act()


class _ThreadEvent:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=max(0.0, seconds))

    def set(self) -> None:
        self._lock.release()


class _GreenletEvent:
    """Wakes the waiting greenlet by switching to it: from the event loop only, and only while it waits in `wait`."""

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        self._waiting: gevent.Greenlet | None = None

    def wait(self, seconds: float) -> bool:
        if not self._set:
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
        was_set, self._set = self._set, False
        return was_set

    def set(self) -> None:
        self._set = True
        if self._waiting is not None:
            gevent.get_hub().loop.run_callback(self._wake)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.switch()


class _Idle:
    """One call, made by the first of two event loop watchers to fire."""

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
