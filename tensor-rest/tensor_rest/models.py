"""What a served model takes and answers, from its signatures and, where it has one, its card.

The card is the JSON document a self-contained model answers through its `describe` signature.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import BadGatewayError, ConflictError
from .glyphs import Centering, ImageInput, Polarity, fit
from .serving import ModelServer
from .wire.serving_pb2 import DataType, SignatureDef, TensorInfo
from .wire.tensors import type_name

SIGNATURE = "serving_default"
_MAX_SIDE = 4096  # pixels a signature may ask for in height or width


class CardInput(BaseModel):
    """The picture a model was trained on."""

    height: int | None = Field(default=None, ge=1, le=_MAX_SIDE)
    width: int | None = Field(default=None, ge=1, le=_MAX_SIDE)
    channels: Literal[1, 3] | None = None
    polarity: Polarity | None = None
    centering: Centering = "none"


class Card(BaseModel):
    """The fields of a card the gateway acts on; all others are passed on as they are."""

    model_config = ConfigDict(extra="allow")

    labels: list[str] = Field(min_length=1)
    input: CardInput = CardInput()


@dataclass(frozen=True)
class Profile:
    """One version of a model: its signatures, and its card or None."""

    model: str
    version: int
    signatures: dict[str, SignatureDef]
    card: Card | None

    def labels(self, classes: int) -> list[str]:
        """The names of the `classes` scores, their indices without a card. BadGatewayError if the numbers differ."""
        if self.card is None:
            return [str(index) for index in range(classes)]
        if len(self.card.labels) != classes:
            raise BadGatewayError(f"Model {self.model!r} answered {classes} scores for {len(self.card.labels)} labels.")
        return self.card.labels

    def inputs(self, picture: Image.Image) -> dict[str, np.ndarray[Any, Any]]:
        """A batch of one for `serving_default`: uint8 levels, or 0..1 for an input of float32.

        Raises ConflictError where the signature takes no picture, or nothing says how large it is.
        """
        alias, info = self._only("inputs", _is_picture, "one image input, uint8 or float32 [N,H,W,C]")
        pixels = fit(picture, self._form(info))
        if len(_sizes(info)) == 3:
            pixels = pixels[..., 0]
        batch = pixels[np.newaxis]
        return {alias: batch if info.dtype == DataType.DT_UINT8 else batch.astype(np.float32) / np.float32(255)}

    def scores_output(self) -> str:
        """The alias of the scores: `scores`, or the only float [N,classes] output. Raises ConflictError."""
        if "scores" in self.signatures.get(SIGNATURE, SignatureDef()).outputs:
            return "scores"
        return self._only("outputs", _is_scores, "an output `scores`, float32 [N,classes]")[0]

    def document(self) -> dict[str, Any]:
        """The profile as JSON: signatures with names, types and shapes (-1 for any size), and the card."""
        return {
            "version": self.version,
            "signatures": {
                name: {"inputs": _tensors(s.inputs), "outputs": _tensors(s.outputs), "method": s.method_name}
                for name, s in sorted(self.signatures.items())
                if not name.startswith("__")  # TensorFlow's own, such as __saved_model_init_op
            },
            "card": self.card.model_dump(mode="json") if self.card else None,
        }

    def _form(self, info: TensorInfo) -> ImageInput:
        """Size and channels: the signature's word first, then the card's."""
        card = self.card.input if self.card else CardInput()
        _, height, width, channels = (*_sizes(info), 1)[:4]
        sides = (height if height > 0 else card.height or 0, width if width > 0 else card.width or 0)
        if not 0 < min(sides) <= max(sides) <= _MAX_SIDE:
            raise ConflictError(f"Model {self.model!r} does not say how large its pictures are (1 to {_MAX_SIDE}).")
        return ImageInput(*sides, channels if channels > 0 else card.channels or 1, card.polarity, card.centering)

    def _only(self, side: str, fits: Callable[[TensorInfo], bool], wanted: str) -> tuple[str, TensorInfo]:
        tensors = getattr(self.signatures.get(SIGNATURE, SignatureDef()), side)
        fitting = [(alias, info) for alias, info in tensors.items() if fits(info)]
        if len(fitting) != 1:
            found = ", ".join(f"{alias} {_text(info)}" for alias, info in sorted(tensors.items())) or "none"
            raise ConflictError(
                f"Model {self.model!r} does not classify pictures: {SIGNATURE} needs {wanted}; found {found}."
            )
        return fitting[0]


def load(server: ModelServer, model: str) -> Profile:
    """The newest version's profile, asked of the server.

    Raises NotFoundError for an unknown model, BadGatewayError for a card that is not valid.
    """
    version, signatures = server.signatures(model)
    card = _card(server, model, version) if "describe" in signatures else None
    return Profile(model, version, signatures, card)


def _card(server: ModelServer, model: str, version: int) -> Card:
    answer = server.predict(model, {"index": np.zeros(1, np.int32)}, version=version, signature="describe")
    try:
        return Card.model_validate(json.loads(answer.outputs["card"].ravel()[0]))
    except (ValidationError, ValueError, LookupError, TypeError) as error:
        raise BadGatewayError(f"The card of model {model!r} version {version} is not valid: {error}") from error


def _sizes(info: TensorInfo) -> tuple[int, ...]:
    return tuple(dim.size for dim in info.tensor_shape.dim)


def _is_picture(info: TensorInfo) -> bool:
    sizes = _sizes(info)
    right_shape = len(sizes) == 3 or (len(sizes) == 4 and sizes[3] in (-1, 1, 3))
    return right_shape and info.dtype in (DataType.DT_UINT8, DataType.DT_FLOAT)


def _is_scores(info: TensorInfo) -> bool:
    return len(_sizes(info)) == 2 and info.dtype == DataType.DT_FLOAT


def _tensors(infos: Any) -> dict[str, Any]:
    return {
        alias: {
            "dtype": type_name(info.dtype),
            "shape": None if info.tensor_shape.unknown_rank else list(_sizes(info)),
        }
        for alias, info in sorted(infos.items())
    }


def _text(info: TensorInfo) -> str:
    return f"{type_name(info.dtype)} {list(_sizes(info))}"
