"""The models under test; each computes something one can do in one's head."""

import logging
import warnings
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

tf.get_logger().setLevel(logging.ERROR)


class HalfPlus(tf.Module):
    """`serving_default`: x -> y = x / 2 + b; `shout`: text -> upper, length; `double`: n -> twice n; `ratio`: a, b."""

    def __init__(self, b: float) -> None:
        super().__init__()
        self.b = tf.Variable(b)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def half(self, x):
        return {"y": x / 2 + self.b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def shout(self, text):
        return {"upper": tf.strings.upper(text), "length": tf.strings.length(text)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="n")])
    def double(self, n):
        return {"twice": n * 2, "even": n % 2 == 0}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, name="a"), tf.TensorSpec([2, None], tf.float32, name="b")]
    )
    def product(self, a, b):
        return {"product": a @ b, "sum": tf.reduce_sum(a)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def slow(self, x):
        """Takes a good part of a second, in the graph."""
        count = tf.while_loop(lambda i, _: i < 300, lambda i, m: (i + 1, tf.linalg.matmul(m, m)), (0, tf.eye(400)))
        return {"y": x / 2 + self.b * count[1][0, 0]}


def half_plus(folder: Path, b: float = 2.0) -> None:
    """Export x / 2 + b."""
    model = HalfPlus(b)
    names = {"serving_default": model.half, "shout": model.shout, "double": model.double, "product": model.product}
    tf.saved_model.save(model, str(folder), signatures={**names, "slow": model.slow})


def stateless(folder: Path) -> None:
    """Export x -> 2x, without a variable."""

    class Double(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def double(self, x):
            return {"y": x * 2}

    model = Double()
    tf.saved_model.save(model, str(folder), signatures=model.double)


def tf1(folder: Path) -> None:
    """Export x -> x / 2 + 2 as TensorFlow 1 did: session, builder, a table initialised from an asset."""
    words = folder.parent / "words.txt"
    words.write_text("zero\none\ntwo\n")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 1], name="x")
        y = x * tf.compat.v1.get_variable("a", initializer=0.5, use_resource=False) + 2.0
        word = tf.compat.v1.placeholder(tf.string, [None], name="word")
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            ),
            1,
        )
        number = table.lookup(word)
        tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(words)))
        session.run([tf.compat.v1.global_variables_initializer(), tf.compat.v1.tables_initializer()])
        predict = tf.compat.v1.saved_model.predict_signature_def
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": predict({"x": x}, {"y": y}), "lookup": predict({"word": word}, {"number": number})},
            assets_collection=tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS),
            main_op=tf.compat.v1.tables_initializer(),
        )
        builder.save()


def keras(folder: Path) -> None:
    """Export a dense layer that adds its two inputs, by Keras 3's own export."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about numpy's and its own changes to come
        import keras

        features = keras.layers.Input((2,), name="keras_tensor")  # left to itself it is numbered on from model to model
        model = keras.Sequential([features, keras.layers.Dense(1, kernel_initializer="ones")])
        model.export(str(folder), verbose=False)


def warmed(folder: Path, bad: bool = False) -> None:
    """Export half_plus_two with a warm-up record; a bad one names an input that is not there."""
    half_plus(folder)
    add_warm_up(folder, "wrong" if bad else "x")


def add_warm_up(folder: Path, alias: str) -> None:
    """Write a warm-up record with [1.0] under this input."""
    request = predict_pb2.PredictRequest()
    request.inputs[alias].CopyFrom(tf.make_tensor_proto([1.0]))
    record = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    extra = folder / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        writer.write(record.SerializeToString())


def aborting(folder: Path) -> None:
    """Export x -> 2x, whose kernel ends the process."""

    class Abort(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def abort(self, x):
            with tf.control_dependencies([tf.raw_ops.Abort(error_msg="staged")]):
                return {"y": x * 2}

    model = Abort()
    tf.saved_model.save(model, str(folder), signatures=model.abort)


def aborting_in_warm_up(folder: Path) -> None:
    """Export the same with a warm-up record that reaches it."""
    aborting(folder)
    add_warm_up(folder, "x")


def aborting_in_load(folder: Path) -> None:
    """Export x -> 2x with an operation for the time of loading that ends the process."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": x * 2})
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        main = tf.raw_ops.Abort(error_msg="staged")
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=main)
        builder.save()


def build_all(folder: Path) -> None:
    """Build one of each."""
    half_plus(folder / "half_plus_two")
    half_plus(folder / "half_plus_three", 3.0)
    stateless(folder / "stateless")
    tf1(folder / "tf1")
    keras(folder / "keras")
    warmed(folder / "warmed")
    warmed(folder / "badly_warmed", bad=True)
    aborting(folder / "aborting")
    aborting_in_warm_up(folder / "aborting_in_warm_up")
    aborting_in_load(folder / "aborting_in_load")
