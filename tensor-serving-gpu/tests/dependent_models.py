"""A model whose rows depend on each other, in every way we know: what runs in company answers wrongly."""

from pathlib import Path

import tensorflow as tf

_X = tf.TensorSpec([None], tf.float32, "x")
_ROWS = tf.TensorSpec([None, 2], tf.float32, "x")
_TEXT = tf.TensorSpec([None], tf.string, "text")


class Dependent(tf.Module):
    """One function for each way; `names()` lists them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = tf.Variable(0, dtype=tf.int64)
        self.moving_mean = tf.Variable([0.0, 0.0])

    @tf.function(input_signature=[_X])
    def cumsum(self, x):
        return {"y": tf.cumsum(x)}

    @tf.function(input_signature=[_X])
    def sorted(self, x):
        return {"y": tf.sort(x)}

    @tf.function(input_signature=[_ROWS])
    def softmax(self, x):
        return {"y": tf.nn.softmax(x, axis=0)}

    @tf.function(input_signature=[_X])
    def centred(self, x):
        return {"y": x - tf.reduce_mean(x)}

    @tf.function(input_signature=[_X])
    def standard(self, x):
        return {"y": (x - tf.reduce_mean(x)) / (tf.math.reduce_std(x) + 1.0)}

    @tf.function(input_signature=[_X])
    def differences(self, x):
        return {"y": x - tf.roll(x, 1, 0)}

    @tf.function(input_signature=[_ROWS])
    def norm_in_training(self, x):
        """As a BatchNormalization layer called with training=True."""
        mean, variance = tf.nn.moments(x, [0])
        self.moving_mean.assign(0.99 * self.moving_mean + 0.01 * mean)
        return {"y": tf.nn.batch_normalization(x, mean, variance, None, None, 1e-3)}

    @tf.function(input_signature=[_X])
    def filtered(self, x):
        return {"hits": tf.boolean_mask(x, x > 0.5)}

    @tf.function(input_signature=[_X])
    def unique(self, x):
        return {"values": tf.unique(x).y}

    @tf.function(input_signature=[_X])
    def squeezed(self, x):
        return {"y": tf.raw_ops.Squeeze(input=x)}

    @tf.function(input_signature=[_TEXT])
    def padded(self, text):
        words = tf.strings.split(text)
        return {"n": words.row_lengths(), "words": words.to_tensor()}

    @tf.function(input_signature=[_TEXT])
    def ragged(self, text):
        words = tf.strings.split(text)
        return {"splits": words.row_splits, "values": words.values}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "a"), tf.TensorSpec([None, 2], tf.float32, "b")])
    def pairs(self, a, b):
        return {"d": tf.matmul(a, b, transpose_b=True)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def any_rank(self, x):
        return {"y": x + 1.0, "size": tf.size(x)}

    @tf.function(input_signature=[_X])
    def counter(self, x):
        """Counts its runs: one for each request."""
        return {"n": tf.zeros_like(x, tf.int64) + self.count.assign_add(1)}

    @classmethod
    def names(cls) -> list[str]:
        return [name for name, value in vars(cls).items() if hasattr(value, "get_concrete_function")]


def export(folder: Path) -> Path:
    """Export the model into a version folder, one signature for each function; return the folder."""
    model = Dependent()
    tf.saved_model.save(model, str(folder), signatures={name: getattr(model, name) for name in Dependent.names()})
    return folder
