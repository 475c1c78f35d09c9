"""The card: the JSON document a self-contained model returns through its `describe` signature.

A model whose `describe` has another form, or returns no valid card, is served without a card.
"""

import datetime
import json
import logging
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tensor_rest.backend import ModelServer
from tensor_rest.backend.batching import SHARED_STATUS
from tensor_rest.backend.protos.serving_pb2 import DataType, SignatureDef, TensorInfo
from tensor_rest.errors import ApiError
from tensor_rest.images.preprocess import Centering, Polarity

log = logging.getLogger(__name__)

SIGNATURE = "describe"

Range = Literal["0..255", "0..1", "-1..1"]

MAX_SIDE = 4096
"""Maximum height or width of a model's input, in pixels."""

_MAX_PROBLEM = 500  # characters


class CardInput(BaseModel):
    """The images a model was trained on."""

    height: int | None = Field(default=None, ge=1, le=MAX_SIDE)
    width: int | None = Field(default=None, ge=1, le=MAX_SIDE)
    channels: Literal[1, 3] | None = None
    polarity: Polarity | None = None
    centering: Centering = "none"
    range: Range | None = None
    """What black and white become in the model's input; None: 0..255 for uint8, 0..1 for float32."""


class Card(BaseModel):
    """The fields of a card the gateway acts on; all others are passed on as they are."""

    model_config = ConfigDict(extra="allow")

    labels: list[str] = []
    """The names of the scores; none: their indices, as for a model that answers no card."""

    input: CardInput = CardInput()

    independent_rows: bool = False
    """Whether each row of the outputs depends on its own row of the inputs only: such rows may share calls."""

    scores: Literal["probabilities", "logits"] | None = None
    """What the scores are; None: logits if the output's name contains `logits`, else unknown and left as they are."""

    @property
    def created_at(self) -> float:
        """When the version was made, seconds of Unix time; 0 if the card has no valid `created`."""
        try:
            created = str((self.model_extra or {})["created"])
            return datetime.datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp()  # Z: from Python 3.11
        except (LookupError, ValueError, OverflowError):
            return 0.0


class Found(NamedTuple):
    """A version's card, or None; `problem`: why its `describe`, of the right form, returned no valid card."""

    card: Card | None
    problem: str = ""


def find(server: ModelServer, model: str, version: int, signatures: Mapping[str, SignatureDef]) -> Found:
    """The card of a version with these signatures. Raises ApiError only while the model server cannot answer."""
    definition = signatures.get(SIGNATURE)
    if definition is None or not _is_ours(definition):
        return Found(None)
    try:
        answer = server.predict(model, {"index": np.zeros(1, np.int32)}, version=version, signature=SIGNATURE)
        return Found(Card.model_validate(json.loads(answer.outputs["card"].ravel()[0])))
    except ApiError as error:
        if error.status in SHARED_STATUS:  # a temporary failure of the call says nothing about the card
            raise
        problem = str(error)
    except (ValidationError, ValueError, LookupError, TypeError, RecursionError) as error:
        problem = f"the card is not valid: {error}"
    log.warning("model %s version %d is served without a card: %s", model, version, problem)
    return Found(None, problem[:_MAX_PROBLEM])


def _is_ours(signature: SignatureDef) -> bool:
    """Whether this is {"index": int32 [N]} -> {"card": string [N]}."""
    return _is_vector(signature.inputs, "index", DataType.DT_INT32) and _is_vector(
        signature.outputs, "card", DataType.DT_STRING
    )


def _is_vector(tensors: Mapping[str, TensorInfo], alias: str, dtype: int) -> bool:
    if set(tensors) != {alias} or tensors[alias].dtype != dtype:
        return False
    shape = tensors[alias].tensor_shape
    return shape.unknown_rank or [dim.size for dim in shape.dim] in ([-1], [1])
