"""`context.callbacks()`: any Keras model, compiled and fitted by its author, is watched, kept and reported."""

import keras
import numpy as np
import pytest
from keras import layers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_kit import bars, context_in

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten, self.dense = layers.Flatten(), layers.Dense(2, activation="softmax")

    def call(self, images):
        return self.dense(self.flatten(keras.ops.cast(images, "float32") / 255))


def sequential():
    images = keras.Input((28, 28, 1), dtype="uint8", name="images")
    return keras.Sequential([images, layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2, "softmax")])


def fitted(model, context, data, *more, **options):
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    learn, held_out = data.validation_split(0.2)
    return model.fit(
        learn.images, learn.labels, epochs=2, verbose=0, callbacks=context.callbacks(*more),
        **({"validation_data": (held_out.images, held_out.labels)} | options),
    )  # fmt: skip


def tags(folder):
    return set(EventAccumulator(str(folder)).Reload().Tags()["tensors"])


def test_a_sequential_model_leaves_curves_results_and_its_best_state(tmp_path, capsys):
    data, context = bars(), context_in(tmp_path)
    history = fitted(sequential(), context, data, data).history
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == (
        f"epoch 2/2  accuracy {history['accuracy'][1]:.4f}  validation {history['val_accuracy'][1]:.4f}"
        f"  loss {history['val_loss'][1]:.4f}"
    )
    assert {"epoch_accuracy", "batch_loss", "epoch_learning_rate"} <= tags(context.log_dir / "train")
    assert {"epoch_accuracy", "epoch_loss"} == tags(context.log_dir / "validation")
    assert {"samples/as_they_are", "confusion_matrix", "test_accuracy"} <= tags(context.log_dir)
    assert EventAccumulator(str(context.log_dir)).Reload().PluginTagToContent("hparams")
    best = keras.models.load_model(context.checkpoint_dir / "best.keras")
    assert best(data.test.images[:2]).shape == (2, 2)


def test_a_subclassed_model_without_validation_or_data_is_watched_too(tmp_path):
    context = context_in(tmp_path)
    fitted(Subclassed(), context, bars(), validation_data=None)
    assert "epoch_loss" in tags(context.log_dir / "train")
    assert (context.checkpoint_dir / "best.keras").is_file()


def test_a_subclassed_model_gets_results_of_its_test_images(tmp_path):
    data, context = bars(), context_in(tmp_path)
    fitted(Subclassed(), context, data, data)
    assert "confusion_matrix" in tags(context.log_dir)


def test_a_model_that_does_not_classify_is_watched_without_results(tmp_path):
    data, context = bars(), context_in(tmp_path)
    images = keras.Input((28, 28, 1), dtype="uint8", name="images")
    model = keras.Model(images, layers.Dense(3)(layers.Flatten()(layers.Rescaling(1 / 255)(images))))
    model.compile("adam", "mse")
    model.fit(data.train.images, np.zeros((200, 3)), epochs=1, verbose=0, callbacks=context.callbacks(data))
    assert "test_accuracy" not in tags(context.log_dir)


def test_each_fit_is_a_run_of_its_own(tmp_path):
    context = context_in(tmp_path)
    fitted(sequential(), context, bars())
    first = context.log_dir
    fitted(sequential(), context, bars())
    assert (first.name, context.log_dir.name) == ("1", "2")
    assert "epoch_loss" in tags(first / "train")
