"""Odd models: each answer of a loaded version is the one TensorFlow's own loader gives, dtype by dtype."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from tensor_serving.embedded import predict
from tensor_serving.embedded.runtime import Model

DTYPES = [
    *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    *(np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.complex64, np.complex128, np.bool_),
]


class Odd(tf.Module):
    """A signature for each dtype, and for each way a signature can be odd."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        words = folder / "words.txt"
        words.write_text("zero\none\ntwo\n")
        self.words = tf.saved_model.Asset(str(words))
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                self.words.asset_path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, -1
            ),
            -1,
        )
        self.scale = tf.Variable([2.0, 3.0])
        self.numbers = tf.Variable(3, dtype=tf.int64)
        self.brain = tf.Variable([1.5, 2.5], dtype=tf.bfloat16)
        self.flag = tf.Variable(True)
        self.word = tf.Variable("word")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def alias(self, x):
        return {"same": x, "twice": x, "y": x * 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def lookup(self, text):
        return {"number": self.table.lookup(text)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string, "text")])
    def any_text(self, text):
        return {"upper": tf.strings.upper(text), "word": tf.strings.join([text, self.word])}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def variables(self, x):
        return {
            "brain": tf.cast(x, tf.bfloat16) * self.brain,
            "flag": tf.logical_and(x > 0, self.flag),
            "n": tf.cast(x, tf.int64) * self.numbers,
            "y": x * self.scale,
        }

    @tf.function(input_signature=[tf.TensorSpec([2, None, None], tf.float32, "x")])
    def fixed_rows(self, x):
        return {"y": tf.reduce_max(x, 0), "shape": tf.shape(x, tf.int64)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, "n")])
    def grows(self, n):
        return {"range": tf.range(n), "text": tf.strings.as_string(tf.range(n))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def branches(self, x):
        return {"y": tf.cond(tf.size(x) > 2, lambda: x * self.scale[0], lambda: x - self.scale[1])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    module = Odd(folder)
    names = ("alias", "lookup", "any_text", "variables", "fixed_rows", "grows", "branches")
    signatures = {name: getattr(module, name) for name in names}
    for dtype in map(tf.as_dtype, DTYPES):
        spec = tf.TensorSpec([None, None], dtype, "x")
        double = tf.function(lambda x: {"same": tf.identity(x), "joined": tf.concat([x, x], 1)}, input_signature=[spec])
        signatures[dtype.name] = double.get_concrete_function()
    tf.saved_model.save(module, str(folder / "1"), signatures=signatures)
    return folder / "1"


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Any:
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    model = Model(folder)
    yield model
    model.close()


def check(model: Model, loaded: Any, signature: str, **inputs: Any) -> None:
    """Compare what both answer to one request: names, dtypes, shapes and bits."""
    tensors = {alias: tf.constant(value) for alias, value in inputs.items()}
    wanted = {alias: value.numpy() for alias, value in loaded.signatures[signature](**tensors).items()}
    arrays = {alias: _array(tensor.numpy()) for alias, tensor in tensors.items()}
    call, places = predict.call_for(model.signatures, signature, arrays)
    outputs = model.run(call)
    found = {alias: outputs[place] for alias, place in places.items()}
    assert found.keys() == wanted.keys()
    for alias, value in wanted.items():
        right = _array(value)
        assert (found[alias].dtype, found[alias].shape) == (right.dtype, right.shape), alias
        assert found[alias].tolist() == right.tolist(), alias


def _array(value: Any) -> Any:
    return np.asarray(value, object) if isinstance(value, bytes) else np.asarray(value)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (3, 0), (1, 1)])
def test_every_dtype_and_shape(model: Model, loaded: Any, dtype: Any, shape: tuple[int, int]) -> None:
    values = (np.arange(6) % 2 if dtype is np.bool_ else np.arange(6)).astype(dtype)
    check(model, loaded, tf.as_dtype(dtype).name, x=values[: shape[0] * shape[1]].reshape(shape))


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("alias", {"x": np.float32([1, 2, 3])}),
        ("alias", {"x": np.float32([])}),
        ("lookup", {"text": [b"two", b"none", b"zero"]}),
        ("any_text", {"text": b"a"}),
        ("any_text", {"text": [[b"a", b"\xff\x00"], [b"", b"long enough to be kept elsewhere"]]}),
        ("any_text", {"text": np.zeros((0, 2), "S1")}),
        ("variables", {"x": np.float32([[1, -2], [0.3, 70000]])}),
        ("variables", {"x": np.zeros((0, 2), np.float32)}),
        ("fixed_rows", {"x": np.arange(12, dtype=np.float32).reshape(2, 3, 2)}),
        ("grows", {"n": np.int32(5)}),
        ("grows", {"n": np.int32(0)}),
        ("branches", {"x": np.float32([1, 2])}),
        ("branches", {"x": np.float32([1, 2, 3])}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_odd_signatures(model: Model, loaded: Any, signature: str, inputs: dict[str, Any]) -> None:
    check(model, loaded, signature, **inputs)
