"""Which versions of which models are loaded, and the change from one set to the next.

Only one thread calls `configure`, `reconcile` and `close`; any thread and the event loop may call `held`, `status` and
`wait_until_loaded`.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from tensor_serving import layout
from tensor_serving.embedded.config import ModelSettings
from tensor_serving.embedded.errors import ServingError, failed_precondition, invalid, not_found
from tensor_serving.embedded.execution import Runner
from tensor_serving.embedded.servable import Later, Load, Retries, Servable, State

log = logging.getLogger(__name__)

_DRAIN_INTERVAL_S = 0.01  # between two checks for running calls


@dataclass(frozen=True)
class _Live:
    """The versions and labels of a model that can be called now; replaced as a whole, never modified."""

    versions: dict[int, Servable] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


_NOTHING = _Live()


@dataclass(frozen=True)
class _InitialLoad:
    """The first load of a model, for which calls wait while the server is starting."""

    any: "Future[None]" = field(default_factory=Future)
    """Done when a version of the model is available, or none could be loaded."""
    all: "Future[None]" = field(default_factory=Future)
    """Done when each of its versions is available, or could not be loaded."""


class Repository:
    """The loaded models. `load` makes a runner out of a version folder, and raises ServingError when it cannot.

    `later` passes a job to the thread that loads and unloads: the last call of a retired version ends on the event
    loop, which must not wait until the memory is freed.
    """

    def __init__(self, load: Load, later: Later, retries: Retries) -> None:
        self._load, self._later, self._retries = load, later, retries
        self._settings: Mapping[str, ModelSettings] = {}
        self._servables: dict[str, dict[int, Servable]] = {}
        self._live: dict[str, _Live] = {}
        self._logged: set[str] = set()
        self._configured: Future[None] = Future()
        self._initial_loads: dict[str, _InitialLoad] = {}
        self._draining = False

    def configure(self, settings: Mapping[str, ModelSettings]) -> None:
        """Apply these settings from the next reconcile() on, which unloads models that they leave out."""
        self._settings = dict(settings)
        if not self._configured.done():
            self._initial_loads = {name: _InitialLoad() for name in settings}
            self._configured.set_result(None)

    def reconcile(self) -> None:
        """Scan the folders and load and unload what has changed, new before old; a failure affects its model only."""
        logged_before, self._logged = self._logged, set()
        aspired = {name: self._aspired(name) for name in sorted(self._settings.keys() | self._servables.keys())}
        wanted = {name: folders for name, folders in aspired.items() if folders is not None}
        for name, folders in wanted.items():
            known = self._servables.get(name, {})
            fresh = {
                number: Servable(name, number, path, self._retries, self._later)
                for number, path in folders.items()
                if number not in known or known[number].has_moved(path)
            }
            self._servables[name] = known | fresh
        # The newest versions of all models are loaded first, because most calls are for these.
        queue = [(rank, name, n) for name in wanted for rank, n in enumerate(sorted(wanted[name], reverse=True))]
        try:
            for _, name, number in sorted(queue):
                if self._servables[name][number].worth_loading():
                    self._servables[name][number].load(self._load)
                    self._publish(name, wanted[name])
                else:
                    self._servables[name][number].refresh()
            for name, folders in wanted.items():
                self._publish(name, folders)
        finally:
            for initial in self._initial_loads.values():
                _finish(initial.any)
                _finish(initial.all)
        for line in sorted(self._logged - logged_before):
            log.warning("%s", line)

    def next_try(self) -> float:
        """Return the time.monotonic() at which reconcile() should be called for a retry; infinity for none."""
        return min((s.next_try for known in self._servables.values() for s in known.values()), default=float("inf"))

    async def wait_until_loaded(
        self, name: str | None = None, version: int | None = None, label: str | None = None
    ) -> None:
        """Wait, while the server starts, until this model or version is loaded or has failed. Later, return at once.

        A call that arrives during a restart is therefore delayed instead of refused. Without a name, wait only for the
        config. Raises UNAVAILABLE when the server is about to stop.
        """
        if self._draining:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        if not self._configured.done():
            await asyncio.shield(asyncio.wrap_future(self._configured))
        initial = self._initial_loads.get(name) if name is not None else None
        if initial and not initial.all.done():
            wanted = initial.any if version is None and label is None else initial.all
            await asyncio.shield(asyncio.wrap_future(wanted))

    @contextmanager
    def held(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, Runner]]:
        """Hold a version for one call: the one given, the one labelled, or the newest available one. Never blocks.

        Raises ServingError with TF Serving's texts when there is none.
        """
        while True:  # repeated if the version was retired after it was found
            servable = self._find(name, version, label)
            if runner := servable.acquire():
                break
        try:
            yield servable.version, runner
        finally:
            servable.release()

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[Servable]:
        """Return the known versions of a model, including failed and unloaded ones; the newest first.

        Raises ServingError NOT_FOUND when there is none.
        """
        if label is not None:
            version = self._labelled(name, label)
        known = dict(self._servables.get(name, {}))
        if version is not None and version not in known:
            raise not_found(f"Could not find version {version} of model {name}")
        if not known:
            raise not_found(f"Could not find any versions of model {name}")
        return [known[number] for number in sorted(known, reverse=True) if version in (None, number)]

    def names(self) -> set[str]:
        """Return the models of the current settings."""
        return set(self._settings)

    def check_labels(self, settings: Mapping[str, ModelSettings]) -> None:
        """Raise FAILED_PRECONDITION when a label of these settings names a version that is not available now."""
        for name, model in settings.items():
            for number in model.labels.values():
                if number not in self._live.get(name, _NOTHING).versions:
                    raise failed_precondition(_unassignable(name, number))

    def check_available(self, names: set[str]) -> None:
        """Raise UNKNOWN, with the reasons, when one of these models has no available version."""
        missing = sorted(name for name in names if not self._live.get(name, _NOTHING).versions)
        if missing:
            reasons = "".join(self._why(name) for name in missing)
            text = f"{len(missing)} model(s) did not become available: {{{reasons}}}"
            raise ServingError(grpc.StatusCode.UNKNOWN, text)

    async def drain(self, seconds: float) -> None:
        """Accept no new calls; return when those in flight have ended, or when the time is over."""
        self._draining = True
        deadline = time.monotonic() + seconds
        while any(s.busy() for known in list(self._servables.values()) for s in known.values()):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(_DRAIN_INTERVAL_S)

    def close(self) -> None:
        """Unload everything; versions with calls in flight are unloaded when those end."""
        self.configure({})
        self.reconcile()

    def _find(self, name: str, version: int | None, label: str | None) -> Servable:
        live = self._live.get(name, _NOTHING)
        if label is not None:
            version = self._labelled(name, label)
        versions = live.versions
        if not versions or version not in (None, *versions):
            # GetModelStatus reports AVAILABLE as soon as a version is loaded, a moment before it is published here.
            known = dict(self._servables.get(name, {}))
            versions = {number: servable for number, servable in known.items() if servable.state is State.AVAILABLE}
        if version is None and versions:
            return versions[max(versions)]
        if version is None or version not in versions:
            request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise not_found(f"Servable not found for request: {request}")
        return versions[version]

    def _labelled(self, name: str, label: str) -> int:
        labels = self._live.get(name, _NOTHING).labels
        if label not in labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        return labels[label]

    def _aspired(self, name: str) -> dict[int, Path] | None:
        """Return the folders of the wanted versions; None if they cannot be read now, so that nothing changes."""
        settings = self._settings.get(name)
        if not settings:
            return {}
        try:
            folders = layout.version_folders(settings.base_path)
        except OSError as error:
            self._logged.add(f"{name}: base path {settings.base_path} cannot be read: {error.strerror}")
            return None
        chosen = settings.policy.choose(folders)
        if not chosen:
            self._logged.add(f"{name}: no version to serve under {settings.base_path}")
        return {number: folders[number] for number in chosen}

    def _publish(self, name: str, folders: Mapping[int, Path]) -> None:
        """Route calls to the versions that are available now, then retire those that are no longer wanted."""
        known = self._servables[name]
        ready = any(known[number].state is State.AVAILABLE for number in folders)
        # Unwanted versions are served until a wanted one is available.
        retired = known.keys() - folders.keys() if ready or not folders else set()
        versions = {n: s for n, s in known.items() if s.state is State.AVAILABLE and n not in retired}
        self._live[name] = _Live(versions, self._labels(name, versions))
        for number in retired:
            known[number].retire()
        if initial := self._initial_loads.get(name):
            tried = all(known[number].state is not State.START for number in folders)
            if versions or tried:
                _finish(initial.any)
            if tried:
                _finish(initial.all)

    def _labels(self, name: str, versions: dict[int, Servable]) -> dict[str, int]:
        """Return the labels of available versions; a label keeps its old version until the new one is available."""
        settings = self._settings.get(name)
        before = self._live.get(name, _NOTHING).labels
        labels = {}
        for label, number in (settings.labels if settings else {}).items():
            if number not in versions:
                self._logged.add(f"{name}: {_unassignable(name, number)}")
                number = before.get(label, number)
            if number in versions:
                labels[label] = number
        return labels

    def _why(self, name: str) -> str:
        """Return why a model has no available version, in TF Serving's form."""
        failed = {n: s.failure for n, s in self._servables.get(name, {}).items() if s.failure}
        if failed:
            newest = max(failed)
            what, error = f"name: {name} version: {newest}", failed[newest]
        else:  # in this case TF Serving waits for ever
            base = self._settings[name].base_path
            what, error = f"name: {name}", not_found(f"No versions of servable {name} found under base path {base}")
        return "{{" + what + "} due to error: " + f"{error.code.name}: {error.text}" + "}, "


def _finish(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _unassignable(name: str, number: int) -> str:
    return (
        f"Request to assign label to version {number} of model {name}, which is not currently available for inference"
    )
