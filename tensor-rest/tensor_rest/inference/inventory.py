"""The list of models, which TensorFlow Serving's API lacks: read from the watcher that runs beside it.

The last list that could be read is kept while the watcher does not answer. Requests find their default version with
`known`, which waits for the watcher only if nothing has been read for a while.
"""

import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException

from pydantic import BaseModel, Field, ValidationError

from tensor_rest.errors import UnavailableError

STABLE = "stable"
"""The label of the version that answers requests which name neither a version nor a label."""

_TIMEOUT_SECONDS = 2.0
_KEPT_SECONDS = 1.0  # what was read holds so long
_STALE_SECONDS = 5.0  # after these a list is too old to answer with: labels may have moved in an idle gateway
_MAX_BYTES = 4 << 20
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a neighbour, without http_proxy


class Quarantined(BaseModel):
    """A version that is not served, and why."""

    version: int
    reason: str


class Ignored(BaseModel):
    """A folder on the volume that is nearly a model: why it is not one, and the command that makes it one."""

    path: str
    reason: str
    fix: str = ""


class Model(BaseModel):
    """One model on the volume: its sound versions, those served, labels such as stable, and what is left out.

    `independent_rows` is the operator's setting; None if there is none.
    """

    name: str
    versions: list[int] = Field(default_factory=list)
    serving: list[int] = Field(default_factory=list)
    labels: dict[str, int] = Field(default_factory=dict)
    quarantined: list[Quarantined] = Field(default_factory=list)
    independent_rows: bool | None = None

    @property
    def newest(self) -> int | None:
        """The newest version that is served, or meant to be; None if there is none, or it is not known."""
        return max(self.serving or self.versions, default=None)

    @property
    def stable(self) -> int | None:
        """The version labelled `stable`, if it is served."""
        version = self.labels.get(STABLE)
        return version if version in self.serving else None

    @property
    def default_version(self) -> int | None:
        """The version that answers a request without version and label: the stable one, else the newest."""
        return self.stable or self.newest


class _Document(BaseModel):
    models: list[Model]
    ignored: list[Ignored] = Field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """What the watcher listed last, sorted by name; `problem`: why it cannot be read now, "" if it can."""

    models: list[Model] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    problem: str = ""

    @cached_property
    def by_name(self) -> Mapping[str, Model]:
        """The models by name."""
        return {model.name: model for model in self.models}

    @cached_property
    def stable(self) -> frozenset[str]:
        """The models with a served version labelled `stable`."""
        return frozenset(model.name for model in self.models if model.stable is not None)


class Inventory:
    """What the watcher at `url` lists, read once a second at most, by one thread at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._known: Listing | None = None
        self._until = 0.0
        self._refreshing = False  # in the background

    def read(self) -> Listing:
        """The list as of a second ago. Waits for the watcher, unless another thread already does."""
        if time.monotonic() >= self._until:
            self._refresh()
        return self._known or Listing(
            problem="The list of models cannot be read: the watcher beside serving is slow to answer."
        )

    def known(self) -> Listing:
        """The list as it was last read; one older than a second is refreshed in the background.

        Waits for the watcher, 2 seconds at most, at the first call and at one after a pause of some seconds.
        """
        found, age = self._known, time.monotonic() - self._until
        if found is None or age >= _STALE_SECONDS:
            self._refresh(wait=True)
            return self.read()
        if age >= 0 and not self._refreshing:
            self._refreshing = True
            threading.Thread(target=self._refresh_behind, name="inventory", daemon=True).start()
        return found

    def independent_rows(self, model: str) -> bool | None:
        """The operator's setting for a model: whether its rows are independent; None if there is none."""
        entry = self.known().by_name.get(model)
        return None if entry is None else entry.independent_rows

    def _refresh_behind(self) -> None:
        try:
            self._refresh()
        finally:
            self._refreshing = False

    def _refresh(self, *, wait: bool = False) -> None:
        """Read, unless another thread does; `wait` for that one, as is done where nothing is known yet."""
        if not self._lock.acquire(timeout=_TIMEOUT_SECONDS if wait or self._known is None else 0):
            return
        try:
            if time.monotonic() < self._until:
                return
            try:
                self._known = _read(self._url)
            except UnavailableError as error:
                last = self._known or Listing()
                self._known = Listing(last.models, last.ignored, str(error))
            self._until = time.monotonic() + _KEPT_SECONDS
        finally:
            self._lock.release()


def _read(url: str) -> Listing:
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
    return Listing(sorted(document.models, key=lambda model: model.name), document.ignored)
