"""Callbacks for `model.fit` in a notebook: progress, events and the best state of any compiled Keras model.

<logs>/<name>/<version>/                 hyper-parameters, images of the data, results on its test images
<logs>/<name>/<version>/train            scalars of batches and epochs, histograms of weights, the graph
<logs>/<name>/<version>/validation       scalars of the images held out
<checkpoint_dir>/best.keras              the best state so far
"""

import sys

import keras
import numpy as np
from rich.console import Console
from tensorboard.plugins.hparams import api as hparams  # type: ignore[import-untyped]

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.progress import EpochProgress
from tensor_jupyter.training import board, checkpoints, evaluation, results


def callbacks(context: Context, data: Dataset | None = None) -> list[keras.callbacks.Callback]:
    """Claim the context's version and return the callbacks for one `fit`; pass `verbose=0` beside them.

    Raises:
        LabError: A folder cannot be written, or the version given by hand is published.
    """
    context.claim()
    # Text lines: rich treats a notebook as a terminal, and would write its progress bar a thousand times.
    console = Console(file=sys.stdout, force_jupyter=False, force_terminal=False, width=100)
    made = [_Settings(context), board.Board(context.log_dir), _Best(context), EpochProgress(console)]
    return [*made, board.Samples(context.log_dir, data), _Results(context, data)] if data else made


class _Settings(keras.callbacks.Callback):
    """Writes the hyper-parameters, which TensorBoard compares over the runs."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras names it
        optimizer = self.model.optimizer
        settings = {
            "model": self.model.name,
            "parameters": self.model.count_params() if self.model.built else 0,
            "optimizer": optimizer.name,
            "learning_rate": float(np.asarray(optimizer.learning_rate)),
            "epochs": self.params["epochs"],
        }
        with board.writer(self.context.log_dir).as_default() as events:
            hparams.hparams(settings, trial_id=f"{self.context.name}/{self.context.version}")
            events.close()


class _Best(keras.callbacks.Callback):
    """Keeps the state with the lowest validation loss, or the lowest loss where nothing is held out."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.folder = context.checkpoint_dir
        self.lowest = float("inf")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        values = logs or {}
        loss = values.get("val_loss", values.get("loss", float("nan")))
        if loss < self.lowest:
            self.lowest = loss
            checkpoints.replace(self.folder / "best.keras", self.model.save)


class _Results(keras.callbacks.Callback):
    """At the end, the model's answers for the test images: confusion matrix, surest errors, curves, projector."""

    def __init__(self, context: Context, data: Dataset) -> None:
        super().__init__()
        self.context, self.data = context, data

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        scores = evaluation.scores_of(self.model, self.data.test)
        if scores.shape[1:] in ((), (len(self.data.labels),)):
            metrics = evaluation.measured(scores, self.data)
            results.write(self.context.log_dir, self.model, self.data, scores, metrics, self.params["epochs"])
