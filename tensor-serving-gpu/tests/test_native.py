"""Models run by TensorFlow's C API: what goes in comes out, what is wrong is refused, what is closed is gone."""

import gc
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from native_kit import call, texts
from serving_kit import PROJECT
from tensorflow.core.protobuf import saved_model_pb2

from tensor_serving.embedded import protos
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.native import library as native_library
from tensor_serving.embedded.runtime import Model

SHIPPED = PROJECT / "serving" / "mnist-net" / "1"


class Kept(tf.Module):
    """Keeps what it is fed, answers it as it is, and has many outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.text = tf.Variable([""], shape=tf.TensorShape(None))
        self.total = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string, name="text")])
    def keep(self, text):
        self.text.assign(text)
        return {"text": tf.identity(text)}

    @tf.function(input_signature=[])
    def kept(self):
        return {"text": self.text.read_value()}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def add(self, x):
        return {"total": self.total.assign_add(tf.reduce_sum(x)), "x": x}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def many(self, x):
        return {f"y{n}": x + n for n in range(7)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("native")


@pytest.fixture(scope="module")
def kept(folder: Path) -> Iterator[Model]:
    module = Kept()
    names = {name: getattr(module, name) for name in ("keep", "kept", "add", "many")}
    tf.saved_model.save(module, str(folder / "kept"), signatures=names)
    model = Model(folder / "kept")
    yield model
    model.close()


@pytest.fixture(scope="module")
def half(exports: Path) -> Iterator[Model]:
    model = Model(exports / "half_plus_two")
    yield model
    model.close()


@pytest.fixture(scope="module")
def shipped() -> Iterator[Model]:
    model = Model(SHIPPED, intra_op_threads=1)
    yield model
    model.close()


def test_what_the_graph_keeps_or_hands_back_outlives_the_array_it_came_from(kept: Model) -> None:
    words = [b"a long word that does not fit into the tensor " * 10, b"short"]
    handed_back = call(kept, "keep", text=texts(*words))["text"]
    many = [call(kept, "add", x=np.full(1000, n, np.float32))["x"] for n in range(100)]
    gc.collect()
    for _ in range(100):  # whatever was freed too early is written over now
        texts(*(word[::-1] for word in words)), np.full(1000, -1, np.float32)
    assert handed_back.tolist() == words
    assert call(kept, "kept")["text"].tolist() == words
    assert all((array == n).all() for n, array in enumerate(many))


@pytest.mark.parametrize(
    ("name", "signature", "inputs", "wanted"),
    [
        ("half_plus_two", "serving_default", {"x": np.float32([1, 2])}, {"y": [2.5, 3]}),
        ("half_plus_two", "shout", {"text": texts(b"ab", b"")}, {"upper": [b"AB", b""], "length": [2, 0]}),
        ("half_plus_two", "double", {"n": np.int64([3, 4])}, {"twice": [6, 8], "even": [False, True]}),
        (
            *("half_plus_two", "product"),
            {"b": np.float32([[1, 2, 3], [4, 5, 6]]), "a": np.float32([[1, 10]])},
            {"product": [[41, 52, 63]], "sum": 11},
        ),
        ("stateless", "serving_default", {"x": np.float32([3])}, {"y": [6]}),
        ("tf1", "serving_default", {"x": np.float32([[1], [3]])}, {"y": [[2.5], [3.5]]}),
        ("tf1", "lookup", {"word": texts(b"two", b"one")}, {"number": [2, 1]}),
        ("keras", "serving_default", {"keras_tensor": np.float32([[1, 2]])}, {"output_0": [[3]]}),
    ],
)
def test_models_however_they_were_exported_compute(
    exports: Path, name: str, signature: str, inputs: dict[str, np.ndarray], wanted: dict[str, object]
) -> None:
    model = Model(exports / name)
    if name == "keras":  # numbers its tensors over all models of a process
        inputs = {next(iter(model.signatures[signature].inputs)): value for value in inputs.values()}
    try:
        assert {alias: value.tolist() for alias, value in call(model, signature, **inputs).items()} == wanted
    finally:
        model.close()


def test_a_keras_model_with_a_vocabulary_computes(folder: Path) -> None:
    import keras

    words = keras.layers.Input((), dtype="string")
    numbers = keras.layers.StringLookup(vocabulary=["zero", "one"], num_oov_indices=1)(words)
    keras.Model(words, numbers).export(str(folder / "words"), verbose=False)
    model = Model(folder / "words")
    (alias,) = model.signatures["serving_default"].inputs
    assert call(model, "serving_default", **{alias: texts(b"one", b"nine")})["output_0"].tolist() == [2, 0]
    model.close()


def test_the_shipped_model_answers_one_image_and_many_alike(shipped: Model) -> None:
    images = np.random.default_rng(0).integers(0, 255, (32, 28, 28, 1)).astype(np.uint8)
    together = call(shipped, "serving_default", images=images)["scores"]
    alone = [call(shipped, "serving_default", images=image[None])["scores"][0] for image in images]
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together.sum(1), 1, atol=1e-5)


IMAGE = np.zeros((1, 28, 28, 1), np.uint8)


@pytest.mark.parametrize(
    ("feeds", "values", "fetches", "text"),
    [
        (1, [IMAGE.astype(np.float32)], 1, "Expects arg[0] to be uint8 but float is provided"),
        (1, [texts(b"x")[:, None, None, None]], 1, "Expects arg[0] to be uint8 but string is provided"),
        (1, [IMAGE[0]], 1, "images has the shape [28, 28, 1], but the signature expects [-1, 28, 28, 1]"),
        (1, [IMAGE[0, 0, 0, 0]], 1, "images has the shape [], but the signature expects [-1, 28, 28, 1]"),
        (1, [IMAGE.repeat(5, axis=3)], 1, "depth"),
        (1, [IMAGE.astype("M8[s]")], 1, "TensorFlow has no dtype for numpy's datetime64[s]"),
        (["no:0"], [IMAGE], 1, "Tensor no:0, specified in either feed_devices or fetch_devices was not found"),
        (1, [IMAGE], ["no:0"], "Tensor no:0, specified in either"),
        (1, [IMAGE], ["StatefulPartitionedCall:7"], "Tensor StatefulPartitionedCall:7, specified"),
        (1, [IMAGE], ["StatefulPartitionedCall:-1"], "Tensor StatefulPartitionedCall:-1, specified"),
        (1, [IMAGE], ["StatefulPartitionedCall:x"], "Tensor StatefulPartitionedCall:x, specified"),
        (1, [IMAGE], [], "Must specify at least one target"),
        ([], [], 1, "You must feed a value for placeholder tensor"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_process_lives(
    shipped: Model, feeds: object, values: list[np.ndarray], fetches: object, text: str
) -> None:
    signature = shipped.signatures["serving_default"]
    feeds = [signature.inputs["images"].name] if feeds == 1 else feeds
    fetches = [signature.outputs["scores"].name] if fetches == 1 else fetches
    with pytest.raises(ServingError) as refusal:
        shipped.run(Call("serving_default", tuple(feeds), tuple(values), tuple(fetches)))
    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in refusal.value.text


def test_a_string_that_is_not_bytes_is_refused(half: Model) -> None:
    with pytest.raises(ServingError, match="a string tensor holds bytes, not str"):
        call(half, "shout", text=np.array(["text"], dtype=object))


def test_a_graph_without_data_formats_decides_itself_about_dimensions(exports: Path) -> None:
    model = Model(exports / "tf1")  # its signature says [-1, 1]
    assert call(model, "serving_default", x=np.float32([1, 2]))["y"].tolist() == [2.5, 3]
    model.close()


def test_a_resource_is_not_fetched(exports: Path, half: Model) -> None:
    saved = saved_model_pb2.SavedModel.FromString((exports / "half_plus_two" / "saved_model.pb").read_bytes())
    name = next(node.name for node in saved.meta_graphs[0].graph_def.node if node.op == "VarHandleOp")
    with pytest.raises(ServingError, match=f"Tensor {name}:0 is a resource, which cannot be sent"):
        half.run(Call("", (), (), (f"{name}:0",)))


def test_many_threads_get_their_own_answers(half: Model) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for step in range(100):
            found = call(half, "serving_default", x=np.full(step + 1, number, np.float32))["y"]
            if found.shape != (step + 1,) or not (found == number / 2 + 2).all():
                wrong.append((number, step, found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_other_threads_work_while_a_graph_runs(half: Model) -> None:
    thread = threading.Thread(target=call, args=(half, "slow"), kwargs={"x": np.float32([1])})
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 20  # a run that kept Python's lock would allow for a handful, before it begins


def test_every_subset_of_the_outputs_is_answered_and_only_so_many_are_prepared(kept: Model) -> None:
    signature = kept.signatures["many"]
    names = {info.name: int(alias[1:]) for alias, info in signature.outputs.items()}
    feed = signature.inputs["x"].name
    subsets = [subset for size in range(1, 8) for subset in itertools.combinations(sorted(names), size)]
    assert len(subsets) == 127
    for subset in subsets:
        values = kept.run(Call("many", (feed,), (np.float32([1]),), subset))
        assert [value.item() for value in values] == [1 + names[name] for name in subset]
    assert len(kept._ends) <= 66


def _broken(folder: Path, exports: Path, how: str) -> Path:
    tf.io.gfile.makedirs(str(folder / "variables"))
    for file in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        tf.io.gfile.copy(str(exports / "half_plus_two" / file), str(folder / file))
    graph, weights = folder / "saved_model.pb", folder / "variables" / "variables.data-00000-of-00001"
    if how == "missing weights":
        weights.unlink()
    elif how == "flipped weights":
        weights.write_bytes(bytes(byte ^ 0xFF for byte in weights.read_bytes()))
    elif how == "unknown operation":
        graph.write_bytes(graph.read_bytes().replace(b"StringUpper", b"StringUppex"))
    return folder


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("missing weights", "NOT_FOUND", "variables.data-00000-of-00001 is missing"),
        ("flipped weights", "DATA_LOSS", "Checksum does not match"),
        ("unknown operation", "NOT_FOUND", "StringUppex"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_reason(
    tmp_path: Path, exports: Path, how: str, code: str, text: str
) -> None:
    with pytest.raises(ServingError, match=text) as refusal:
        Model(_broken(tmp_path / "1", exports, how))
    assert refusal.value.code is grpc.StatusCode[code]


def test_a_closed_model_refuses(exports: Path) -> None:
    model = Model(exports / "stateless")
    call(model, "serving_default", x=np.float32([1]))
    model.close()
    model.close()
    with pytest.raises(ServingError, match="unloaded"):
        call(model, "serving_default", x=np.float32([1]))


def test_a_tensorflow_without_its_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protos, "installed_in", lambda: tmp_path)
    load = native_library.library.__wrapped__
    with pytest.raises(ImportError, match=r"libtensorflow_cc\S+ is missing: install tensorflow"):
        load()
    darwin = sys.platform == "darwin"
    (tmp_path / ("libtensorflow_cc.2.dylib" if darwin else "libtensorflow_cc.so.2")).write_bytes(b"not a library")
    with pytest.raises(ImportError, match="is not the TensorFlow library this server was made for"):
        load()


def test_loading_the_library_leaves_the_environment_alone() -> None:
    """It is inherited: what a program that uses TensorFlow itself starts later would compute otherwise than it does."""
    before = dict(os.environ)
    native_library.library.__wrapped__()
    assert dict(os.environ) == before
