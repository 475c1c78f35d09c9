"""The pipelines that Keras is given: every row in order, and no autotuning."""

import numpy as np
import tensorflow as tf

from tensor_jupyter.training import augment
from tensor_jupyter.training.batches import in_order, prepared_ahead

IMAGES = np.arange(7 * 4, dtype=np.uint8).reshape(7, 2, 2, 1)
TARGETS = np.eye(7, dtype=np.float32)


def test_every_row_comes_once_and_in_order() -> None:
    assert [batch.tolist() for batch in in_order(IMAGES, size=3).as_numpy_iterator()] == [
        IMAGES[:3].tolist(),
        IMAGES[3:6].tolist(),
        IMAGES[6:].tolist(),
    ]
    pairs = list(in_order(IMAGES, TARGETS, size=4).as_numpy_iterator())
    assert np.array_equal(np.concatenate([images for images, _ in pairs]), IMAGES)
    assert np.array_equal(np.concatenate([targets for _, targets in pairs]), TARGETS)
    assert not list(in_order(IMAGES[:0]))


def test_autotuning_is_off() -> None:
    varied, _ = augment.batches(IMAGES, TARGETS, 4, 1, None, range(2))
    for batches in (in_order(IMAGES), varied, prepared_ahead(tf.data.Dataset.range(3))):
        assert batches.options().autotune.enabled is False
