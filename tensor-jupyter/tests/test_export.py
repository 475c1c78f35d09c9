"""What is published is self-contained and right; what is not right is not published."""

import concurrent.futures
import json
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing import export as export_module
from tensor_jupyter.publishing.card import git_commit
from tensor_jupyter.publishing.export import export
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.independence import DECLARATION
from tensor_jupyter.publishing.keras_endpoint import Endpoint
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.replay import replay
from tensor_jupyter.publishing.samples import Sample, golden_samples, write_golden_samples
from tensor_jupyter.publishing.staging import staging

METRICS = {"test_accuracy": 1.0, "test_images": 52}


@pytest.fixture
def context(settings):
    return Context("brightness", settings=settings)


@pytest.fixture
def quick_check(monkeypatch):
    """Where several versions are made: the golden samples are replayed here, not in a process that takes seconds."""
    monkeypatch.setattr(export_module, "check", replay)


def nothing_visible(settings):
    return not list(settings.models.glob("[!.]*/*")) and not list(settings.models.glob(".staging/*"))


def run_signature(folder, signature, name, value):
    """Outputs of a signature by name, from the graph alone as the C++ server has it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        found = meta.signature_def[signature]
        assert [*found.inputs] == [name]
        fetches = {key: tensor.name for key, tensor in found.outputs.items()}
        return session.run(fetches, {found.inputs[name].name: value})


def test_the_published_model_is_self_contained(brightness_net, brightness_data, context, settings, monkeypatch):
    monkeypatch.setattr("tensor_jupyter.publishing.card.git_commit", lambda: "91d19fa")
    published = export(brightness_net, context, brightness_data, metrics=METRICS, command="lab train brightness")
    assert published == settings.models / "brightness" / "1"
    assert list((settings.models / ".staging").iterdir()) == []

    given = np.array([0, 51, 255], np.uint8).repeat(4).reshape(3, 2, 2, 1)
    scores = run_signature(published, "serving_default", "images", given)["scores"]
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[0, 1], [0.2, 0.8], [1, 0]], atol=1e-6)

    for rows in (1, 3):
        cards = run_signature(published, "describe", "index", np.zeros(rows, np.int32))["card"]
        assert cards.shape == (rows,)
        assert len(set(cards)) == 1
    assert (published / DECLARATION).read_text().startswith("# The rows of every signature are independent")
    card = json.loads(cards[0])
    assert card.pop("created").endswith("Z")
    assert card == {
        "schema": 1,
        "name": "brightness",
        "labels": ["light", "dark"],
        "input": {"height": 2, "width": 2, "channels": 1, "polarity": None, "centering": "none"},
        "metrics": METRICS,
        "data_set": {
            "name": "brightness",
            "hash": brightness_data.hash,
            "train_images": 52,
            "test_images": 52,
            "split": "none",
            "command": "lab train brightness",
        },
        "git_commit": "91d19fa",
        "independent_rows": True,
        "frameworks": {"tensorflow": tf.__version__, **card["frameworks"]},
    }


@pytest.mark.usefixtures("quick_check")
def test_golden_samples_travel_with_their_answers(brightness_net, brightness_data, context):
    published = export(brightness_net, context, brightness_data, metrics=METRICS)
    samples = golden_samples(published)
    images = np.concatenate([sample.inputs["images"] for sample in samples])
    scores = np.concatenate([sample.outputs["scores"] for sample in samples])
    assert images.shape == (8, 2, 2, 1)
    assert images.dtype == np.uint8
    np.testing.assert_allclose(scores[:, 0], images.mean(axis=(1, 2, 3)) / 255, atol=1e-6)
    replay(published)


@pytest.mark.usefixtures("quick_check")
def test_a_second_export_is_a_new_version(brightness_net, brightness_data, context):
    names = [export(brightness_net, context, brightness_data, metrics=METRICS).name for _ in range(2)]
    assert names == ["1", "2"]


def test_a_model_that_scores_nan_is_not_published(brightness_net, brightness_data, context, settings):
    brightness_net.set_weights([np.full_like(weight, np.nan) for weight in brightness_net.get_weights()])
    with pytest.raises(LabError, match="not published: output 'scores' of a golden sample differs"):
        export(brightness_net, context, brightness_data, metrics=METRICS)
    assert nothing_visible(settings)


def test_a_model_that_cannot_be_loaded_from_its_graph_is_not_published(
    brightness_net, brightness_data, context, settings, monkeypatch
):
    """Staged: the variables are lost on the way to the disk."""
    write = export_module.write

    def lose_variables(endpoint, folder):
        write(endpoint, folder)
        (folder / "variables" / "variables.index").unlink()

    monkeypatch.setattr(export_module, "write", lose_variables)
    with pytest.raises(LabError, match=r"cannot be served, so it was not published: .*variables"):
        export(brightness_net, context, brightness_data, metrics=METRICS)
    assert nothing_visible(settings)


def test_labels_must_fit_the_scores(brightness_net, brightness_data, context, settings):
    object.__setattr__(brightness_data, "labels", ("light", "grey", "dark"))
    with pytest.raises(LabError, match="3 labels for 2 scores"):
        export(brightness_net, context, brightness_data, metrics=METRICS)
    assert nothing_visible(settings)


def test_other_scores_than_recorded_are_refused(brightness_net, settings):
    images = {"images": np.full((1, 2, 2, 1), 255, np.uint8)}
    white = {"scores": np.float32([[1, 0]])}
    with staging(settings.models) as folder:
        export_module.write(Endpoint.of(brightness_net), folder)
        write_golden_samples(folder, "m", [Sample("serving_default", images, white)])
        replay(folder)
        other = Sample("serving_default", images, {"scores": np.float32([[0.9, 0]])})
        write_golden_samples(folder, "m", [other])
        with pytest.raises(LabError, match="output 'scores' of a golden sample differs"):
            replay(folder)
        (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"rubbish")
        with pytest.raises(LabError, match="tf_serving_warmup_requests"):
            replay(folder)


@pytest.mark.usefixtures("quick_check")
def test_exports_at_once_get_versions_of_their_own(brightness_net, brightness_data, settings):
    """Both contexts were made before either published."""
    contexts = [Context("brightness", settings=settings) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = [pool.submit(export, brightness_net, context, brightness_data, metrics=METRICS) for context in contexts]
        assert sorted(job.result(timeout=120).name for job in jobs) == ["1", "2"]


@pytest.mark.parametrize(("name", "alias"), [("imgs", "imgs"), ("images", "images"), ("input_layer", "images")])
def test_images_go_in_as_images_or_as_imgs(brightness_data, name, alias):
    images = keras.Input((2, 2, 1), dtype="uint8", name=name)
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(images)))
    endpoint = Endpoint.of(model)
    assert [*endpoint.inputs] == [alias]
    assert endpoint.answers({alias: brightness_data.test.images})["scores"].shape == (52, 2)


@pytest.mark.usefixtures("quick_check")
def test_a_concept_model_answers_one_score_and_its_card_has_the_threshold(brightness_data, settings):
    images = keras.Input((2, 2, 1), dtype="uint8", name="images")
    error = keras.ops.mean(keras.ops.cast(images, "float32"), axis=(1, 2, 3))
    context = Context("concept", settings=settings)
    published = export(
        keras.Model(images, error), context, brightness_data, metrics={}, threshold=200.0, companion="brightness"
    )
    given = np.array([0, 51], np.uint8).repeat(4).reshape(2, 2, 2, 1)
    np.testing.assert_allclose(run_signature(published, "serving_default", "images", given)["score"], [0, 51])
    card = json.loads(run_signature(published, "describe", "index", [0])["card"][0])
    assert (card["threshold"], card["companion"]) == (200.0, "brightness")
    checks = {check["name"]: check for check in Registry(settings.models, "concept").report(1)["checks"]}
    assert checks["accuracy"]["value"] == pytest.approx(
        (brightness_data.test.images[:, 0, 0, 0] <= 200).mean(), abs=1e-3
    )


@pytest.mark.usefixtures("quick_check")
def test_every_version_has_the_gates_report_beside_it(brightness_net, brightness_data, settings):
    """The second answers as the first; the third answers the other way round. All are published: it stops nothing."""
    for turned in (False, False, True):
        if turned:
            kernel, bias = brightness_net.get_weights()
            brightness_net.set_weights([-kernel, 1 - bias])
        export(brightness_net, Context("b", settings=settings), brightness_data, metrics=METRICS)
    registry = Registry(settings.models, "b")
    reports = [registry.report(number) for number in registry.numbers()]
    assert [report["passed"] for report in reports] == [True, True, False]
    assert [report["current"] for report in reports] == [0, 1, 2]
    last = {check["name"]: check for check in reports[2]["checks"]}
    assert last["golden samples"]["passed"]
    assert last["accuracy"]["value"] < 0.1
    assert last["disagreement"]["value"] > 0.9


@pytest.mark.usefixtures("quick_check")
def test_publishing_beside_a_pinned_version_is_reported(brightness_net, brightness_data, settings, caplog):
    export(brightness_net, Context("b", settings=settings), brightness_data, metrics=METRICS)
    Registry(settings.models, "b").rollback([1], target=1)
    export(brightness_net, Context("b", settings=settings), brightness_data, metrics=METRICS)
    assert "b is pinned to 1: `lab models promote b 2`" in caplog.text


def test_the_commit_is_the_callers_or_the_images_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) == ""
    monkeypatch.setenv("LAB_GIT_COMMIT", "abc123")
    assert git_commit(tmp_path) == "abc123"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for words in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    commit = git_commit(tmp_path)
    assert len(commit) == 40
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) == "abc123"


class TwoInputs(keras.Model):
    """Subclassed, with inputs and outputs in dicts."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return {"sum": self.dense(inputs["numbers"]), "length": tf.strings.length(inputs["text"])}


@pytest.mark.usefixtures("quick_check")
def test_a_subclassed_model_is_built_and_typed_by_its_samples(context):
    numbers, texts = np.ones((4, 3)), np.array(["a", "bb", "ccc", "dddd"])
    model = TwoInputs()
    with pytest.raises(LabError, match="inputs of the model are unknown"):
        export(model, context)
    published = export(model, context, samples={"numbers": numbers, "text": texts})
    with Graph(published) as graph:
        signature = graph.signatures["serving_default"]
        assert {alias: tensor.dtype for alias, tensor in signature.inputs.items()} == {
            "numbers": "float32",
            "text": "string",
        }
        found = graph.run("serving_default", {"numbers": numbers[:2], "text": texts[:2]})
        assert found["length"].tolist() == [1, 2]
        assert graph.card()["independent_rows"] is True


@pytest.mark.usefixtures("quick_check")
def test_a_model_whose_rows_depend_on_each_other_is_not_declared(brightness_data, context, caplog):
    images = keras.Input((2, 2, 1), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    centred = flat - keras.ops.mean(flat, axis=0)
    published = export(keras.Model(images, keras.layers.Dense(2)(centred)), context, brightness_data)
    assert not (published / DECLARATION).exists()
    with Graph(published) as graph:
        assert "independent_rows" not in graph.card()
    assert "each request will run alone, since the rows depend on each other" in caplog.text


@pytest.mark.usefixtures("quick_check")
@pytest.mark.parametrize(
    ("loss", "calibrated"), [(keras.losses.SparseCategoricalCrossentropy(from_logits=True), True), ("mse", False)]
)
def test_scores_below_zero_are_measured(brightness_data, context, loss, calibrated):
    images = keras.Input((2, 2, 1), dtype="uint8")
    dense = keras.layers.Dense(2)
    model = keras.Model(images, dense(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))))
    dense.set_weights([np.array([[2.5, -2.5]] * 4), np.array([-50.0, -40.0])])
    model.compile(loss=loss)
    with Graph(export(model, context, brightness_data)) as graph:
        metrics = graph.card()["metrics"]
    assert metrics["test_accuracy"] > 0.9
    assert ("test_calibration_error" in metrics) is calibrated


@pytest.mark.usefixtures("quick_check")
def test_accuracy_is_measured_with_the_pixels_that_the_layers_want(brightness_data, context):
    images = keras.Input((2, 2, 1))
    dense = keras.layers.Dense(2)
    model = keras.Model(images, dense(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))))
    dense.set_weights([np.array([[0.25, -0.25]] * 4), np.array([0.0, 1.0])])
    with Graph(export(model, context, brightness_data)) as graph:
        card = graph.card()
    assert card["input"]["range"] == "0..255"
    assert card["metrics"]["test_accuracy"] > 0.95
