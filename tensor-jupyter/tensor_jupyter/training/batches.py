"""Batches for Keras: data sets of TensorFlow that end when training ends.

Keras makes such data sets of arrays as well, with autotuning. TensorFlow 2.20 stops the thread that tunes them by a
notification which the thread misses on a busy machine; whoever drops the data set then waits until the thread wakes by
itself, as long again as the data set has been in use, a minute at most.
"""

import numpy as np
import tensorflow as tf


def in_order(*arrays: np.ndarray, size: int = 512) -> tf.data.Dataset:
    """The rows of the arrays, all [N, ...], in batches of `size`, the last one smaller.

    One array gives tensors, several give tuples of them.
    """
    tensors = [tf.constant(array) for array in arrays]

    def batch(start: tf.Tensor) -> tuple[tf.Tensor, ...] | tf.Tensor:
        rows = tuple(tensor[start : start + size] for tensor in tensors)
        return rows if len(rows) > 1 else rows[0]

    return prepared_ahead(tf.data.Dataset.range(0, len(arrays[0]), size).map(batch))


def prepared_ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches; two of them are prepared while Keras works on another."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)
