"""The list of models, which TensorFlow Serving's API lacks: read from the watcher that runs beside it."""

import threading
import time
import urllib.request
from http.client import HTTPException

from pydantic import BaseModel, Field, ValidationError

from .errors import UnavailableError

_TIMEOUT_SECONDS = 2.0
_KEPT_SECONDS = 1.0  # what was read holds so long
_MAX_BYTES = 4 << 20
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a neighbour, whatever http_proxy says


class Quarantined(BaseModel):
    """A version that is not served, and why."""

    version: int
    reason: str


class Model(BaseModel):
    """One model on the volume: its sound versions, those served, labels such as stable, and what is left out."""

    name: str
    versions: list[int] = Field(default_factory=list)
    serving: list[int] = Field(default_factory=list)
    labels: dict[str, int] = Field(default_factory=dict)
    quarantined: list[Quarantined] = Field(default_factory=list)

    @property
    def newest(self) -> int | None:
        """The version a call without one is meant to get; None if there is none, or it is not known."""
        return max(self.serving or self.versions, default=None)


class _Document(BaseModel):
    models: list[Model]


class Inventory:
    """What the watcher at `url` lists, read once a second at most, by one thread at a time; the others do not wait."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._known: list[Model] | UnavailableError | None = None
        self._until = 0.0

    def models(self) -> list[Model]:
        """The models, sorted by name, as of a second ago. Raises UnavailableError for no or no sensible answer."""
        if time.monotonic() >= self._until:
            self._refresh()
        known = self._known
        if known is None:
            raise UnavailableError("The list of models cannot be read: the watcher beside serving is slow to answer.")
        if isinstance(known, UnavailableError):
            raise UnavailableError(str(known))  # a new one: a traceback grows with each time one is raised
        return known

    def _refresh(self) -> None:
        """Read, unless another thread does; only where nothing is known yet there is reason to wait for it."""
        if not self._lock.acquire(timeout=_TIMEOUT_SECONDS if self._known is None else 0):
            return
        try:
            if time.monotonic() < self._until:
                return
            try:
                self._known = _read(self._url)
            except UnavailableError as error:
                self._known = error
            self._until = time.monotonic() + _KEPT_SECONDS
        finally:
            self._lock.release()


def _read(url: str) -> list[Model]:
    try:
        with _OPENER.open(url, timeout=_TIMEOUT_SECONDS) as answer:
            document = _Document.model_validate_json(answer.read(_MAX_BYTES))
    except (OSError, HTTPException) as error:
        raise UnavailableError(
            "The list of models cannot be read: the watcher beside serving does not answer."
        ) from error
    except ValidationError as error:
        raise UnavailableError(
            "The list of models cannot be read: the watcher's document is not an inventory."
        ) from error
    return sorted(document.models, key=lambda model: model.name)
