"""What the layers of a Keras model declare about its images and scores.

range:   the pixel range of its image input, found by sending black and white through the layers in front of the first
         weights (Rescaling, Normalization, preprocess_input ...); else that of a known network of keras.applications.
scores:  probabilities or logits, by the last activation and the compiled loss.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tensor_jupyter.publishing.made_up import RANGES

_TYPICAL = 4  # the largest input of networks that take scaled images: normalised white is about 2.6
_SIDE = 32  # pixels of the images sent through the layers, where the model has an open size
_PASSED = ("Flatten", "Reshape", "Dropout", "Squeeze", "Cast")
_PROBABILITIES = ("softmax", "sigmoid")

_NETWORKS = (  # a layer that only this network of keras.applications has, its name, and the range it was trained on
    ("conv2_block1_preact_bn", "ResNetV2", "-1..1"),
    ("conv_dw_1", "MobileNet", "-1..1"),
    ("expanded_conv_depthwise", "MobileNetV2", "-1..1"),
    ("mixed_7a", "InceptionResNetV2", "-1..1"),
    ("mixed10", "InceptionV3", "-1..1"),
    ("block14_sepconv2", "Xception", "-1..1"),
    ("stem_bn1", "NASNet", "-1..1"),
    ("conv2_block1_3_conv", "ResNet", ""),
    ("block5_conv3", "VGG", ""),
    ("conv5_block16_concat", "DenseNet", ""),
)


def pixel_range(model: keras.Model) -> tuple[str | None, str]:
    """The range of the image input, and how it was found; None where it is unknown.

    The range is "" for a network whose preprocessing is not part of the model and cannot be given as a range.
    """
    found = _by_layers(model)
    if found:
        return found, "by its own preprocessing layers"
    names = {layer.name for layer in model._flatten_layers()}
    for layer, network, pixels in _NETWORKS:
        if layer in names:
            return pixels, f"{network} of keras.applications"
    return None, ""


def _by_layers(model: keras.Model) -> str | None:
    (tensor,) = model.inputs
    sizes = [size or _SIDE for size in tensor.shape[1:]]
    levels = np.array([-1, 0, 1, 255], np.float32)
    images = np.broadcast_to(levels.reshape(-1, *[1] * len(sizes)), (len(levels), *sizes))
    try:
        found = np.asarray(_before_weights(model, keras.ops.convert_to_tensor(images)))
    except (AttributeError, TypeError, ValueError, RuntimeError):  # no images after all
        return None
    if not np.issubdtype(found.dtype, np.floating):
        return None
    rows = np.median(found.astype(np.float64).reshape(len(levels), -1), axis=1)
    if np.allclose(rows, levels):
        return None
    minus, black, one, white = rows
    ends = {"0..255": (black, white), "0..1": (black, one), "-1..1": (minus, one)}
    for exact in (True, False):
        for pixels, (low, high) in ends.items():
            if (_is_known(low, high) if exact else _is_plausible(low, high)) and pixels in RANGES:
                return pixels
    return None


def _is_known(low: float, high: float) -> bool:
    return any(np.allclose((low, high), known, atol=0.02) for known in ((0, 1), (-1, 1), (-0.5, 0.5)))


def _is_plausible(low: float, high: float) -> bool:
    normalised = max(abs(low), abs(high)) <= _TYPICAL and high - low >= 0.5
    return bool(normalised or (200 <= high - low <= 300 and min(low, high) >= -200))


def _before_weights(model: keras.Model, value: Any) -> Any:
    """The input of the first layer with weights, given this model input; Normalization counts as preprocessing."""
    functional = getattr(model, "_functional", None) or model
    for node in _nodes(functional):
        layer = node.operation
        if not getattr(layer, "weights", None) or isinstance(layer, keras.layers.Normalization):
            continue
        (tensor, *_) = node.input_tensors
        (start,) = functional.inputs
        if tensor is not start:
            value = keras.Model(start, tensor)(value, training=False)
        return _before_weights(layer, value) if isinstance(layer, keras.Model) else value
    return value


def _nodes(functional: Any) -> Iterator[Any]:
    """The calls of the model's layers, in the order they are made."""
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        yield from (node for node in functional._nodes_by_depth[depth] if not node.is_input)


def score_kind(model: keras.Model, classes: int, loss: Any = None) -> tuple[str, str]:
    """The card's `scores` of a model with one output, and the endpoint's `two_classes`; "" where it is unknown.

    classes: the number of scores in a row; loss: the configuration of the compiled loss.
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return "", ""
    activation = _activation(model, outputs[0])
    if activation == "sigmoid" and classes == 1:
        return "probabilities", "probability"
    if activation in _PROBABILITIES and classes > 1:
        return "probabilities", ""
    if activation == "linear" and _from_logits(loss):
        return ("probabilities", "logit") if classes == 1 else ("logits", "")
    return "", ""


def compiled_loss(model: keras.Model) -> Any:
    """The configuration of the loss that the model was compiled with, None if it was not."""
    try:
        return (model.get_compile_config() or {}).get("loss")
    except Exception:  # noqa: BLE001 - a custom loss that Keras cannot serialise
        return None


def _activation(model: keras.Model, tensor: Any) -> str:
    """The name of the last activation in front of the output, "" if it is unknown."""
    functional = getattr(model, "_functional", None) or model
    (tensor, *_) = getattr(functional, "outputs", None) or [tensor]
    layer, place, _ = tensor._keras_history
    while type(layer).__name__ in _PASSED:
        (tensor, *_) = layer._inbound_nodes[place].input_tensors
        layer, place, _ = tensor._keras_history
    if isinstance(layer, keras.Model):
        return _activation(layer, tensor)
    if type(layer).__name__.lower() in _PROBABILITIES:
        return type(layer).__name__.lower()
    activation = getattr(layer, "activation", None)
    return str(getattr(activation, "__name__", "")) if activation is not None else ""


def _from_logits(loss: Any) -> bool:
    """Whether a crossentropy in the configuration takes logits."""
    if isinstance(loss, Mapping):
        return loss.get("from_logits") is True or any(map(_from_logits, loss.values()))
    return isinstance(loss, list) and any(map(_from_logits, loss))
