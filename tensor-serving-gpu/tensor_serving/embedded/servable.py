"""One version of one model through its life: START, LOADING, AVAILABLE, UNLOADING, END."""

import logging
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from threading import Lock

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.runtime import Model
from tensor_serving.savedmodel import Fingerprint, fingerprint

log = logging.getLogger(__name__)

Load = Callable[[str, int, Path], Model]


class State(IntEnum):
    """The states of ModelVersionStatus, by their numbers there."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Servable:
    """A version of a model. While AVAILABLE its `model` answers; a call holds it by acquire() and release()."""

    def __init__(self, name: str, version: int, folder: Path) -> None:
        self.name, self.version, self.folder = name, version, folder
        self.state = State.START
        self.error: ServingError | None = None
        self._model: Model | None = None
        self._tried: Fingerprint = ()
        self._calls = 0
        self._lock = Lock()
        log.info("%s: found in %s", self, folder)

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    def load(self, load: Load) -> None:
        """Become AVAILABLE, or END with an error when the model cannot be loaded."""
        log.info("%s: loading", self)
        started = time.monotonic()
        self.state, self.error = State.LOADING, None
        try:
            self._tried = fingerprint(self.folder)
            self._model = load(self.name, self.version, self.folder)
        except ServingError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - no model, however broken, may stop the others from being served
            self._fail(ServingError(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}"))
        else:
            self.state = State.AVAILABLE
            log.info("%s: available (%.2f s)", self, time.monotonic() - started)

    def worth_loading(self) -> bool:
        """Tell whether a load makes sense: not loaded, and not failed before with the very same files."""
        if self.state is State.END and self.error:
            try:
                return fingerprint(self.folder) != self._tried
            except OSError:  # gone while we looked
                return False
        return self.state in (State.START, State.END)

    def acquire(self) -> Model | None:
        """Return the model for one call, or None when it is no longer to be used. Calls are to be released."""
        with self._lock:
            if self.state is not State.AVAILABLE:
                return None
            self._calls += 1
            return self._model

    def release(self) -> None:
        """End one call."""
        with self._lock:
            self._calls -= 1
            last = self.state is State.UNLOADING and not self._calls
        if last:
            self._end()

    def retire(self) -> None:
        """Take no new calls; the model goes when the last call under way has ended, in that call's thread."""
        with self._lock:
            if self.state is not State.AVAILABLE:
                return
            log.info("%s: unloading", self)
            self.state = State.UNLOADING
            idle = not self._calls
        if idle:
            self._end()

    def _end(self) -> None:
        model, self._model = self._model, None
        if model:
            model.close()
        self.state = State.END
        log.info("%s: unloaded", self)

    def _fail(self, error: ServingError) -> None:
        self.state, self.error = State.END, error
        log.error("%s: failed: %s", self, " ".join(error.text.split()))
