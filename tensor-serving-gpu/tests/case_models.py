"""The models of the case tables, and the config to serve them by; `python tests/case_models.py FOLDER` writes both.

Each computes something one can do in one's head, and each is made another way.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import example_models
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

v1 = tf.compat.v1
VERSIONS = {"versions": (1, 2, 3)}  # the others have version 1 alone
_EXTRA = {
    "versions": "model_version_policy { specific { versions: 1 versions: 2 versions: 3 } } "
    'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }',
}


def half_plus_two(folder: Path, _version: int = 1) -> None:
    """Export x -> x / 2 + 2 as TensorFlow 1 did, with every kind of signature; some are not fit for what they say."""
    with tf.Graph().as_default(), v1.Session() as session:
        serialized, other = (v1.placeholder(tf.string, [None], name) for name in ("tf_example", "other_example"))
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32), "x2": tf.io.FixedLenFeature([1], tf.float32, [0.0])}
        features = tf.io.parse_example(serialized, spec)
        x, x2 = tf.identity(features["x"], "x"), tf.identity(features["x2"], "x2")
        a, b = (
            v1.get_variable(name, initializer=value, use_resource=False) for name, value in (("a", 0.5), ("b", 2.0))
        )
        y = tf.add(a * x, b, name="y")
        classes = tf.tile(tf.constant([["low", "high"]]), [tf.shape(x)[0], 1])
        scores = tf.concat([x, y], 1)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        given = {"inputs": serialized}
        signatures = {
            "serving_default": _signature("predict", {"x": x}, {"y": y}),
            "classify": _signature("classify", given, {"classes": classes, "scores": scores}),
            "classify_classes": _signature("classify", given, {"classes": classes}),
            "classify_scores": _signature("classify", given, {"scores": scores}),
            "regress": _signature("regress", given, {"outputs": y}),
            "regress_flat": _signature("regress", given, {"outputs": tf.reshape(y, [-1])}),
            "regress_x2": _signature("regress", given, {"outputs": a * x2 + b + 1.0}),
            "regress_other": _signature("regress", {"inputs": other}, {"outputs": tf.strings.to_number(other)}),
            "regress_length": _signature(
                "regress", {"inputs": other}, {"outputs": tf.cast(tf.strings.length(other), tf.float32)}
            ),
            **_unfit(given, x, y, classes, scores),
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def _unfit(
    given: dict[str, tf.Tensor], x: tf.Tensor, y: tf.Tensor, classes: tf.Tensor, scores: tf.Tensor
) -> dict[str, object]:
    """Return signatures whose inputs, outputs or results are not what Classify and Regress want."""
    double = tf.cast(scores, tf.float64)
    return {
        "classify_no_inputs": _signature("classify", {"x": given["inputs"]}, {"scores": scores}),
        "classify_two_inputs": _signature("classify", {**given, "x": x}, {"scores": scores}),
        "classify_three": _signature("classify", given, {"classes": classes, "scores": scores, "y": y}),
        "classify_no_outputs": _signature("classify", given, {"y": y}),
        "classify_flat": _signature("classify", given, {"scores": tf.reshape(y, [-1])}),
        "classify_numbers": _signature("classify", given, {"classes": scores}),
        "classify_double": _signature("classify", given, {"scores": double}),
        "classify_short": _signature("classify", given, {"scores": scores[:1]}),
        "classify_uneven": _signature("classify", given, {"classes": classes, "scores": y}),
        "regress_no_inputs": _signature("regress", {"x": given["inputs"]}, {"outputs": y}),
        "regress_no_outputs": _signature("regress", given, {"y": y}),
        "regress_two": _signature("regress", given, {"outputs": y, "scores": scores}),
        "regress_wide": _signature("regress", given, {"outputs": scores}),
        "regress_short": _signature("regress", given, {"outputs": y[:1]}),
        "regress_double": _signature("regress", given, {"outputs": tf.cast(y, tf.float64)}),
    }


def _signature(method: str, inputs: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor]) -> object:
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {alias: info(tensor) for alias, tensor in inputs.items()},
        {alias: info(tensor) for alias, tensor in outputs.items()},
        f"tensorflow/serving/{method}",
    )


class Native(tf.Module):
    """Signatures as TensorFlow 2 writes them: all of method `predict`."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs):
        return {"classes": tf.stack([tf.strings.join(["a", inputs]), inputs], 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs):
        return {"outputs": tf.cast(tf.strings.length(inputs), tf.float32)}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, name="x"), tf.TensorSpec([], tf.float32, name="more")]
    )
    def plus(self, x, more):
        return {"y": x + more}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    def scalar(self, x):
        return {"y": x / 2}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int32, name="x")])
    def any_shape(self, x):
        return {"y": x * 2, "shape": tf.shape(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def nothing(self, x):
        return {"y": tf.zeros([0, 4]) * tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def numbers(self, x):
        return {"brain": tf.cast(x, tf.bfloat16), "complex": tf.cast(x, tf.complex64), "y": x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.half, name="x")])
    def half(self, x):
        return {"y": x}


def native(folder: Path, _version: int = 1) -> None:
    """Export Native; `plus` has 10 as the default of its input `more`."""
    model = Native()
    names = ("classify", "regress", "plus", "scalar", "any_shape", "nothing", "numbers", "half")
    tf.saved_model.save(model, str(folder), signatures={name: getattr(model, name) for name in names})
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    default = saved.meta_graphs[0].signature_def["plus"].defaults["more"]
    text_format.Parse("dtype: DT_FLOAT tensor_shape {} float_val: 10", default)
    path.write_bytes(saved.SerializeToString())


def keras2(folder: Path, _version: int = 1) -> None:
    """Export the sum of two features with the names Keras 2's model.save() gave: layer and layer_input."""

    class Dense(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="dense_input")])
        def call(self, dense_input):
            return {"dense": tf.reduce_sum(dense_input, 1, keepdims=True)}

    model = Dense()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.call})


def versions(folder: Path, version: int) -> None:
    """Export x -> x / 2 + the version."""
    example_models.half_plus(folder, float(version))


BUILDERS: dict[str, Callable[[Path, int], None]] = {
    "half_plus_two": half_plus_two,
    "native": native,
    "keras2": keras2,
    "keras3": lambda folder, _version: example_models.keras(folder),
    "several": lambda folder, _version: example_models.half_plus(folder),
    "versions": versions,
}


def write(folder: Path, config: Path) -> None:
    """Build every model under the folder and write the ModelServerConfig that lists them."""
    entries = []
    for name, build in BUILDERS.items():
        for version in VERSIONS.get(name, (1,)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            build(folder / name / str(version), version)
        base = (folder / name).absolute()
        entries.append(
            f'  config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {_EXTRA.get(name, "")} }}\n'
        )
    config.write_text(f"model_config_list {{\n{''.join(entries)}}}\n")


if __name__ == "__main__":
    tf.get_logger().setLevel(logging.ERROR)
    target = Path(sys.argv[1])
    write(target, target / "models.config")
    sys.stdout.write(f"{target}/models.config\n")
