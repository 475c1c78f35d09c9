"""Training on labelled pictures, watched in TensorBoard and at the keyboard."""

import math
from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tensor_jupyter.augment import batches
from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset

BATCH_SIZE = 128
LEARNING_RATE = 3e-3
SEED = 7

_FEWEST = 4_000  # pictures in an epoch: fewer are gone through several times, varied anew each time
_VALIDATION = 0.05  # of the training pictures, to choose the epoch by: the test pictures choose nothing
_SMOOTHING = 0.02  # of the labels, so that a sure answer says 0.99 and a doubtful one less


def train(
    model: keras.Model,
    data: Dataset,
    context: Context,
    epochs: int = 10,
    verbose: Literal["auto", 0, 1, 2] = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Train the model in place and keep its best state; writes events, checkpoints and a Keras file for the context.

    Every picture is varied anew in each epoch. It stops early when a third of the epochs brought
    nothing better on the pictures kept to validate with.
    """
    context.claim()
    keras.utils.set_random_seed(SEED)
    learn, validate = _split(data)
    rounds = max(1, _FEWEST // len(learn[0]))
    pairs = batches(*learn, batch_size=BATCH_SIZE, seed=SEED).repeat(rounds)
    model.compile(
        keras.optimizers.Adam(_learning_rate(steps=len(pairs) * epochs)),
        keras.losses.CategoricalCrossentropy(label_smoothing=_SMOOTHING),
        metrics=["accuracy"],
    )
    history = model.fit(
        pairs,
        epochs=epochs,
        validation_data=tf.data.Dataset.from_tensor_slices(validate).batch(512),
        verbose=verbose,
        shuffle=False,  # the pairs come shuffled
        callbacks=[*_callbacks(context, epochs), *callbacks],
    )
    context.keras_file.parent.mkdir(parents=True, exist_ok=True)
    model.save(context.keras_file)
    return history


def evaluate(model: keras.Model, data: Dataset) -> dict[str, float]:
    """Accuracy on the test pictures, which were never trained on: {"test_accuracy", "test_images"}."""
    scores = model.predict(data.test.images, batch_size=512, verbose=0)
    right = scores.argmax(axis=1) == data.test.labels
    return {"test_accuracy": round(float(right.mean()), 4), "test_images": len(right)}


def _split(data: Dataset) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images and one-hot labels to learn from, and the last few to validate with."""
    labels = keras.utils.to_categorical(data.train.labels, len(data.labels))
    cut = len(labels) - math.ceil(_VALIDATION * len(labels))
    images = data.train.images
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])


def _learning_rate(steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Up in the first tenth, then down along a cosine to nothing."""
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - steps // 10), warmup_target=LEARNING_RATE, warmup_steps=steps // 10
    )


def _callbacks(context: Context, epochs: int) -> list[keras.callbacks.Callback]:
    return [
        # With an update_freq above 1 Keras drops an epoch's values too, unless its last batch is a multiple of it.
        keras.callbacks.TensorBoard(context.log_dir, histogram_freq=1, update_freq="batch"),
        keras.callbacks.ModelCheckpoint(context.checkpoint_dir / "best.keras", save_best_only=True),
        keras.callbacks.EarlyStopping(patience=max(3, epochs // 3), restore_best_weights=True),
    ]
