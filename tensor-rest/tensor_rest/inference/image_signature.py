"""How a signature takes images and answers scores: worked out from its tensors and, where there is one, the card."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_rest.backend.protos.serving_pb2 import DataType, SignatureDef, TensorInfo
from tensor_rest.backend.tensors import type_name
from tensor_rest.errors import ConflictError
from tensor_rest.images.preprocess import ImageInput, Pixels
from tensor_rest.inference.model_card import MAX_SIDE, Card, CardInput, Range

_INTEGERS = "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"
_NUMBERS = {DataType.Value(f"DT_{name}") for name in ("HALF", "FLOAT", "DOUBLE", *_INTEGERS)}


@dataclass(frozen=True)
class ImageSignature:
    """One signature that classifies images.

    `wanted` is what an image is converted to, `alias` the input that gets it, `scores` the output that is read.
    """

    signature: str
    alias: str
    scores: str
    wanted: ImageInput
    floats: bool  # the input is float32, else uint8
    flat: bool  # the input has no dimension for the channels
    single: bool  # the input takes one image at a time
    range: Range = "0..255"  # of the levels in the input
    logits: bool = False  # the scores are logits: softmax makes probabilities of them

    @property
    def row_bytes(self) -> int:
        """The size of one image in a call."""
        return self.wanted.height * self.wanted.width * self.wanted.channels * (4 if self.floats else 1)

    def inputs(self, pixels: Pixels) -> dict[str, np.ndarray[Any, Any]]:
        """uint8 [N,H,W,C] as the signature takes it: its dtype, its range of levels."""
        rows = pixels[..., 0] if self.flat else pixels
        if not self.floats:
            return {self.alias: rows}
        levels = rows.astype(np.float32)
        if self.range == "0..1":
            levels /= np.float32(255)
        elif self.range == "-1..1":
            levels = levels / np.float32(127.5) - np.float32(1)
        return {self.alias: levels}

    def probabilities(self, scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The scores [N,classes], made probabilities if they are logits."""
        if not self.logits:
            return scores
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def find(model: str, name: str, signature: SignatureDef, card: Card | None) -> ImageSignature:
    """Return the ImageSignature of a signature; what the signature leaves open is taken from the card.

    Raises ConflictError where the signature does not take images or return scores, or the size of its images is
    unknown.
    """
    whose = f"Model {model!r} does not classify images: {name}"
    alias, info = _only(signature.inputs, _is_image, f"{whose} needs one image input, uint8 or float32 [N,H,W,C]")
    if "scores" in signature.outputs:
        scores = "scores"
    else:
        scores, _ = _only(
            signature.outputs, _is_scores, f"{whose} needs an output `scores` or one of float32 [N,classes]"
        )
    wanted = _wanted(model, _sizes(info), card.input if card else CardInput())
    rows, *sizes = _sizes(info)
    if rows not in (-1, 1):
        raise ConflictError(f"{whose} takes exactly {rows} images at a time; wanted any number, or one.")
    floats = info.dtype == DataType.DT_FLOAT
    range_ = (card.input.range if card else None) or ("0..1" if floats else "0..255")
    if not floats and range_ != "0..255":
        raise ConflictError(f"{whose} takes uint8, and its card says that levels are {range_}; uint8 holds 0..255.")
    _check_classes(whose, scores, signature.outputs[scores], card)
    logits = card.scores == "logits" if card and card.scores else "logits" in scores.lower()
    return ImageSignature(name, alias, scores, wanted, floats, len(sizes) == 2, rows == 1, range_, logits)


def _check_classes(whose: str, scores: str, info: TensorInfo, card: Card | None) -> None:
    """Raise ConflictError for scores that are not numbers, and for one score per image, whose class is unknown.

    One score is accepted if the card has one label.
    """
    if info.dtype not in _NUMBERS:
        raise ConflictError(f"{whose} answers {scores} of type {type_name(info.dtype)}; wanted numbers, as float32.")
    if _sizes(info)[1:] == (1,) and not (card and len(card.labels) == 1):
        raise ConflictError(
            f"{whose} answers one number ({scores} [N,1]), which names no class. A classifier of two classes answers "
            f"two scores, as `lab import --labels NO,YES` writes it; predict answers the number itself."
        )


def _wanted(model: str, sizes: tuple[int, ...], card: CardInput) -> ImageInput:
    """Return size and channels from the signature, and what it leaves open from the card."""
    _, height, width, channels = (*sizes, 1)[:4]
    sides = (height if height > 0 else card.height or 0, width if width > 0 else card.width or 0)
    if not 0 < min(sides) <= max(sides) <= MAX_SIDE:
        raise ConflictError(
            f"Model {model!r} has images of unknown size: its signature takes {list(sizes)}. Give it a "
            f'card with {{"input": {{"height": .., "width": ..}}}} (1 to {MAX_SIDE}), or send ready tensors to predict.'
        )
    return ImageInput(*sides, channels if channels > 0 else card.channels or 1, card.polarity, card.centering)


def _only(tensors: Mapping[str, TensorInfo], fits: Callable[[TensorInfo], bool], wanted: str) -> tuple[str, TensorInfo]:
    fitting = [(alias, info) for alias, info in tensors.items() if fits(info)]
    if len(fitting) != 1:
        found = ", ".join(f"{alias} {type_name(i.dtype)} {list(_sizes(i))}" for alias, i in sorted(tensors.items()))
        raise ConflictError(f"{wanted}; found {found or 'none'}.")
    return fitting[0]


def _sizes(info: TensorInfo) -> tuple[int, ...]:
    return tuple(dim.size for dim in info.tensor_shape.dim)


def _is_image(info: TensorInfo) -> bool:
    sizes = _sizes(info)
    right_shape = len(sizes) == 3 or (len(sizes) == 4 and sizes[3] in (-1, 1, 3))
    return right_shape and info.dtype in (DataType.DT_UINT8, DataType.DT_FLOAT)


def _is_scores(info: TensorInfo) -> bool:
    return len(_sizes(info)) == 2 and info.dtype == DataType.DT_FLOAT
