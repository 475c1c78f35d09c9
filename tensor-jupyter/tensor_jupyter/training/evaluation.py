"""Measure a model on images it was not trained on."""

import keras
import numpy as np

from tensor_jupyter.data import Dataset, LabelledImages
from tensor_jupyter.training.batches import in_order
from tensor_jupyter.training.models import is_classifier

SHARES = (0, 0.01, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.99, 1)
"""The shares of the held-out images whose quantiles `quantiles_of` returns."""

THRESHOLD = "0.99"
"""The quantile that is an autoencoder's threshold: one in a hundred images like its training data is above."""


def evaluate(model: keras.Model, data: Dataset, threshold: float | None = None) -> dict[str, float]:
    """Measure on the test images.

    Args:
        model: A classifier or an autoencoder.
        data: Its test images are measured.
        threshold: Of an autoencoder: adds `threshold` and `test_false_alarms`, the part of the errors above it.

    Returns:
        Of a classifier `test_accuracy`, `test_images` and, where its scores are probabilities,
        `test_calibration_error` (ECE); of an autoencoder `test_error`, the mean, and `test_images`.
    """
    return measured(scores_of(model, data.test), data, threshold)


def measured(scores: np.ndarray, data: Dataset, threshold: float | None = None) -> dict[str, float]:
    """The metrics that `evaluate` returns, from the scores of the test images."""
    if scores.ndim == 2:
        right = scores.argmax(axis=1) == data.test.labels
        metrics = {"test_accuracy": round(float(right.mean()), 4), "test_images": len(right)}
        if scores.min() >= 0 and scores.max() <= 1:
            metrics["test_calibration_error"] = round(calibration_error(scores.max(axis=1), right), 4)
        return metrics
    metrics = {"test_error": round(float(scores.mean()), 6), "test_images": len(scores)}
    if threshold is not None:
        metrics |= {"threshold": threshold, "test_false_alarms": round(float((scores > threshold).mean()), 4)}
    return metrics


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """The expected calibration error (ECE): how far the confidence is from the accuracy, averaged over equal bins.

    confidence: float [N], the highest score of each image; right: bool [N], whether that label is the image's.
    """
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(places, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def scores_of(model: keras.Model, labelled: LabelledImages) -> np.ndarray:
    """The model's scores: float32 [N, classes] of a classifier, [N] of an autoencoder."""
    return np.asarray(model.predict(in_order(labelled.images), verbose=0))


def quantiles_of(model: keras.Model, held_out: LabelledImages) -> dict[str, float] | None:
    """Return the quantiles of the held-out images' scores, by share; None for a classifier.

    The images were not trained on: "0.99" is the threshold, and live scores are later compared with all quantiles.
    """
    if is_classifier(model):
        return None
    scores = scores_of(model, held_out)
    return {f"{share:g}": round(float(np.quantile(scores, share)), 6) for share in SHARES}
