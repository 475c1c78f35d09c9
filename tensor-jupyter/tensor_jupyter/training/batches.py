"""`tf.data` pipelines for Keras, without autotuning.

Keras builds pipelines from arrays as well, but with autotuning. On a busy machine TensorFlow 2.20 then often destroys
an iterator only when its autotuning thread wakes by itself. The thread doubles its sleep each time, so the
return of `fit` may be delayed by as long as the training took.
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
