"""The steps train-classifier and train-concept: shown in TensorBoard, and resumed after their last complete epoch."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset, LabelledImages
from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline.bodies import gather
from tensor_jupyter.pipeline.execute import Job
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.training import models
from tensor_jupyter.training.fit import steps_per_epoch, train
from tensor_jupyter.training.outliers import outliers
from tensor_jupyter.training.run import Run

RUN = "run.json"
"""A file beside the outputs with the number of the run in TensorBoard."""


def run_classifier(job: Job) -> None:
    data = gather.read_all(job.root)
    run = _with_steps(classifier_run(job.parameters), job.parameters.learning_steps, data)
    _train(job, run, job.parameters.model, data)


def run_concept(job: Job) -> None:
    digits, letters = gather.read(job.root / "gather-mnist"), gather.read(job.root / "gather-notmnist").train
    made = functools.partial(outliers, letters=letters, seed=job.parameters.seed)
    _train(job, concept_run(job.parameters), job.parameters.concept, digits, made)


def classifier_run(parameters: Parameters) -> Run:
    """Return the training settings of the classifier."""
    given = parameters.model_dump(include={"network", "epochs", "learning_rate", "batch_size", "seed"})
    return Run(**given)


def concept_run(parameters: Parameters) -> Run:
    """Return the training settings of the concept model."""
    given = parameters.model_dump(include={"batch_size", "seed"})
    # The threshold is a quantile of the held-out scores: the more there are, the better it generalises.
    return Run(network="autoencoder", epochs=parameters.concept_epochs, validation_split=0.15, **given)


def read(folder: Path, run: Run, data: Dataset) -> keras.Model:
    """Return the model that a training step stored. Raises LabError when its weights do not fit the network."""
    model = models.build(data, run)
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        weights = [arrays[name] for name in sorted(arrays.files)]
    try:
        model.set_weights(weights)
    except ValueError as error:
        raise LabError(f"{folder / 'weights.npz'} does not fit the network {run.network}.") from error
    return model


def _train(
    job: Job, run: Run, name: str, data: Dataset, foreign: Callable[[LabelledImages], np.ndarray] | None = None
) -> None:
    context = Context(name, settings=job.settings)
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: job.say(_progress_line(epoch, run, logs or {}))
    )
    trained = train(run, data, context, verbose=0, callbacks=[callback], say=job.say, foreign=foreign)
    # Not a Keras file, which contains the time it was written: an equal training should give equal bytes.
    weights = {f"{number:04}": value for number, value in enumerate(trained.model.get_weights())}
    np.savez(job.folder / "weights.npz", **weights)
    job.write("trained.json", {name: getattr(trained, name) for name in ("metrics", "history", "quantiles")})
    # Not an output with a hash: the number depends on other trainings, and on those that were killed.
    job.write(RUN, {"version": context.version})
    job.say(", ".join(f"{key} {value:g}" for key, value in trained.metrics.items()))


def _with_steps(run: Run, steps: int | None, data: Dataset) -> Run:
    if steps is None:
        return run
    return run.model_copy(update={"epochs": math.ceil(steps / steps_per_epoch(run, data))})


def _progress_line(epoch: int, run: Run, values: dict[str, Any]) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in values.items() if name != "learning_rate")
    return f"epoch {epoch + 1} of {run.epochs}: {figures}"
