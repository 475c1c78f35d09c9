"""The card of a Keras model: its input and scores, read from its layers, or as the user declares."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.keras_endpoint import Endpoint
from tensor_jupyter.publishing.keras_reading import pixel_range, score_kind
from tensor_jupyter.publishing.made_up import RANGES, as_input

SCORES = ("probabilities", "logits")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hints:
    """What the user declares about a model, where its layers do not.

    Attributes:
        pixels: The values of black and white in an image input of floats, one of RANGES.
        size: Height and width of the images, where the model leaves them open.
        scores: "probabilities" or "logits".
    """

    pixels: str | None = None
    size: tuple[int, int] | None = None
    scores: str | None = None

    def __post_init__(self) -> None:
        if self.pixels is not None and self.pixels not in RANGES:
            raise LabError(f"invalid range {self.pixels!r} (expected {', '.join(RANGES)})")
        if self.scores is not None and self.scores not in SCORES:
            raise LabError(f"invalid scores {self.scores!r} (expected {' or '.join(SCORES)})")


def image_sizes(endpoint: Endpoint) -> tuple[int | None, int | None, int] | None:
    """Height, width and channels of the only input, None for an open size; None if it does not take images.

    [N, H, W, C] with 1 or 3 channels, or [N, H, W], of uint8 or float32: what the gateway classifies.
    """
    (spec, *others) = endpoint.inputs.values()
    sizes = tuple(spec.shape[1:])
    if others or spec.dtype.name not in ("uint8", "float32"):
        return None
    if len(sizes) == 2:
        return (*sizes, 1)
    return sizes if len(sizes) == 3 and sizes[2] in (1, 3) else None


def input_range(endpoint: Endpoint, hints: Hints) -> tuple[str | None, str]:
    """The range of the image input and how it was found, as in `pixel_range`; (None, "") for other inputs."""
    (spec, *_) = endpoint.inputs.values()
    if image_sizes(endpoint) is None or spec.dtype.name != "float32":
        return None, ""
    if hints.pixels:
        return hints.pixels, "as given"
    return pixel_range(endpoint.model) if getattr(endpoint.model, "inputs", None) else (None, "")


def card_input(endpoint: Endpoint, data: Dataset | None, hints: Hints, pixels: str | None) -> dict[str, Any] | None:
    """The card's `input`, None where the model does not take images."""
    sizes = image_sizes(endpoint)
    if sizes is None:
        if hints.size:
            raise LabError(
                "A size is given, but the model does not take images: expected one input of float32 or uint8, "
                "[N,H,W] or [N,H,W,C] with 1 or 3 channels."
            )
        return None
    flat = len(next(iter(endpoint.inputs.values())).shape) == 3
    if flat and not (data or pixels or hints.size):
        return None  # [N, H, W] may be anything
    height, width, channels = sizes
    if hints.size:
        if any(have not in (None, given) for have, given in zip(sizes, hints.size, strict=False)):
            raise LabError(f"The size {hints.size[0]}x{hints.size[1]} is given, but the model takes {height}x{width}.")
        height, width = hints.size
    found = {"height": height, "width": width, "channels": channels}
    if data is not None and images_for(data, endpoint) is not None:
        found = data.image_spec.card() | ({"height": height, "width": width} if hints.size else {})
    return {key: value for key, value in {**found, "range": pixels}.items() if value is not None or key == "polarity"}


def images_for(data: Dataset, endpoint: Endpoint) -> np.ndarray | None:
    """The test images, uint8, in the shape of the model's image input; None where they do not fit."""
    sizes = image_sizes(endpoint)
    images = data.test.images
    if sizes is None or any(size not in (None, have) for size, have in zip(sizes, images.shape[1:], strict=True)):
        return None
    return images[..., 0] if len(next(iter(endpoint.inputs.values())).shape) == 3 else images


def rows_of(images: np.ndarray, endpoint: Endpoint, pixels: str | None) -> dict[str, np.ndarray]:
    """The images by the alias of the only input, as the gateway sends them."""
    ((alias, spec),) = endpoint.inputs.items()
    return {alias: as_input(images, spec.dtype.name, pixels)}


def with_scores(
    endpoint: Endpoint,
    samples: Mapping[str, np.ndarray],
    labels: Sequence[str],
    hints: Hints,
    loss: Any,
    always: bool = False,
) -> tuple[Endpoint, int | None, str]:
    """The endpoint with one score for each class, the number of classes, and the card's `scores`.

    A model with one score for two classes gets an endpoint that returns two, if there are two labels or `always` is
    set. The number is None unless the model's only output is float [N, classes]; `scores` is "" if it is unknown
    whether they are probabilities or logits.
    """
    answers = endpoint.answers({alias: values[:1] for alias, values in samples.items()})
    (scores, *others) = answers.values()
    if others or scores.ndim != 2 or scores.dtype.kind != "f":
        return endpoint, None, ""
    classes = int(scores.shape[1])
    kind, two_classes = score_kind(endpoint.model, classes, loss)
    if hints.scores:
        kind, two_classes = hints.scores, ""
        if classes == 1:
            kind, two_classes = "probabilities", "logit" if hints.scores == "logits" else "probability"
    if two_classes and (always or len(labels) == 2):
        return replace(endpoint, two_classes=two_classes), 2, kind
    return endpoint, classes, "" if two_classes else kind
