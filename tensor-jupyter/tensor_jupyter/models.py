"""The networks the lab trains. Each takes the raw uint8 picture; scaling, its first layer, cannot be forgotten."""

import keras
from keras import layers


def mnist_net(height: int = 28, width: int = 28, channels: int = 1, classes: int = 10) -> keras.Model:
    """The tutorial's convolutional net, about 170,000 parameters.

    Input `images` uint8 [N, height, width, channels]; output float32 [N, classes], probabilities.
    """
    images = keras.Input((height, width, channels), dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    for number, (filters, pooled) in enumerate(((32, True), (64, True), (96, False), (96, True)), 1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x) if pooled else x
    x = layers.Dropout(0.3, name="dropout")(layers.Flatten(name="flatten")(x))
    scores = layers.Dense(classes, activation="softmax", dtype="float32", name="scores")(x)
    return keras.Model(images, scores, name="mnist_net")
