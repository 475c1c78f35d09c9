"""`lab import` of Keras files: what the layers say of images and scores is in the card, and the answers are Keras's."""

import json

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.export import export
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.importing import import_model
from tensor_jupyter.publishing.keras_card import Hints
from tensor_jupyter.publishing.made_up import as_input
from tensor_jupyter.publishing.replay import replay

# Keras meets NumPy 2 when it saves a model
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def _quick_check(monkeypatch):
    """The check itself, without a process of its own that would take seconds each time."""
    monkeypatch.setattr("tensor_jupyter.publishing.export.check", replay)


@pytest.fixture
def context(settings):
    return Context("m", settings=settings)


def saved_card(model, folder, context, labels=(), hints=None):
    """The card of the imported model, and its scores for a request."""
    model.save(folder / "net.keras")
    published, _ = import_model(folder / "net.keras", context, labels, hints=hints or Hints())
    with Graph(published) as graph:
        ((alias, _),) = graph.signatures["serving_default"].inputs.items()
        return graph.card(), lambda value: graph_scores(published, alias, value)


def graph_scores(published, alias, value):
    with Graph(published) as graph:
        return graph.run("serving_default", {alias: value})["scores"]


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_rescales_itself_gets_raw_pixels(tmp_path, context):
    """Classified as the card says, it answers what Keras answers for the same image."""
    layers = keras.layers
    images = layers.Input((12, 12, 3))
    mean = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255.0)(images))
    model = keras.Model(images, layers.Dense(3, activation="softmax")(mean))
    model.layers[-1].set_weights([9 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    card, scores = saved_card(model, tmp_path, context, ["red", "green", "blue"])
    assert card["input"] == {"height": 12, "width": 12, "channels": 3, "range": "0..255"}
    assert card["scores"] == "probabilities"
    red = np.full((1, 12, 12, 3), (230, 20, 20), np.uint8)
    np.testing.assert_allclose(scores(as_input(red, "float32", "0..255"))[0, 0], 0.999, atol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_open_sizes_stay_open_unless_given(tmp_path, context):
    layers = keras.layers
    images = layers.Input((None, None, 3))
    model = keras.Model(images, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(images))))
    assert saved_card(model, tmp_path, context)[0]["input"] == {"channels": 3}
    card, _ = saved_card(model, tmp_path, context, hints=Hints(size=(16, 24), pixels="-1..1"))
    assert card["input"] == {"height": 16, "width": 24, "channels": 3, "range": "-1..1"}


def test_other_channels_than_those_of_images_are_plain_numbers(tmp_path, context):
    values = keras.Input((8, 8, 4))
    model = keras.Model(values, keras.layers.Dense(2)(keras.layers.Flatten()(values)))
    assert "input" not in saved_card(model, tmp_path, context)[0]
    with pytest.raises(LabError, match="does not take images"):
        saved_card(model, tmp_path, context, hints=Hints(size=(8, 8)))


@pytest.mark.parametrize("labels", [["cat", "dog"], []])
def test_one_sigmoid_for_two_classes_is_served_as_two_scores(tmp_path, context, labels):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    card, scores = saved_card(model, tmp_path, context, labels)
    second = model(np.ones((1, 3), np.float32)).numpy()[0, 0]
    np.testing.assert_allclose(scores(np.ones((1, 3), np.float32)), [[1 - second, second]], atol=1e-6)
    assert card["labels"] == (labels or ["0", "1"])


def test_logits_are_what_the_loss_or_the_user_calls_so(tmp_path, context):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert "scores" not in saved_card(model, tmp_path, context)[0]
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert saved_card(model, tmp_path, context)[0]["scores"] == "logits"
    single = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(LabError, match=r"2 labels are given for 1 scores .* add --scores logits"):
        saved_card(single, tmp_path, context, ["cat", "dog"])
    card, scores = saved_card(single, tmp_path, context, ["cat", "dog"], Hints(scores="logits"))
    assert card["scores"] == "probabilities"
    np.testing.assert_allclose(scores(np.ones((2, 3), np.float32)).sum(axis=1), 1, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_texts_are_taken(tmp_path, context):
    texts = keras.Input((1,), dtype="string")
    words = keras.layers.TextVectorization(max_tokens=20, output_mode="multi_hot")
    words.adapt(["good film", "bad film"])
    model = keras.Model(texts, keras.layers.Dense(1, activation="sigmoid")(words(texts)))
    _, scores = saved_card(model, tmp_path, context)
    given = [["good film"], ["bad"]]
    np.testing.assert_allclose(scores(given)[:, 1:], model(tf.constant(given)).numpy(), atol=1e-6)
    model.save(tmp_path / "text.h5")
    with pytest.raises(LabError, match="does not hold the vocabulary of its text layer"):
        import_model(tmp_path / "text.h5", context)


@pytest.mark.filterwarnings("ignore")
def test_settings_of_keras_2_are_left_out(tmp_path, context):
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((6, 6, 3)),
            layers.DepthwiseConv2D(3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    model.save(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            layer["config"] |= {"DepthwiseConv2D": {"groups": 1}, "BatchNormalization": {"axis": [3]}}.get(
                layer["class_name"], {}
            )
        file.attrs["model_config"] = json.dumps(config)
    published, _ = import_model(tmp_path / "old.h5", context)
    images = np.ones((1, 6, 6, 3), np.float32)
    np.testing.assert_allclose(graph_scores(published, "images", images), model(images).numpy(), atol=1e-5)


class Difference(keras.Model):
    """Subclassed, with a list of two inputs."""

    def call(self, inputs):
        first, second = inputs
        return first - second


def test_a_list_of_samples_is_a_list_of_inputs(context):
    first, second = np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32)
    with Graph(export(Difference(), context, samples=[first, second])) as graph:
        assert len(graph.signatures["serving_default"].inputs) == 2
    with pytest.raises(LabError, match="cannot be called with the samples"):
        export(Difference(), context, samples=[[1.0, 2.0], [3.0]])
