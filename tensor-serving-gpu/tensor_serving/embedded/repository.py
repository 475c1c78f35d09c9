"""Which versions of which models are loaded, and the change from one set to the next.

One thread changes (`follow`, `reconcile`, `close`); any number of threads ask (`use`, `status`).
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tensor_serving import layout
from tensor_serving.embedded.config import ModelSettings
from tensor_serving.embedded.errors import invalid, not_found
from tensor_serving.embedded.runtime import Model
from tensor_serving.embedded.servable import Load, Servable, State

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Live:
    """What of a model takes calls at this moment; replaced as a whole, never changed."""

    versions: dict[int, Servable] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


class Repository:
    """The loaded models. `load` makes a model out of a version folder, and raises ServingError when it cannot."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._settings: Mapping[str, ModelSettings] = {}
        self._servables: dict[str, dict[int, Servable]] = {}
        self._live: dict[str, _Live] = {}
        self._said: set[str] = set()

    def follow(self, settings: Mapping[str, ModelSettings]) -> None:
        """Take these settings from the next reconcile() on; models they leave out are unloaded by it."""
        self._settings = dict(settings)

    def reconcile(self) -> None:
        """Look at the folders and load and unload what has changed: new before old, one model's trouble its own."""
        said, self._said = self._said, set()
        for name in sorted(self._settings.keys() | self._servables.keys()):
            folders = self._aspired(name)
            if folders is not None:
                self._reconcile(name, folders)
        for line in sorted(self._said - said):
            log.warning("%s", line)

    @contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, Model]]:
        """Hold a version for one call: the one given, the one labelled, or the newest available one.

        Raises ServingError with the real server's texts when there is none.
        """
        while True:
            servable = self._find(name, version, label)
            if model := servable.acquire():
                break
        try:
            yield servable.version, model
        finally:
            servable.release()

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[Servable]:
        """Return the versions known of a model, also those that failed or were unloaded; the newest first.

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

    def close(self) -> None:
        """Unload everything; calls under way end first."""
        self.follow({})
        self.reconcile()

    def _find(self, name: str, version: int | None, label: str | None) -> Servable:
        live = self._live.get(name, _Live())
        if label is not None:
            version = self._labelled(name, label)
        if version is None and live.versions:
            return live.versions[max(live.versions)]
        if version is None or version not in live.versions:
            request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise not_found(f"Servable not found for request: {request}")
        return live.versions[version]

    def _labelled(self, name: str, label: str) -> int:
        labels = self._live.get(name, _Live()).labels
        if label not in labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        return labels[label]

    def _aspired(self, name: str) -> dict[int, Path] | None:
        """Return the folders of the versions wanted; None when that cannot be told now, so that all stays as it is."""
        settings = self._settings.get(name)
        if not settings:
            return {}
        try:
            folders = layout.version_folders(settings.base_path)
        except OSError as error:
            self._said.add(f"{name}: base path {settings.base_path} cannot be read: {error.strerror}")
            return None
        chosen = settings.policy.choose(folders)
        if not chosen:
            self._said.add(f"{name}: no version to serve under {settings.base_path}")
        return {number: folders[number] for number in chosen}

    def _reconcile(self, name: str, folders: dict[int, Path]) -> None:
        known = self._servables.setdefault(name, {})
        fresh = {number: Servable(name, number, path) for number, path in folders.items() if number not in known}
        self._servables[name] = known = known | fresh
        for number in sorted(folders, reverse=True):
            if known[number].worth_loading():
                known[number].load(self._load)
                self._publish(name)
        ready = {number for number in folders if known[number].state is State.AVAILABLE}
        if ready or not folders:  # what is served goes on being served until something wanted can take over
            self._publish(name, leave=known.keys() - folders.keys())
        else:
            self._publish(name)

    def _publish(self, name: str, leave: "set[int] | frozenset[int]" = frozenset()) -> None:
        """Send calls to what is available now, and after that let go of the versions to leave."""
        known = self._servables[name]
        versions = {n: s for n, s in known.items() if s.state is State.AVAILABLE and n not in leave}
        self._live[name] = _Live(versions, self._labels(name, versions))
        for number in leave:
            known[number].retire()

    def _labels(self, name: str, versions: dict[int, Servable]) -> dict[str, int]:
        """Return the labels that point at available versions; one that is to move stays until it can."""
        settings = self._settings.get(name)
        before = self._live.get(name, _Live()).labels
        labels = {}
        for label, number in (settings.labels if settings else {}).items():
            if number not in versions:
                self._said.add(
                    f"{name}: Request to assign label to version {number} of model {name}, "
                    "which is not currently available for inference"
                )
                number = before.get(label, number)
            if number in versions:
                labels[label] = number
        return labels
