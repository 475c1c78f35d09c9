"""The networks the lab trains, by name. Each takes the raw uint8 image; its first layer does the scaling.

Input uint8 [N, height, width, channels]: `imgs` for the dnn, as in the pipeline tutorial, else `images`. Output
float32: `scores` [N, classes], probabilities, or for an autoencoder `score` [N], the reconstruction error.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
from keras import layers, ops

from tensor_jupyter.data import Dataset
from tensor_jupyter.training.run import Run
from tensor_jupyter.training.transfer import transfer_net

FEATURES = "features"
"""The layer whose output TensorBoard's projector shows as an image's embedding."""

_LARGE = 48  # pixels a side; cnn and vgg first shrink a larger image


@dataclass(frozen=True)
class Network:
    """A network that can be trained, with its defaults.

    build: build(data, run, offline) returns the model, not compiled. learning_rate: the highest, if the run has none.
    epoch_images: an epoch repeats a smaller set, varied anew each time, as often as it fits into this number.
    """

    build: Callable[[Dataset, Run, bool], keras.Model]
    learning_rate: float
    epoch_images: int


def build(data: Dataset, run: Run, offline: bool = False) -> keras.Model:
    """The run's network for the images and labels of `data`, with weights of the run's seed.

    offline: download nothing. Raises LabError when the weights for transfer learning are not available.
    """
    keras.utils.set_random_seed(run.seed)
    return NETWORKS[run.network].build(data, run, offline)


def is_classifier(model: keras.Model) -> bool:
    """Whether the model returns scores for classes; else it returns each image's reconstruction error."""
    return len(model.output_shape) == 2


def layers_of(model: keras.Model) -> Iterator[layers.Layer]:
    """The model's layers, and those of the models among them."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)


def mnist_net(height: int = 28, width: int = 28, channels: int = 1, classes: int = 10) -> keras.Model:
    """The tutorial's convolutional net, about 170,000 parameters."""
    images = keras.Input((height, width, channels), dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    x = _shrunk(x)
    for number, (filters, pooled) in enumerate(((32, True), (64, True), (96, False), (96, True)), 1):
        x = _convolution(x, filters, number)
        x = layers.MaxPooling2D(padding="same", name=f"pool{number}")(x) if pooled else x
    x = layers.Dropout(0.3, name="dropout")(layers.Flatten(name=FEATURES)(x))
    scores = layers.Dense(classes, activation="softmax", dtype="float32", name="scores")(x)
    return keras.Model(images, scores, name="mnist_net")


def vgg_net(height: int = 28, width: int = 28, channels: int = 1, classes: int = 10) -> keras.Model:
    """Five convolutions, most in pairs as in VGG, and a dense layer, about 400,000 parameters: the shipped model's."""
    images = keras.Input((height, width, channels), dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    x = _shrunk(x)
    for number, (filters, pooled) in enumerate(((24, True), (48, False), (48, True), (64, False), (64, False)), 1):
        x = _convolution(x, filters, number)
        x = layers.MaxPooling2D(padding="same", name=f"pool{number}")(x) if pooled else x
    x = layers.Dropout(0.3, name="dropout1")(layers.Flatten(name="flatten")(x))
    x = layers.Dense(96, use_bias=False, name="dense")(x)
    x = layers.BatchNormalization(name="norm6")(x)
    x = layers.Dropout(0.3, name="dropout2")(layers.ReLU(name=FEATURES)(x))
    scores = layers.Dense(classes, activation="softmax", dtype="float32", name="scores")(x)
    return keras.Model(images, scores, name="vgg_net")


def dnn(height: int = 28, width: int = 28, channels: int = 1, classes: int = 10) -> keras.Model:
    """A network of two dense layers, of 256 and 64 units, before the scores."""
    images = keras.Input((height, width, channels), dtype="uint8", name="imgs")
    x = layers.Flatten(name="flatten")(layers.Rescaling(1 / 255, name="scale")(images))
    x = layers.Dropout(0.2, name="dropout")(layers.Dense(256, activation="relu", name="dense1")(x))
    x = layers.Dense(64, activation="relu", name=FEATURES)(x)
    scores = layers.Dense(classes, activation="softmax", dtype="float32", name="scores")(x)
    return keras.Model(images, scores, name="dnn")


def autoencoder(height: int = 28, width: int = 28, channels: int = 1) -> keras.Model:
    """A dense autoencoder, 256-128-256; its score is the mean squared error of the pixels, scaled to 0..1."""
    images = keras.Input((height, width, channels), dtype="uint8", name="images")
    pixels = layers.Flatten(name="flatten")(layers.Rescaling(1 / 255, dtype="float32", name="scale")(images))
    x = layers.Dense(256, activation="relu", name="encode1")(pixels)
    x = layers.Dense(128, activation="relu", name=FEATURES)(x)
    x = layers.Dense(256, activation="relu", name="decode1")(x)
    again = layers.Dense(height * width * channels, activation="sigmoid", dtype="float32", name="reconstruction")(x)
    score = ops.mean(ops.square(pixels - again), axis=1)
    return keras.Model(images, score, name="autoencoder")


def _shrunk(x: keras.KerasTensor) -> keras.KerasTensor:
    """Reduce the size by strided convolutions while it has more than 48 pixels a side."""
    number = 0
    while max(x.shape[1:3]) > _LARGE:
        x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name=f"shrink{number}")(x)
        number += 1
    return x


def _convolution(x: keras.KerasTensor, filters: int, number: int) -> keras.KerasTensor:
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
    return layers.ReLU(name=f"relu{number}")(x)


def _shape(data: Dataset) -> tuple[int, int, int]:
    return data.image_spec.height, data.image_spec.width, data.image_spec.channels


NETWORKS = {
    "cnn": Network(lambda data, *_: mnist_net(*_shape(data), len(data.labels)), 3e-3, 4_000),
    "vgg": Network(lambda data, *_: vgg_net(*_shape(data), len(data.labels)), 3e-3, 4_000),
    "dnn": Network(lambda data, *_: dnn(*_shape(data), len(data.labels)), 1e-3, 4_000),
    "autoencoder": Network(lambda data, *_: autoencoder(*_shape(data)), 1e-3, 4_000),
    "transfer": Network(
        lambda data, run, offline: transfer_net(*_shape(data), len(data.labels), run, offline), 1e-3, 0
    ),
}
"""By the name that a run's `network` gives."""
