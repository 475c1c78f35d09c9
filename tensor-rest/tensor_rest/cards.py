"""The card: the JSON document a self-contained model answers through its `describe` signature."""

import json
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import BadGatewayError
from .glyphs import Centering, Polarity
from .serving import ModelServer

Range = Literal["0..255", "0..1", "-1..1"]

MAX_SIDE = 4096
"""Pixels a model may ask for in height or width."""


class CardInput(BaseModel):
    """The picture a model was trained on."""

    height: int | None = Field(default=None, ge=1, le=MAX_SIDE)
    width: int | None = Field(default=None, ge=1, le=MAX_SIDE)
    channels: Literal[1, 3] | None = None
    polarity: Polarity | None = None
    centering: Centering = "none"
    range: Range | None = None
    """Of the levels the model takes; None: 0..255 for uint8, 0..1 for float32."""


class Card(BaseModel):
    """The fields of a card the gateway acts on; all others are passed on as they are."""

    model_config = ConfigDict(extra="allow")

    labels: list[str] = []
    """The names of the scores; none: their indices, as for a model that answers no card."""

    input: CardInput = CardInput()

    scores: Literal["probabilities", "logits"] | None = None
    """What the scores are; None: logits if the output's name says so, else taken as they are."""


def ask(server: ModelServer, model: str, version: int) -> Card:
    """The card of a version that has the signature `describe`. Raises BadGatewayError for one that is not valid."""
    answer = server.predict(model, {"index": np.zeros(1, np.int32)}, version=version, signature="describe")
    try:
        return Card.model_validate(json.loads(answer.outputs["card"].ravel()[0]))
    except (ValidationError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise BadGatewayError(f"The card of model {model!r} version {version} is not valid: {error}") from error
