"""The list of models, which TensorFlow Serving's API lacks: read from the watcher that runs beside it.

The last list that could be read is kept while the watcher does not answer. Requests find their default version with
`known`, which waits for the watcher only if nothing has been read for a while. Each of several model servers has its
own watcher, and all lists are read at the same time (replicas.py).
"""

import threading
import time
import urllib.request
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPException

from pydantic import ValidationError

from tensor_rest.backend import Address, Addresses
from tensor_rest.errors import UnavailableError, without_frames
from tensor_rest.inference.listing import Document, Listing, Model
from tensor_rest.inference.replicas import Replicas

_TIMEOUT_SECONDS = 2.0
_KEPT_SECONDS = 1.0  # after which a list is read again
_STALE_SECONDS = 5.0  # older lists are not used, as after a pause without requests: labels may have moved
_MAX_BYTES = 4 << 20
_READERS = 32  # lists that are read at once
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # without a proxy, whatever http_proxy says


class Inventory:
    """What the watcher at `url` lists, read once a second at most, by one thread at a time.

    Where each of the model servers' `addresses` has a watcher, all of them are read.
    """

    def __init__(self, url: str, addresses: Addresses | None = None) -> None:
        self._url = url
        self._addresses = addresses
        self._replicas = Replicas()
        self._read_of: frozenset[Address] = frozenset()  # the addresses at the time of the last read
        self._lock = threading.Lock()
        self._known: Listing | None = None
        self._until = 0.0
        self._refreshing = False  # in the background

    def read(self) -> Listing:
        """Return the list, at most a second old. Waits for the watcher, unless another thread already does."""
        if time.monotonic() >= self._until:
            self._refresh()
        return self._known or Listing(
            problem="The list of models cannot be read: the watcher beside serving is slow to answer."
        )

    def known(self) -> Listing:
        """The list as it was last read; one older than a second is refreshed in the background.

        Waits for the watcher, 2 seconds at most, at the first call and when the list is some seconds old.
        """
        if self._addresses and self._addresses.inventories().keys() != self._read_of:
            self.expire()
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

    def having(self, model: str, version: int | None) -> Collection[Address] | None:
        """Return the model servers that have a version of a model (None: any); None: no preference."""
        listing = self._known
        if listing is None:
            return None
        return listing.having.get((model, version)) or listing.replicas or None

    def expire(self) -> None:
        """Mark the list as outdated: the next call of `known` reads it again in the background."""
        self._until = min(self._until, time.monotonic())

    def _refresh_behind(self) -> None:
        try:
            self._refresh()
        finally:
            self._refreshing = False

    def _refresh(self, *, wait: bool = False) -> None:
        """Read the list, unless another thread does.

        If `wait` is true or no list is known, wait for that thread, at most `_TIMEOUT_SECONDS`.
        """
        if not self._lock.acquire(timeout=_TIMEOUT_SECONDS if wait or self._known is None else 0):
            return
        try:
            if time.monotonic() < self._until:
                return
            try:
                self._known = self._read()
            except UnavailableError as error:
                self._known = replace(self._known or Listing(), problem=str(error))
            self._until = time.monotonic() + _KEPT_SECONDS
        finally:
            self._lock.release()

    def _read(self) -> Listing:
        urls = self._addresses.inventories() if self._addresses else {}
        self._read_of = frozenset(urls)
        if len(urls) < 2:
            self._replicas = Replicas()
            document = _read(next(iter(urls.values()), self._url))
            return Listing(_sorted(document), document.ignored, replicas=frozenset(urls))
        return self._replicas.merge(_read_all(urls))


def _sorted(document: Document) -> list[Model]:
    return sorted(document.models, key=lambda model: model.name)


def _read_all(urls: Mapping[Address, str]) -> dict[Address, Document | None]:
    """Return the list of each address, None if it cannot be read. Raises UnavailableError if none can be read."""
    errors = []

    def read(url: str) -> Document | None:
        try:
            return _read(f"{url}?available")
        except UnavailableError as error:
            errors.append(without_frames(error))
            return None

    with ThreadPoolExecutor(min(len(urls), _READERS), "inventories") as pool:
        found = dict(zip(urls, pool.map(read, urls.values()), strict=True))
    if not any(found.values()):
        raise errors[0]
    return found


def _read(url: str) -> Document:
    try:
        with _OPENER.open(url, timeout=_TIMEOUT_SECONDS) as answer:
            return Document.model_validate_json(answer.read(_MAX_BYTES))
    except (OSError, HTTPException) as error:
        raise UnavailableError(
            "The list of models cannot be read: the watcher beside serving does not answer."
        ) from error
    except ValidationError as error:
        raise UnavailableError(
            "The list of models cannot be read: the watcher's document is not an inventory."
        ) from error
