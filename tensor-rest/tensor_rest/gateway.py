"""What the gateway does, whatever the door: classify a picture, list and describe models, say if serving answers."""

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from . import inventory, models
from .errors import ApiError, BadGatewayError, NotFoundError
from .models import Profile
from .pictures import decode
from .serving import ModelServer, Prediction, VersionState
from .settings import Settings

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Answer:
    """Labels with their scores, best first, and the version that gave them."""

    model: str
    version: int
    ranking: list[tuple[str, float]]


class Gateway:
    """One per process. Keeps the profile of each model's newest version; every answer of serving says which that is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = ModelServer(settings.server, settings.timeout_seconds)
        self._profiles: dict[str, Profile] = {}

    def classify(self, model: str, picture: bytes) -> Answer:
        """Labels and scores for a picture file. Raises the ApiError that fits what went wrong."""
        _check_name(model)
        decoded = decode(picture, self._settings.max_pixels)
        known = self._profiles.get(model)
        profile = known or self._profile(model)
        try:
            prediction = self._predict(profile, decoded)
        except ApiError as error:
            if known is None or error.status not in (400, 404, 409):
                raise
            prediction = None  # perhaps another version answers now, with another signature
        if prediction is None or prediction.version != profile.version:
            profile = self._profile(model)
            prediction = self._predict(profile, decoded, pinned=True)
        return Answer(model, profile.version, _ranking(profile, prediction))

    def models(self) -> dict[str, Any]:
        """Every model with its versions and their states; `serving` and `inventory` say whether those two answer."""
        entries, missing = self._inventory()
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

    def model(self, name: str) -> dict[str, Any]:
        """One model in full: versions, states, labels, quarantine; signatures and card of the newest version."""
        _check_name(name)
        profile = self._profile(name)
        entries = [entry for entry in self._inventory()[0] if entry.name == name]
        entry = entries[0] if entries else inventory.Model(name=name)
        return {**_summary(entry, self._states(name)), "newest": profile.document()}

    def check(self) -> None:
        """Return if the model server answers, whatever it serves. Raises UnavailableError or DeadlineError."""
        self._states(self._settings.default_model)

    def _predict(self, profile: Profile, picture: Image.Image, *, pinned: bool = False) -> Prediction:
        """Ask the newest version, or the profile's own where `pinned`."""
        version = profile.version if pinned else None
        outputs = [profile.scores_output()]
        return self._server.predict(profile.model, profile.inputs(picture), version=version, outputs=outputs)

    def _profile(self, model: str) -> Profile:
        """The newest version's profile, asked for once per version. NotFoundError names what is served instead."""
        try:
            profile = models.load(self._server, model)
        except NotFoundError as error:
            self._profiles.pop(model, None)
            raise NotFoundError(f"Model {model!r} is not served.{self._served()}") from error
        self._profiles[model] = profile
        return profile

    def _served(self) -> str:
        entries, missing = self._inventory()
        names = [entry.name for entry in entries if entry.versions]
        return "" if missing else f" Served now: {', '.join(names) or 'none'}."

    def _inventory(self) -> tuple[list[inventory.Model], str]:
        """The listed models and "", or those this process knows by itself and why there is no list."""
        try:
            return inventory.read(str(self._settings.inventory_url)), ""
        except ApiError as error:
            names = sorted({self._settings.default_model, *self._profiles})
            return [inventory.Model(name=name) for name in names], str(error)

    def _states(self, model: str) -> list[VersionState]:
        """The versions the server knows of; none for a model it does not know."""
        try:
            return self._server.status(model)
        except NotFoundError:
            return []


def _check_name(model: str) -> None:
    if not MODEL_NAME.fullmatch(model):
        raise NotFoundError(
            f"{model[:80]!r} cannot be a model: names are lower-case letters, digits, '.', '_' and '-'."
        )


def _ranking(profile: Profile, prediction: Prediction) -> list[tuple[str, float]]:
    """Labels with scores, best first. Raises BadGatewayError for an answer that is no row of finite scores."""
    scores = prediction.outputs.get(profile.scores_output())
    if scores is None or scores.ndim != 2 or len(scores) != 1 or not np.isfinite(scores).all():
        found = "nothing" if scores is None else f"shape {scores.shape}"
        raise BadGatewayError(f"Model {profile.model!r} answered {found}; wanted one row of finite scores.")
    labels = profile.labels(scores.shape[1])
    return [(labels[index], float(scores[0, index])) for index in np.argsort(-scores[0], kind="stable")]


def _summary(entry: inventory.Model, states: list[VersionState]) -> dict[str, Any]:
    return {
        "name": entry.name,
        "ready": any(state.state == "AVAILABLE" for state in states),
        "versions": [asdict(state) for state in states],
        "labels": entry.labels,
        "quarantined": [item.model_dump() for item in entry.quarantined],
    }
