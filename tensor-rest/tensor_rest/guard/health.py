"""Probes: does the process live, does the model server answer it. Cheap however often they are asked."""

import threading
import time
from collections.abc import Callable

import flask

from ..errors import ApiError, UnavailableError
from ..serving import caller

_FRESH = 1.0  # seconds an answer about the model server is good for
_LONGEST = 2.0  # seconds a look may take


class Readiness:
    """What the last look at the model server said. One thread looks at a time; the others take what is known."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._looking = threading.Lock()
        self._problem: ApiError | None = UnavailableError("Whether the model server answers is not known yet.")
        self._since = float("-inf")

    def check(self) -> None:
        """Return if the model server answers. Raises the ApiError that says why not."""
        if time.monotonic() - self._since > _FRESH and self._looking.acquire(blocking=False):
            try:
                self._look()
                self._problem = None
            except ApiError as error:
                self._problem = error
            finally:
                self._since = time.monotonic()
                self._looking.release()
        if self._problem is not None:
            raise type(self._problem)(str(self._problem))


def init_app(app: flask.Flask, look: Callable[[], None]) -> None:
    """Add /healthz and /readyz; `look` raises an ApiError if the model server does not answer."""
    readiness = Readiness(look)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        caller.begin(flask.g.request_id, time.monotonic() + _LONGEST)
        readiness.check()
        return {"status": "ready"}
