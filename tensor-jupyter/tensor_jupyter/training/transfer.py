"""Transfer learning: a network pretrained on a million photographs, and a last layer that learns the new classes."""

import warnings
from pathlib import Path

import keras
from keras import layers

from tensor_jupyter.errors import LabError
from tensor_jupyter.training.run import Run

SMALLEST = 32
"""Pixels a side: the minimum of keras.applications; smaller images are enlarged inside the graph."""

_UNREACHABLE = (
    "The weights of {base} cannot be downloaded ({reason}). Give --weights FILE, a file of keras.applications "
    "without its top, or --weights none to train from scratch."
)


def transfer_net(height: int, width: int, channels: int, classes: int, run: Run, offline: bool = False) -> keras.Model:
    """The run's base with a new head. Input `images` uint8 [N, height, width, channels]; output scores [N, classes].

    offline: download nothing. Raises LabError when the base's weights are not available or do not fit.
    """
    images = keras.Input((height, width, channels), dtype="uint8", name="images")
    x = images
    if channels == 1:
        x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    if min(height, width) < SMALLEST:
        height, width = max(height, SMALLEST), max(width, SMALLEST)
        x = layers.Resizing(height, width, name="enlarge")(x)
    if run.base == "MobileNetV2":  # EfficientNet scales by itself
        x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    base = _base((height, width, 3), run, offline)
    x = layers.GlobalAveragePooling2D(name="features")(base(x))
    x = layers.Dropout(0.2, name="dropout")(x)
    scores = layers.Dense(classes, activation="softmax", dtype="float32", name="scores")(x)
    return keras.Model(images, scores, name="transfer")


def _base(shape: tuple[int, int, int], run: Run, offline: bool) -> keras.Model:
    weights = None if run.weights == "none" else run.weights
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise LabError(f"--weights is {run.weights!r}, which is not a file: give one, or imagenet, or none.")
    if weights == "imagenet" and offline:
        raise LabError(_UNREACHABLE.format(base=run.base, reason="LAB_OFFLINE is set"))
    width = {"alpha": run.alpha} if run.base == "MobileNetV2" else {}
    try:
        make = getattr(keras.applications, run.base)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning about weights for another image size: they fit any size
            base = make(input_shape=shape, include_top=False, weights=weights, **width)
    except Exception as error:  # Keras raises a bare Exception for a download that fails
        if weights == "imagenet":
            raise LabError(_UNREACHABLE.format(base=run.base, reason=_first_line(error))) from error
        raise LabError(f"{weights or run.base} does not fit {run.base} {shape}: {_first_line(error)}") from error
    if weights:
        base.trainable = run.unfreeze > 0
        for layer in base.layers[: -run.unfreeze] if run.unfreeze else ():
            layer.trainable = False
        for layer in base.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False  # a few hundred images estimate the statistics worse than a million
    return base


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
