"""The list of models, which TensorFlow Serving's API lacks: read from the watcher that runs beside it."""

import urllib.request
from http.client import HTTPException

from pydantic import BaseModel, Field, ValidationError

from .errors import UnavailableError

_TIMEOUT_SECONDS = 2.0
_MAX_BYTES = 4 << 20
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a neighbour, whatever http_proxy says


class Quarantined(BaseModel):
    """A version that is not served, and why."""

    version: int
    reason: str


class Model(BaseModel):
    """One model on the volume: the versions listed for serving, labels such as stable, and what is left out."""

    name: str
    versions: list[int] = Field(default_factory=list)
    labels: dict[str, int] = Field(default_factory=dict)
    quarantined: list[Quarantined] = Field(default_factory=list)


class _Document(BaseModel):
    models: list[Model]


def read(url: str) -> list[Model]:
    """The models at the watcher's `url`, sorted by name. Raises UnavailableError for no or no sensible answer."""
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
