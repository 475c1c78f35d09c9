"""The events that TensorBoard shows while a run trains. One folder per run, with three writers in it:

    <logs>/<name>/<version>/             hyper-parameters, images of the data, and at the end the results
    <logs>/<name>/<version>/train        epoch_* and batch_* scalars, learning rate, histograms of weights, the graph
    <logs>/<name>/<version>/validation   epoch_* scalars of the images held out

Events are on the disk after two seconds, so a running TensorBoard shows them at its next reload.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams  # type: ignore[import-untyped]

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.training import augment
from tensor_jupyter.training.image_sheets import sheet
from tensor_jupyter.training.run import Run

FLUSH_MILLISECONDS = 2_000

_TRACED = range(5, 15)  # steps of the training that are profiled: the very first ones are not typical


def callbacks(context: Context, run: Run, data: Dataset, model: keras.Model) -> list[keras.callbacks.Callback]:
    """Return the callbacks that write the run's events."""
    folder = context.log_dir
    settings = {name: value for name, value in run.model_dump().items() if value is not None}
    settings["model"] = model.name  # a user's own network differs from the run's
    made: list[keras.callbacks.Callback] = [
        Board(folder),
        hparams.KerasCallback(writer(folder), settings, trial_id=f"{context.name}/{context.version}"),
        Samples(folder, data, augment.change_for(run, data), run.seed),
    ]
    traced = any((folder / "plugins" / "profile").glob("*"))  # by an earlier phase of the training
    return [*made, Profile(folder)] if run.profile and not traced else made


def writer(folder: Path) -> tf.summary.SummaryWriter:
    """An event file in the folder, flushed often."""
    return tf.summary.create_file_writer(str(folder), flush_millis=FLUSH_MILLISECONDS)


class Board(keras.callbacks.Callback):
    """Scalars of each batch and epoch, histograms of each epoch, and the graph.

    When a stopped run is resumed, its steps continue.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.epoch = folder, 0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras names them
        self.train = writer(self.folder / "train")
        self.validation = writer(self.folder / "validation")
        inputs = getattr(self.model, "inputs", None) or []
        if len(inputs) == 1:  # a subclassed model has no inputs before it has been called
            specification = tf.TensorSpec(inputs[0].shape, inputs[0].dtype)
            graph = tf.function(lambda images: self.model(images, training=False)).get_concrete_function(specification)
            with self.train.as_default():
                tf.summary.graph(graph.graph)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        with self.train.as_default(step=self.epoch * (self.params.get("steps") or 0) + batch):
            for name, value in (logs or {}).items():
                tf.summary.scalar(f"batch_{name}", value)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = logs or {}
        with self.train.as_default(step=epoch):
            for name, value in values.items():
                if not name.startswith("val_"):
                    tf.summary.scalar(f"epoch_{name}", value)
            tf.summary.scalar("epoch_learning_rate", self.model.optimizer.learning_rate)
            for weight in self.model.weights:
                tf.summary.histogram(f"{weight.path}/histogram", weight.value)
        with self.validation.as_default(step=epoch):
            for name, value in values.items():
                if name.startswith("val_"):
                    tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value)
        self.train.flush()
        self.validation.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.train.close()
        self.validation.close()


class Samples(keras.callbacks.Callback):
    """Writes up to 25 of the training images, as they are and as `change` varies them."""

    def __init__(self, folder: Path, data: Dataset, change: augment.Change | None = None, seed: int = 0) -> None:
        super().__init__()
        self.folder, self.data, self.change, self.seed = folder, data, change, seed

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        train = self.data.train
        chosen = train.take(np.linspace(0, len(train) - 1, min(25, len(train)), dtype=int))
        names = [self.data.labels[label] for label in chosen.labels]
        with writer(self.folder).as_default(step=0) as samples:
            tf.summary.image("samples/as_they_are", sheet(chosen.images, names, columns=5))
            if self.change:
                varied = self.change(tf.cast(chosen.images, tf.float32), tf.constant([self.seed, 0]))
                images = np.asarray(tf.clip_by_value(varied, 0, 255)).astype(np.uint8)
                tf.summary.image("samples/as_they_are_varied", sheet(images, names, columns=5))
            samples.close()


class Profile(keras.callbacks.Callback):
    """Writes a trace of a few steps for TensorBoard's profile plugin."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.running, self.steps = folder, False, 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        if self.steps == _TRACED.start:
            tf.profiler.experimental.start(str(self.folder))
            self.running = True

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.steps += 1
        if self.running and self.steps == _TRACED.stop:
            self._stop()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        if self.running:
            self._stop()

    def _stop(self) -> None:
        self.running = False
        tf.profiler.experimental.stop()
