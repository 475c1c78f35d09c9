"""Freezing: what is only read becomes a constant, what may change stays a variable, and answers stay what they were."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from native_kit import call
from serving_kit import PROJECT
from tensorflow.core.framework import graph_pb2

from tensor_serving.embedded import runtime
from tensor_serving.embedded.errors import invalid
from tensor_serving.embedded.freezing import Freezer
from tensor_serving.embedded.native.session import Session
from tensor_serving.embedded.runtime import Model

ONE = tf.TensorSpec([None], tf.float32, name="x")


class Weights(tf.Module):
    """A signature for each way a variable, w = [1, 2, 3], may be used."""

    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable([1.0, 2.0, 3.0], name="w")
        self.other = tf.Variable(10.0, name="other")
        self.words = tf.Variable(["word"], name="words")

    @tf.function
    def _scaled(self, x):
        return x * self.w

    @tf.function
    def _scaled_twice(self, x):
        return self._scaled(x) + self._scaled(x * self.other)

    @tf.function(input_signature=[ONE])
    def read(self, x):
        return {"y": x * self.w}

    @tf.function(input_signature=[ONE])
    def nested(self, x):
        return {"y": self._scaled_twice(x)}

    @tf.function(input_signature=[ONE])
    def gathered(self, x):
        return {"y": tf.gather(self.w, tf.cast(x, tf.int32))}

    @tf.function(input_signature=[ONE])
    def branched(self, x):
        return {"y": tf.cond(x[0] > 0, lambda: x * self.w, lambda: x - self.w)}

    @tf.function(input_signature=[ONE])
    def counted(self, x):
        return {"y": self.w.assign_add(x), "w": x * self.other}

    @tf.function(input_signature=[ONE])
    def named(self, x):
        return {"y": x * self.w, "words": self.words.read_value()}


def variables_left(model: Model) -> set[str]:
    """Return the variables that the frozen graph still has; fails where there is no such graph."""
    nodes = [node for node in model._session.graph().node if node.name.startswith("frozen/")]
    assert nodes
    return {node.attr["shared_name"].s.decode() for node in nodes if node.op == "VarHandleOp"}


@pytest.fixture
def exported(tmp_path: Path) -> Iterator[Callable[..., Model]]:
    """Return what exports Weights with these signatures and loads it."""
    models: list[Model] = []

    def export(*signatures: str) -> Model:
        module, folder = Weights(), tmp_path / str(len(models))
        tf.saved_model.save(module, str(folder), signatures={name: getattr(module, name) for name in signatures})
        models.append(Model(folder))
        return models[-1]

    yield export
    for model in models:
        model.close()


GRAPH = """
node { name: "w" op: "VarHandleOp" attr { key: "shared_name" value { s: "w" } }
  attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "shape" value { shape { } } } }
node { name: "v" op: "VarHandleOp" attr { key: "shared_name" value { s: "v" } }
  attr { key: "dtype" value { type: DT_STRING } } attr { key: "shape" value { shape { } } } }
node { name: "one" op: "PartitionedCall" input: "w" input: "v" attr { key: "f" value { func { name: "f" } } }
  attr { key: "Tin" value { list { type: DT_RESOURCE type: DT_RESOURCE } } } }
node { name: "two" op: "PartitionedCall" input: "v" input: "w" attr { key: "f" value { func { name: "f" } } }
  attr { key: "Tin" value { list { type: DT_RESOURCE type: DT_RESOURCE } } } }
library { function { signature { name: "f" input_arg { name: "a" type: DT_RESOURCE }
  input_arg { name: "b" type: DT_RESOURCE } }
  node_def { name: "read" op: "ReadVariableOp" input: "a" } ret { key: "out" value: "read:value:0" } } }
"""
X = np.float32([1, 0, 2])


@pytest.mark.parametrize(
    ("signatures", "left", "wanted"),
    [
        (["read"], set(), [1, 0, 6]),
        (["nested"], set(), [11, 0, 66]),
        (["counted"], {"w"}, [2, 2, 5]),
        (["gathered", "nested"], {"w"}, [2, 1, 3]),
        (["branched", "nested"], {"w"}, [1, 0, 6]),
        (["named"], {"words"}, [1, 0, 6]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and isinstance(value[0], str) else "",
)
def test_what_is_only_read_becomes_a_constant(
    exported: Callable[..., Model], signatures: list[str], left: set[str], wanted: list[float]
) -> None:
    model = exported(*signatures)
    assert variables_left(model) == left
    assert call(model, signatures[0], x=X)["y"].tolist() == wanted


def test_a_variable_whose_handle_a_function_hands_out_stays() -> None:
    graph = text_format.Parse(GRAPH, graph_pb2.GraphDef())
    assert list(Freezer(graph, ["one:0", "two:0"]).variables) == ["w"]
    graph.library.function[0].ret["handle"] = "b"
    assert not Freezer(graph, ["one:0", "two:0"]).variables


def test_a_function_is_copied_for_every_choice_of_constants() -> None:
    graph = text_format.Parse(GRAPH, graph_pb2.GraphDef())
    frozen = Freezer(graph, ["one:0", "two:0"]).frozen({"w": np.float32(1)})
    called = {node.name: node.attr["f"].func.name for node in frozen.node if node.op == "PartitionedCall"}
    copies = {function.signature.name: function for function in frozen.library.function}
    assert [copies[called[name]].node_def[0].op for name in ("one", "two")] == ["Identity", "ReadVariableOp"]
    assert [copies[called[name]].ret["out"] for name in ("one", "two")] == ["read:output:0", "read:value:0"]


def test_a_variable_that_another_signature_changes_is_seen_to_change(exported: Callable[..., Model]) -> None:
    model = exported("read", "nested", "counted")
    assert variables_left(model) == {"w"}
    assert call(model, "read", x=X)["y"].tolist() == [1, 0, 6]
    assert call(model, "counted", x=X)["y"].tolist() == [2, 2, 5]
    assert call(model, "read", x=X)["y"].tolist() == [2, 0, 10]
    assert call(model, "nested", x=X)["y"].tolist() == [22, 0, 110]


def test_the_shipped_model_keeps_no_variable_and_its_answers() -> None:
    folder = PROJECT / "serving" / "mnist-net" / "1"
    model = Model(folder, 1)
    assert variables_left(model) == set()
    images = np.random.default_rng(0).integers(0, 255, (8, 28, 28, 1)).astype(np.uint8)
    theirs = tf.saved_model.load(str(folder)).signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_allclose(call(model, "serving_default", images=images)["scores"], theirs["scores"], atol=1e-5)
    model.close()


@pytest.mark.parametrize(("limit", "most"), [("_MAX_FROZEN_BYTES", 15), ("_MAX_GRAPH_BYTES", 100)])
def test_large_weights_and_large_graphs_stay_as_they_are(
    exported: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(runtime, limit, most)
        model = exported("nested")
    assert not model._frozen
    assert call(model, "nested", x=X)["y"].tolist() == [11, 0, 66]
    monkeypatch.setattr(runtime, "_MAX_FROZEN_BYTES", 16)  # bytes of its four numbers
    assert exported("nested")._frozen


def test_only_so_many_sets_of_outputs_get_a_frozen_graph(
    exported: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_MAX_FROZEN_SETS", 1)
    model = exported("read", "nested")
    used: list[str] = []
    find = Session.ends
    monkeypatch.setattr(Session, "ends", lambda self, feeds, fetches: used.extend(feeds) or find(self, feeds, fetches))
    for _ in range(2):
        assert call(model, "nested", x=X)["y"].tolist() == [11, 0, 66]
        assert call(model, "read", x=X)["y"].tolist() == [1, 0, 6]
    assert used == ["frozen/nested_x:0", "read_x:0"]


def test_what_cannot_be_frozen_is_served_as_it_is(
    exported: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_session: Session, _graph: object, _prefix: str) -> None:
        raise invalid("staged")

    monkeypatch.setattr(Session, "add", refuse)
    with caplog.at_level(logging.WARNING):
        model = exported("nested")
    assert call(model, "nested", x=X)["y"].tolist() == [11, 0, 66]
    assert "is served as it is, its weights cannot be frozen: staged" in caplog.text
