"""Knowledge distillation (Hinton, Vinyals and Dean 2015).

Networks with other seeds, the teachers, are trained first. The final network learns from the mean of their scores for
the same varied images, and has fewer errors than each of them alone.

A teacher is trained like any model, as `<name>-teacher-1` in TensorBoard, and resumed if it was stopped. Finished ones
are kept in <checkpoints>/<name>/teachers until the final network is done.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.training import checkpoints
from tensor_jupyter.training.batches import prepared_ahead
from tensor_jupyter.training.run import Run

_TEACHERS_SHARE = 0.75
"""The weight of the teachers' scores in a target, beside the label's. Scores show which images are ambiguous."""

Train = Callable[[Run, Dataset, Context], keras.Model]


def teachers(
    run: Run, data: Dataset, context: Context, train: Train, say: Callable[[str], object]
) -> list[keras.Model]:
    """The run's teachers: those that are finished are loaded, the others are trained by `train`."""
    if run.teachers and run.network == "autoencoder":
        raise LabError("An autoencoder has no scores that a teacher could give: leave teachers at 0.")
    models = []
    for number, (its_run, kept) in enumerate(_kept(run, data, context), 1):
        if not kept.exists():
            say(f"Teacher {number} of {run.teachers}")
            model = train(its_run, data, Context(f"{context.name}-teacher-{number}", settings=context.settings))
            checkpoints.replace(kept, model.save)
        models.append(keras.models.load_model(kept))
    return models


def taught(pairs: tf.data.Dataset, teachers: list[keras.Model]) -> tf.data.Dataset:
    """The pairs (images, one-hot labels), with most of each target from the teachers' mean scores."""
    if not teachers:
        return pairs

    def teach(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scores = tf.add_n([model(images, training=False) for model in teachers]) / len(teachers)
        return images, _TEACHERS_SHARE * scores + (1 - _TEACHERS_SHARE) * tf.cast(labels, scores.dtype)

    return prepared_ahead(pairs.map(teach))


def forget(run: Run, data: Dataset, context: Context) -> None:
    """Remove the run's finished teachers: the network that learned from them is done."""
    for _, kept in _kept(run, data, context):
        kept.unlink(missing_ok=True)


def _kept(run: Run, data: Dataset, context: Context) -> Iterator[tuple[Run, Path]]:
    """Each teacher's own run, on all of `data` (the subset), and its file, named by a hash of its run and data."""
    for number in range(1, run.teachers + 1):
        its_run = run.model_copy(update={"teachers": 0, "subset": 1.0, "seed": (run.seed + number) % 2**31})
        plan = json.dumps([its_run.model_dump(mode="json"), data.hash]).encode()
        yield its_run, context.checkpoint_dir.parent / "teachers" / f"{hashlib.sha256(plan).hexdigest()[:16]}.keras"
