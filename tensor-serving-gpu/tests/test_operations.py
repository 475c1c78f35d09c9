"""Which operations keep a SavedModel from being served: those that serving it runs, not those that only save it."""

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tensor_serving import operations
from tensor_serving.savedmodel import SavedModelValidator


class Program(tf.Module):
    """What a model can do besides computing, each in another place of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.b = tf.Variable(1.0)  # so that the graph has a saver, with SaveV2 and RestoreV2

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="path")])
    def read(self, path):
        return {"text": tf.io.read_file(path)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="path")])
    def write(self, path):
        tf.cond(self.b > 0, lambda: tf.io.write_file(path, "x"), tf.no_op)
        return {"b": tf.identity(self.b)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    def python(self, x):
        return {"y": tf.map_fn(lambda one: tf.numpy_function(float, [one], tf.float32), x[None])}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    def log(self, x):
        tf.print(x, output_stream="file:///tmp/x")
        return {"y": x + self.b}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    def plain(self, x):
        tf.print(x)
        return {"y": x + self.b}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version whose signatures do all of it."""
    folder, model = tmp_path_factory.mktemp("program"), Program()
    names = ("read", "write", "python", "log", "plain")
    tf.saved_model.save(model, str(folder), signatures={name: getattr(model, name) for name in names})
    return folder


def reason(folder: Path, *allowed: str) -> str:
    return SavedModelValidator(allowed).problem(folder)


def test_operations_that_signatures_reach_are_refused_unless_allowed(program: Path) -> None:
    refused = reason(program)
    assert refused.startswith("serving it runs PrintV2, PyFunc, ReadFile, WriteFile: a model may not read")
    assert refused.endswith("TENSOR_SERVING_ALLOWED_OPS='PrintV2 PyFunc ReadFile WriteFile' allows it")
    assert reason(program, "ReadFile", "PrintV2", "WriteFile").startswith("serving it runs PyFunc: ")
    assert reason(program, "ReadFile", "PrintV2", "WriteFile", "PyFunc") == ""
    assert reason(program, "*") == ""


def test_the_setting_is_a_list_of_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    assert operations.allowed() == frozenset()
    monkeypatch.setenv("TENSOR_SERVING_ALLOWED_OPS", "ReadFile, PyFunc")
    assert operations.allowed() == {"ReadFile", "PyFunc"}


def only_plain(program: Path, folder: Path) -> saved_model_pb2.SavedModel:
    """Return the graph with that one signature left; the functions of the others stay in it."""
    saved = saved_model_pb2.SavedModel.FromString((program / "saved_model.pb").read_bytes())
    for name in ("read", "write", "python", "log"):
        del saved.meta_graphs[0].signature_def[name]
    for part in ("variables", "assets"):
        (folder / part).symlink_to(program / part)
    return saved


def test_functions_that_no_signature_reaches_are_passed_over(program: Path, tmp_path: Path) -> None:
    saved = only_plain(program, tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert reason(tmp_path) == ""


@pytest.mark.parametrize("place", ["saver", "main_op", "second graph", "sparse output"])
def test_what_a_load_runs_counts_too(program: Path, tmp_path: Path, place: str) -> None:
    saved = only_plain(program, tmp_path)
    graph = saved.meta_graphs[0]
    if place == "second graph":
        graph = saved.meta_graphs.add()
        graph.CopyFrom(saved.meta_graphs[0])
        graph.meta_info_def.tags.append("gpu")
    node = graph.graph_def.node.add(name="write", op="WriteFile")
    node.input[:] = ["saver_filename", "saver_filename"]
    if place == "saver":
        graph.saver_def.restore_op_name = "write"
    elif place == "main_op":
        graph.collection_def["saved_model_main_op"].node_list.value.append("write")
    elif place == "second graph":
        graph.signature_def["plain"].outputs["z"].name = "^write"
    else:
        graph.signature_def["plain"].outputs["z"].coo_sparse.values_tensor_name = "write:0"
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert reason(tmp_path).startswith("serving it runs WriteFile: ")


def test_restoring_belongs_to_the_saver_alone(program: Path, tmp_path: Path) -> None:
    saved = only_plain(program, tmp_path)
    graph = saved.meta_graphs[0]
    graph.signature_def["plain"].outputs["z"].name = graph.saver_def.restore_op_name
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert reason(tmp_path).startswith("serving it runs RestoreV2: ")
