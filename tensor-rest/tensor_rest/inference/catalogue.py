"""Which models there are: by the watcher's list, or by what this process knows while no watcher answers."""

import math
import time
from dataclasses import asdict
from typing import Any

from tensor_rest.backend import ModelServer, VersionState
from tensor_rest.errors import ApiError, NotFoundError
from tensor_rest.inference.inventory import Inventory
from tensor_rest.inference.listing import STABLE, Ignored, Model
from tensor_rest.inference.metadata import MetadataCache, ModelMetadata, Target

_AGAIN_SECONDS = 60.0  # after which the grace for a listed model that is missing starts again


class Catalogue:
    """Lists and describes models. `default_model` is listed also while no list can be read.

    `grace` is how many seconds to wait for a model that the watcher lists and the model server does not know.
    """

    def __init__(
        self, server: ModelServer, metadata_cache: MetadataCache, listed: Inventory, default_model: str, grace: float
    ) -> None:
        self._server = server
        self._metadata_cache = metadata_cache
        self._inventory = listed
        self._default_model = default_model
        self._grace = grace
        self._missing: dict[str, float] = {}  # since when models are missing that the watcher lists

    def resolve(self, target: Target) -> Target:
        """Return the target with its default filled in: label `stable` if neither version nor label is named.

        The target is returned unchanged where the inventory lists no such label, or its version is not served.

        Uses `Inventory.known`, which rarely waits. The model server itself looks up the label, so that a moved label
        takes effect at once. Several model servers may resolve it to different versions, so there the target is the
        version that all of them have. Raises NotFoundError for a label that they do not have.
        """
        if target.version is not None:
            return target
        listing = self._inventory.known()
        entry = listing.by_name.get(target.model)
        if listing.several and entry is not None and entry.serving:
            version = entry.default_version if target.label is None else entry.labels.get(target.label)
            if version is None:
                raise self.missing(target)
            return Target(target.model, version)
        if target.label is None and target.model in listing.stable:
            return Target(target.model, label=STABLE)
        return target

    def numbered(self, target: Target) -> Target:
        """Return the target with the version number that the watcher lists for its label, None if it lists none."""
        entry = self._inventory.known().by_name.get(target.model)
        version = entry.labels.get(target.label or "") if entry else None
        return Target(target.model, version=version)

    def models(self) -> dict[str, Any]:
        """Every model with its versions and their states; `serving` and `inventory`: whether those two answer."""
        entries, missing, ignored = self._listed()
        problem = ""
        try:
            states = [self.states(entry.name) for entry in entries]
            self.check()
        except ApiError as error:
            states, problem = [[] for _ in entries], str(error)
        return {
            "models": [_summary(entry, versions) for entry, versions in zip(entries, states, strict=True)],
            "ignored": [folder.model_dump() for folder in ignored],
            "serving": {"ready": not problem, "message": problem},
            "inventory": {"ready": not missing, "message": missing},
        }

    def describe(self, name: str, metadata: ModelMetadata) -> dict[str, Any]:
        """One model in full: versions, states, labels, quarantine; signatures and card of its default version."""
        entries = [entry for entry in self.entries()[0] if entry.name == name]
        entry = entries[0] if entries else Model(name=name)
        summary = _summary(entry, self.states(name)) | {"default_version": metadata.version}
        return {**summary, "default": metadata.document()}

    def check(self) -> None:
        """Raise UnavailableError or DeadlineError unless the model server answers, whatever it serves."""
        self._states(self._default_model)

    def merged_states(self, target: Target) -> list[VersionState] | None:
        """Return the versions of several model servers: AVAILABLE if all have it. None for a single model server.

        Raises NotFoundError for a version or label that they do not have.
        """
        listing = self._inventory.known()
        entry = listing.by_name.get(target.model) if listing.several else None
        if entry is None:
            return None
        states = dict.fromkeys(entry.loading, "LOADING") | dict.fromkeys(entry.serving, "AVAILABLE")
        if target.version is not None or target.label is not None:
            version = entry.labels.get(target.label or "") if target.version is None else target.version
            states = {number: state for number, state in states.items() if number == version}
            if not states:
                raise self.missing(target)
        return [VersionState(version, states[version], "") for version in sorted(states)]

    def states(self, model: str) -> list[VersionState]:
        """The versions that the model servers know of; none for a model they do not know."""
        merged = self.merged_states(Target(model))
        return self._states(model) if merged is None else merged

    def entries(self) -> tuple[list[Model], str]:
        """The models, and why the list cannot be read now ("" if it can)."""
        return self._listed()[:2]

    def may_be_loading(self, target: Target) -> bool:
        """Whether a target that the model server does not know may still be loading, because the watcher lists it.

        True for the length of the grace after the first such answer.
        """
        entry = self._inventory.known().by_name.get(target.model)
        if entry is None:
            return False
        version = entry.labels.get(target.label, -1) if target.label is not None else target.version
        listed = {*entry.serving, *entry.loading}
        if not listed or (version is not None and version not in listed):
            return False
        self._inventory.expire()  # each of several model servers loads it at its own time
        now = time.monotonic()
        since = self._missing.get(target.model, -math.inf)
        if now - since > _AGAIN_SECONDS + self._grace:
            self._missing[target.model] = since = now
        return now - since < self._grace

    def mark_found(self, target: Target) -> None:
        """Record that a missing target answers now: if it is missing again, a new grace starts."""
        self._missing.pop(target.model, None)

    def missing(self, target: Target) -> NotFoundError:
        """Return the error for a target that is not served; it names what is served."""
        entries, unknown = self.entries()
        if target[1:] == (None, None):
            names = [entry.name for entry in entries if entry.versions]
            served = "" if unknown else f" Served now: {', '.join(names) or 'none'}."
            return NotFoundError(f"{target} is not served.{served}")
        versions = [str(state.version) for state in self.states(target.model) if state.state == "AVAILABLE"]
        labels = [
            f"{label} ({entry.labels[label]})"
            for entry in entries
            if entry.name == target.model
            for label in sorted(entry.labels)
        ]
        served = f" Its versions: {', '.join(versions) or 'none'}; labels: {', '.join(labels) or 'none known'}."
        return NotFoundError(f"{target} is not served.{served}")

    def _listed(self) -> tuple[list[Model], str, list[Ignored]]:
        """The models, why the list cannot be read now, and folders that are nearly models.

        While the list cannot be read: the last one, plus the models this process knows by itself.
        """
        listing = self._inventory.read()
        if not listing.problem:
            return listing.models, "", listing.ignored
        names = {self._default_model, *self._metadata_cache.models()} - listing.by_name.keys()
        entries = [*listing.models, *(Model(name=name) for name in names)]
        return sorted(entries, key=lambda entry: entry.name), listing.problem, listing.ignored

    def _states(self, model: str) -> list[VersionState]:
        """The versions the server knows of; none for a model it does not know."""
        try:
            return self._server.status(model)
        except NotFoundError:
            return []


def _summary(entry: Model, states: list[VersionState]) -> dict[str, Any]:
    available = [state.version for state in states if state.state == "AVAILABLE"]
    return {
        "name": entry.name,
        "ready": bool(available),
        "versions": [asdict(state) for state in states],
        "default_version": entry.stable or max(available, default=entry.default_version),
        "labels": entry.labels,
        "independent_rows": entry.independent_rows,
        "quarantined": [item.model_dump() for item in entry.quarantined],
    }
