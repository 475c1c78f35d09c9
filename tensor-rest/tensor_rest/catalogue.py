"""Which models there are: the watcher's list where one answers, what this process knows by itself where none does."""

from dataclasses import asdict
from typing import Any

from . import inventory
from .errors import ApiError, NotFoundError
from .models import Profile, Profiles, Target
from .serving import ModelServer, VersionState


class Catalogue:
    """Lists and describes models. `default_model` is the one that is always looked for."""

    def __init__(self, server: ModelServer, profiles: Profiles, inventory_url: str, default_model: str) -> None:
        self._server = server
        self._profiles = profiles
        self._inventory = inventory.Inventory(inventory_url)
        self._default_model = default_model

    def models(self) -> dict[str, Any]:
        """Every model with its versions and their states; `serving` and `inventory` say whether those two answer."""
        entries, missing = self.entries()
        problem = ""
        try:
            states = [self._states(entry.name) for entry in entries]
            self.check()
        except ApiError as error:
            states, problem = [[] for _ in entries], str(error)
        return {
            "models": [_summary(entry, versions) for entry, versions in zip(entries, states, strict=True)],
            "serving": {"ready": not problem, "message": problem},
            "inventory": {"ready": not missing, "message": missing},
        }

    def describe(self, name: str, profile: Profile) -> dict[str, Any]:
        """One model in full: versions, states, labels, quarantine; signatures and card of the newest version."""
        entries = [entry for entry in self.entries()[0] if entry.name == name]
        entry = entries[0] if entries else inventory.Model(name=name)
        return {**_summary(entry, self._states(name)), "newest": profile.document()}

    def check(self) -> None:
        """Return if the model server answers, whatever it serves. Raises UnavailableError or DeadlineError."""
        self._states(self._default_model)

    def entries(self) -> tuple[list[inventory.Model], str]:
        """The listed models and "", or those this process knows by itself and why there is no list."""
        try:
            return self._inventory.models(), ""
        except ApiError as error:
            names = sorted({self._default_model, *self._profiles.models()})
            return [inventory.Model(name=name) for name in names], str(error)

    def missing(self, target: Target) -> NotFoundError:
        """The error for a target that is not served, naming what is."""
        entries, unknown = self.entries()
        if target[1:] == (None, None):
            names = [entry.name for entry in entries if entry.versions]
            served = "" if unknown else f" Served now: {', '.join(names) or 'none'}."
            return NotFoundError(f"{target} is not served.{served}")
        versions = [str(state.version) for state in self._states(target.model) if state.state == "AVAILABLE"]
        labels = [
            f"{label} ({entry.labels[label]})"
            for entry in entries
            if entry.name == target.model
            for label in sorted(entry.labels)
        ]
        served = f" Its versions: {', '.join(versions) or 'none'}; labels: {', '.join(labels) or 'none known'}."
        return NotFoundError(f"{target} is not served.{served}")

    def _states(self, model: str) -> list[VersionState]:
        """The versions the server knows of; none for a model it does not know."""
        try:
            return self._server.status(model)
        except NotFoundError:
            return []


def _summary(entry: inventory.Model, states: list[VersionState]) -> dict[str, Any]:
    return {
        "name": entry.name,
        "ready": any(state.state == "AVAILABLE" for state in states),
        "versions": [asdict(state) for state in states],
        "labels": entry.labels,
        "quarantined": [item.model_dump() for item in entry.quarantined],
    }
