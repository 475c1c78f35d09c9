"""The life cycle of one version of a model: START, LOADING, AVAILABLE, UNLOADING, END."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from threading import Lock

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.execution import Runner
from tensor_serving.savedmodel import Fingerprint, fingerprint

log = logging.getLogger(__name__)

Load = Callable[[str, int, Path], Runner]
Later = Callable[[Callable[[], None]], object]


class State(IntEnum):
    """The states of ModelVersionStatus, by their numbers there."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class Retries:
    """How often a failed load is retried, and the seconds between two tries; a negative pause is none."""

    most: int = 0
    pause: float = 60.0


class Servable:
    """A version of a model. While it is AVAILABLE, calls use its runner between acquire() and release().

    One thread loads and unloads it; `later` passes that thread a job, from the thread in which the last call ends.
    """

    def __init__(self, name: str, version: int, folder: Path, retries: Retries, later: Later) -> None:
        self.name, self.version, self.folder = name, version, folder
        self.state = State.START
        self.failure: ServingError | None = None  # of the last try
        self.next_try = float("inf")  # time.monotonic() of the retry that is due; the state is LOADING until then
        self._retries, self._later = retries, later
        self._runner: Runner | None = None
        self._tried: Fingerprint = ()
        self._tries = 0
        self._calls = 0
        self._lock = Lock()
        log.info("%s: found in %s", self, folder)

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    @property
    def error(self) -> ServingError | None:
        """Why it ended without having been AVAILABLE; None otherwise."""
        return self.failure if self.state is State.END else None

    def load(self, load: Load) -> None:
        """Load the version.

        It becomes AVAILABLE. On failure it stays LOADING until `next_try`, or is END with an error without a retry.
        """
        log.info("%s: loading", self)
        started = time.monotonic()
        self.state, self.failure, self.next_try = State.LOADING, None, float("inf")
        try:
            now = fingerprint(self.folder)
            self._tries = self._tries + 1 if now == self._tried else 1
            self._tried = now
            self._runner = load(self.name, self.version, self.folder)
        except ServingError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - no model, however broken, may stop the others from being served
            self._fail(ServingError(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}"))
        else:
            self.state, self._tries = State.AVAILABLE, 0
            log.info("%s: available (%.2f s)", self, time.monotonic() - started)

    def worth_loading(self) -> bool:
        """Return whether to load now: not loaded yet, or a retry is due, or the files changed since it failed."""
        if self.failure:
            try:
                return time.monotonic() >= self.next_try or fingerprint(self.folder) != self._tried
            except OSError:  # deleted meanwhile
                return False
        return self.state in (State.START, State.END)

    def has_moved(self, folder: Path) -> bool:
        """Return whether the version must be loaded from this other folder; one that is loaded stays as it is."""
        return folder != self.folder and self.state not in (State.AVAILABLE, State.UNLOADING)

    def refresh(self) -> None:
        """Have the runner apply declarations about the model that changed since it was loaded."""
        if self.state is State.AVAILABLE and self._runner:
            self._runner.refresh()

    def acquire(self) -> Runner | None:
        """Return the runner for one call, or None when it must not be used any more. Call release() afterwards."""
        with self._lock:
            if self.state is not State.AVAILABLE:
                return None
            self._calls += 1
            return self._runner

    def release(self) -> None:
        """End one call."""
        with self._lock:
            self._calls -= 1
            last = self.state is State.UNLOADING and not self._calls
        if last:
            self._later(self.unload)

    def busy(self) -> bool:
        """Return whether calls are in flight."""
        return self._calls > 0

    def retire(self) -> None:
        """Accept no new calls, and unload when the last call in flight has ended. A pending retry is dropped."""
        with self._lock:
            if self.state is State.LOADING:
                self.state, self.failure, self.next_try = State.END, None, float("inf")
            if self.state is not State.AVAILABLE:
                return
            log.info("%s: unloading", self)
            self.state = State.UNLOADING
            free = not self._calls
        if free:
            self.unload()

    def unload(self) -> None:
        """Free the memory. No call may be in flight."""
        runner, self._runner = self._runner, None
        if runner:
            runner.close()
        self.state = State.END
        log.info("%s: unloaded", self)

    def _fail(self, error: ServingError) -> None:
        self.failure = error
        text = " ".join(error.text.split())
        if self._tries > self._retries.most:
            self.state, self._tries = State.END, 0
            log.error("%s: failed: %s", self, text)
            return
        pause = max(0.0, self._retries.pause)
        self.next_try = time.monotonic() + pause
        log.error("%s: failed, next try in %g s: %s", self, pause, text)
