"""/healthz, /readyz and /metrics. The model server is called at most once a second, however often they are called."""

import ipaddress
import threading
import time
from collections.abc import Callable
from pathlib import Path

import flask

from tensor_rest.errors import ApiError, ForbiddenError, UnavailableError
from tensor_rest.observability import metrics
from tensor_rest.runtime import request_context

_FRESH = 1.0  # seconds for which a result is used
_CHECK_TIMEOUT_S = 2.0  # seconds a check may take
_FIRST = 0.5  # seconds to wait for another thread's first check: until then nothing is known
_NEVER = float("-inf")


class Readiness:
    """The result of the last check of the model server. One thread checks at a time; others use the last result."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._looking = threading.Lock()
        self._problem: ApiError | None = UnavailableError("Whether the model server answers is not known yet.")
        self._since = _NEVER

    def check(self) -> None:
        """Raise an ApiError with the reason if the model server does not answer."""
        if self._is_old() and self._looking.acquire(timeout=_FIRST if self._since == _NEVER else 0):
            try:
                self._renew()
            finally:
                self._looking.release()
        if self._problem is not None:
            raise type(self._problem)(str(self._problem))

    def _is_old(self) -> bool:
        return time.monotonic() - self._since > _FRESH

    def _renew(self) -> None:
        """With the lock held: check, unless another thread just has."""
        if not self._is_old():
            return
        try:
            self._look()
            self._problem = None
        except ApiError as error:
            self._problem = error
        finally:
            self._since = time.monotonic()


def init_app(app: flask.Flask, look: Callable[[], None], lab_id: str, draining: Path) -> None:
    """Add /healthz, /readyz and /metrics.

    `look` raises an ApiError if the model server does not answer. While the file `draining` exists, the gateway is
    stopping, and not ready.
    """
    readiness = Readiness(look)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok", "lab": lab_id}

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        request_context.begin(request_context.current().request_id, time.monotonic() + _CHECK_TIMEOUT_S)
        if draining.exists():
            raise UnavailableError("The gateway stops; requests in flight are finished.")
        readiness.check()
        return {"status": "ready"}

    @app.get("/metrics")
    def numbers() -> flask.Response:
        """Return the metrics, to clients on this machine or in a private network only."""
        client = ipaddress.ip_address(flask.request.remote_addr or "127.0.0.1")
        if client.is_global:
            raise ForbiddenError("/metrics answers private addresses only.")
        return flask.Response(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
