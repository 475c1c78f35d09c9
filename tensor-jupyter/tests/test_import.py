"""`lab import`: what people have is served; what would run code, or cannot be called, is refused with a word."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing import importing
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.importing import default_name, import_model
from tensor_jupyter.publishing.independence import DECLARATION
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.replay import replay
from tensor_jupyter.publishing.samples import golden_samples

# Keras meets NumPy 2 when it saves a model
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def _quick_check(monkeypatch):
    """The replay itself, without a process of its own that would take seconds each time; test_export has that."""
    monkeypatch.setattr("tensor_jupyter.publishing.export.check", replay)
    monkeypatch.setattr(importing, "check", replay)


@pytest.fixture
def context(settings):
    return Context("m", settings=settings)


def half_plus_two(folder, signature="serving_default"):
    module = tf.Module()
    module.half = tf.Variable(0.5)
    module.run = tf.function(lambda x: {"y": module.half * x + 2}, [tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(folder), {signature: module.run})
    return folder


def nothing_visible(settings):
    return not list(settings.models.glob("[!.]*/*"))


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore")
def test_a_keras_file_is_served_with_labels_and_golden_samples(tmp_path, brightness_net, context, ending):
    brightness_net.save(tmp_path / f"net.{ending}")
    published, signatures = import_model(tmp_path / f"net.{ending}", context, ["light", "dark"])
    assert str(signatures["serving_default"].inputs["images"]) == "uint8 [*, 2, 2, 1]"
    assert len(golden_samples(published)) == 8
    with Graph(published) as graph:
        scores = graph.run("serving_default", {"images": np.full((1, 2, 2, 1), 51, np.uint8)})["scores"]
        card = graph.card()
    np.testing.assert_allclose(scores, [[0.2, 0.8]], atol=1e-6)
    assert card["labels"] == ["light", "dark"]
    assert card["input"] == {"height": 2, "width": 2, "channels": 1}
    assert card["independent_rows"] is True
    assert (published / DECLARATION).is_file()
    assert card["data_set"]["command"] == f"lab import net.{ending} --name m"


def test_with_a_data_set_it_is_measured(tmp_path, brightness_net, brightness_data, context, settings):
    brightness_net.save(tmp_path / "net.keras")
    import_model(tmp_path / "net.keras", context, (), brightness_data)
    report = Registry(settings.models, "m").report(1)
    accuracy = next(check for check in report["checks"] if check["name"] == "accuracy")
    assert accuracy["value"] > 0.95


def test_labels_of_a_data_set_must_fit_the_scores(tmp_path, brightness_data, context, settings):
    images = keras.Input((2, 2, 1), dtype="uint8")
    scores = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(keras.layers.Rescaling(1)(images)))
    keras.Model(images, scores).save(tmp_path / "net.keras")
    with pytest.raises(LabError, match=r"2 labels of brightness are given for 3 scores of net.keras"):
        import_model(tmp_path / "net.keras", context, (), brightness_data)
    assert nothing_visible(settings)


def test_several_inputs_and_outputs_keep_their_names(tmp_path, context):
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b", dtype="int32")
    rows = keras.layers.Embedding(4, 2)(b)
    keras.Model([a, b], [keras.layers.Dense(1, name="x")(a), keras.layers.Flatten(name="y")(rows)]).save(
        tmp_path / "two.keras"
    )
    _, signatures = import_model(tmp_path / "two.keras", context)
    found = signatures["serving_default"]
    assert {alias: str(tensor) for alias, tensor in found.inputs.items()} == {
        "a": "float32 [*, 3]",
        "b": "int32 [*, 2]",
    }
    assert [*found.outputs] == ["x", "y"]


@pytest.mark.parametrize("labels", [[], ["p"]])
def test_a_savedmodel_is_copied_as_it_is_and_labels_are_one_signature_more(tmp_path, context, labels):
    source = half_plus_two(tmp_path / "half")
    published, signatures = import_model(source, context, labels)
    same = "variables/variables.index"
    assert (source / same).read_bytes() == (published / same).read_bytes()
    with Graph(published) as graph:
        assert graph.run("serving_default", {"x": [1.0, 2.0, 5.0]})["y"].tolist() == [2.5, 3, 4.5]
        assert graph.card().get("labels", []) == labels
        assert graph.card()["independent_rows"] is True
        assert graph.run("describe", {"index": np.zeros(3, np.int32)})["card"].shape == (3,)
    assert [*signatures] == ["describe", "serving_default"]
    assert tf.saved_model.load(str(published)).half.numpy() == 0.5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_code_out_of_a_file_is_not_run(tmp_path, context, settings, ending):
    trap = str(tmp_path / "trapped")
    layer = keras.layers.Lambda(lambda x: (open(trap, "w"), x)[1])  # noqa: PTH123, SIM115
    model = keras.Sequential([keras.Input((4,)), layer])
    model.save(tmp_path / f"lambda.{ending}")
    (tmp_path / "trapped").unlink(missing_ok=True)
    with pytest.raises(LabError, match="has a Lambda layer, which is Python code out of a file, and is not run"):
        import_model(tmp_path / f"lambda.{ending}", context)
    assert not (tmp_path / "trapped").exists()
    assert nothing_visible(settings)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_layer_of_ones_own_is_reported(tmp_path, context, ending):
    class Mine(keras.layers.Layer):
        def call(self, value):
            return value

    keras.Sequential([keras.Input((4,)), Mine()]).save(tmp_path / f"own.{ending}")
    with pytest.raises(LabError, match="has a custom layer, whose code is not in the file"):
        import_model(tmp_path / f"own.{ending}", context)


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_model_is_refused_with_a_word(tmp_path, context, settings, brightness_net):
    half_plus_two(tmp_path / "family" / "7")
    (half_plus_two(tmp_path / "linked") / "passwords").symlink_to("/etc/passwd")
    brightness_net.save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "torn.keras").write_bytes(b"PK\x03\x04rubbish")
    (tmp_path / "torn.h5").write_bytes(b"\x89HDF\r\n\x1a\nrubbish")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").touch()
    brightness_net.save(tmp_path / "net.keras")
    for name, labels, message in (
        ("nowhere", [], "is not there"),
        ("family", [], "holds no saved_model.pb: give .*family/7"),
        ("empty", [], "wanted is the folder of a SavedModel"),
        ("linked", [], "passwords is a link or a device"),
        ("w.weights.h5", [], "holds weights without their network"),
        ("torn.keras", [], "cannot be read as a Keras model"),
        ("torn.h5", [], "cannot be read as a Keras model"),
        ("text.txt", [], "text.txt is not a model: give a .keras"),
        ("net.keras", ["a", "b", "c"], "3 labels are given for 2 scores"),
    ):
        with pytest.raises(LabError, match=message):
            import_model(tmp_path / name, context, labels)
    assert nothing_visible(settings)


def test_a_savedmodel_that_does_not_load_is_not_published(tmp_path, context, settings):
    source = half_plus_two(tmp_path / "half")
    (source / "variables" / "variables.index").write_bytes(b"torn")
    with pytest.raises(LabError):
        import_model(source, context)
    assert nothing_visible(settings)


@pytest.mark.parametrize(
    ("path", "name"), [("Old Model.h5", "old-model"), ("a.keras", "a"), ("../X__y.h5", "x__y"), ("---.h5", "model")]
)
def test_a_name_is_made_of_the_files(tmp_path, path, name):
    assert default_name(tmp_path / path) == name


def test_json_of_a_card_survives_any_label(tmp_path, context):
    labels = ['a "quoted" one', "größer", "\\n"]
    published, _ = import_model(half_plus_two(tmp_path / "half"), context, labels)
    with Graph(published) as graph:
        raw = graph.run("describe", {"index": [0]})["card"][0]
    assert json.loads(raw)["labels"] == labels


def running_total(folder):
    module = tf.Module()
    module.run = tf.function(lambda x: {"y": tf.cumsum(x)}, [tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(folder), {"serving_default": module.run})
    return folder


def lengths(folder):
    module = tf.Module()
    module.run = tf.function(lambda x: {"y": tf.strings.length(x)}, [tf.TensorSpec([None], tf.string, "x")])
    tf.saved_model.save(module, str(folder), {"serving_default": module.run})
    return folder


def test_a_savedmodel_whose_rows_depend_on_each_other_is_copied_unchanged(tmp_path, context):
    source = running_total(tmp_path / "total")
    published, _ = import_model(source, context)
    assert (source / "saved_model.pb").read_bytes() == (published / "saved_model.pb").read_bytes()
    assert not (published / DECLARATION).exists()
    with pytest.raises(LabError, match="rows depend on each other, so they cannot be declared independent"):
        import_model(source, context, independent_rows=True)


@pytest.mark.parametrize("given", [None, True])
def test_what_cannot_be_checked_is_the_operators_word(tmp_path, context, given):
    published, _ = import_model(lengths(tmp_path / "lengths"), context, independent_rows=given)
    with Graph(published) as graph:
        assert (graph.card() or {}).get("independent_rows") is given
    assert (published / DECLARATION).is_file() is bool(given)
