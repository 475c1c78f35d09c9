"""The results of a finished run for TensorBoard: metrics, confusions and embeddings.

All are of the test images, and in <logs>/<name>/<version>/ beside the run's hyper-parameters:
    test_*                      scalars, which the comparison of hyper-parameters shows too
    confusion_matrix            an image
    misclassified               the wrong answers with the highest probability, each as answer, label and probability
    precision_recall/<label>    curves for the PR plugin
    reconstruction              of an autoencoder: its worst images, and a histogram of the errors
    the embedding projector     up to 1,000 images, placed by the output of the layer before the last
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.pr_curve import summary as pr_curve  # type: ignore[import-untyped]
from tensorboard.plugins.projector import ProjectorConfig  # type: ignore[import-untyped]

from tensor_jupyter.data import Dataset
from tensor_jupyter.training.batches import in_order
from tensor_jupyter.training.board import writer
from tensor_jupyter.training.image_sheets import MAX_CLASSES, confusion, sheet, sprite
from tensor_jupyter.training.models import FEATURES

MAX_EMBEDDED = 1_000
_THUMBNAIL = 32  # pixels
_SHOWN = 30  # images on a sheet


def write(
    folder: Path, model: keras.Model, data: Dataset, scores: np.ndarray, metrics: dict[str, float], epochs: int
) -> None:
    """Write the events of a finished run. scores: of the test images, from `evaluation.scores_of`."""
    with writer(folder).as_default(step=epochs) as events:
        for name, value in metrics.items():
            tf.summary.scalar(name, value)
        if scores.ndim == 2:
            _classified(data, scores)
        else:
            _reconstructed(data, scores)
        events.close()
    if getattr(model, "inputs", None):  # a subclassed model has no layer whose output can be taken
        _project(folder, model, data)


def _classified(data: Dataset, scores: np.ndarray) -> None:
    labels, answers = data.test.labels, scores.argmax(axis=1)
    classes = len(data.labels)
    if classes <= MAX_CLASSES:
        counts = np.zeros((classes, classes), int)
        np.add.at(counts, (labels, answers), 1)
        tf.summary.image("confusion_matrix", confusion(counts, data.labels))
        for number, label in enumerate(data.labels):
            _precision_and_recall(f"precision_recall/{label}", labels == number, scores[:, number])
    wrong = np.flatnonzero(answers != labels)
    surest = wrong[np.argsort(-scores[wrong, answers[wrong]])][:_SHOWN]
    titles = [f"{data.labels[answers[row]]}, is {data.labels[labels[row]]}\n{scores[row].max():.2f}" for row in surest]
    if len(surest):
        tf.summary.image("misclassified", sheet(data.test.images[surest], titles))


def _precision_and_recall(name: str, truth: np.ndarray, scores: np.ndarray) -> None:
    """Write the PR plugin's summary, which is made for TensorFlow 1's writers, with the present writer."""
    for value in pr_curve.pb(name, truth, np.clip(scores, 0, 1), num_thresholds=101).value:
        tf.summary.write(value.tag, tf.make_ndarray(value.tensor), metadata=value.metadata)


def _reconstructed(data: Dataset, errors: np.ndarray) -> None:
    tf.summary.histogram("reconstruction/errors", errors)
    worst = np.argsort(-errors)[:_SHOWN]
    titles = [f"{data.labels[data.test.labels[row]]}\n{errors[row]:.4f}" for row in worst]
    tf.summary.image("reconstruction/worst", sheet(data.test.images[worst], titles))


def _project(folder: Path, model: keras.Model, data: Dataset) -> None:
    """Vectors, labels and thumbnails for the projector, in the run's folder."""
    labelled = data.test.take(slice(MAX_EMBEDDED))
    names = [layer.name for layer in model.layers]
    layer = model.get_layer(FEATURES) if FEATURES in names else model.layers[-2]
    vectors = keras.Model(model.inputs[0], layer.output).predict(in_order(labelled.images), verbose=0)
    vectors = vectors.reshape(len(labelled), -1).astype(np.float32)
    (folder / "vectors.bytes").write_bytes(vectors.tobytes())
    lines = (data.labels[label].translate(_UNSAFE) for label in labelled.labels)
    (folder / "labels.tsv").write_text("".join(f"{line}\n" for line in lines))
    sprite(labelled.images, _THUMBNAIL).save(folder / "thumbnails.png")
    config = ProjectorConfig()
    embedding = config.embeddings.add(tensor_name=FEATURES, tensor_path="vectors.bytes", metadata_path="labels.tsv")
    embedding.tensor_shape.extend(vectors.shape)
    embedding.sprite.image_path = "thumbnails.png"
    embedding.sprite.single_image_dim.extend([_THUMBNAIL, _THUMBNAIL])
    (folder / "projector_config.pbtxt").write_text(str(config))


_UNSAFE = str.maketrans("\t\r\n", "   ")
