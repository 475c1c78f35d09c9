"""What is published is self-contained and right; what is not right is not published."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tensor_jupyter import export as export_module
from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.export import export
from tensor_jupyter.replay import golden_samples, replay, write_golden_samples
from tensor_jupyter.staging import staging

METRICS = {"test_accuracy": 1.0, "test_images": 52}


@pytest.fixture
def context(settings):
    return Context("brightness", settings=settings)


def nothing_visible(settings):
    return not list(settings.models.glob("[!.]*/*")) and not list((settings.models / ".staging").iterdir())


def ask(folder, signature, name, value):
    """Outputs of a signature by name, from the graph alone as the C++ server has it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        found = meta.signature_def[signature]
        assert [*found.inputs] == [name]
        fetches = {key: tensor.name for key, tensor in found.outputs.items()}
        return session.run(fetches, {found.inputs[name].name: value})


def test_the_published_model_is_self_contained(brightness_net, brightness_data, context, settings):
    published = export(brightness_net, brightness_data, context, METRICS, "lab train brightness")
    assert published == settings.models / "brightness" / "1"
    assert list((settings.models / ".staging").iterdir()) == []

    pictures = np.array([0, 51, 255], np.uint8).repeat(4).reshape(3, 2, 2, 1)
    scores = ask(published, "serving_default", "images", pictures)["scores"]
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[0, 1], [0.2, 0.8], [1, 0]], atol=1e-6)

    for rows in (1, 3):
        cards = ask(published, "describe", "index", np.zeros(rows, np.int32))["card"]
        assert cards.shape == (rows,)
        assert len(set(cards)) == 1
    card = json.loads(cards[0])
    assert card.pop("created").endswith("Z")
    assert card == {
        "schema": 1,
        "name": "brightness",
        "labels": ["light", "dark"],
        "input": {"height": 2, "width": 2, "channels": 1, "polarity": "light-on-dark", "centering": "mnist"},
        "metrics": METRICS,
        "data_set": {
            "name": "brightness",
            "train_images": 52,
            "split": "none",
            "command": "lab train brightness",
        },
        "frameworks": {"tensorflow": tf.__version__, "keras": card["frameworks"]["keras"]},
    }


def test_golden_samples_travel_with_their_answers(brightness_net, brightness_data, context):
    published = export(brightness_net, brightness_data, context, METRICS)
    images, scores = golden_samples(published)
    assert images.shape == (8, 2, 2, 1)
    assert images.dtype == np.uint8
    np.testing.assert_allclose(scores[:, 0], images.mean(axis=(1, 2, 3)) / 255, atol=1e-6)
    replay(published)


def test_a_second_export_is_a_new_version(brightness_net, brightness_data, context):
    names = [export(brightness_net, brightness_data, context, METRICS).name for _ in range(2)]
    assert names == ["1", "2"]


def test_a_model_that_scores_nan_is_not_published(brightness_net, brightness_data, context, settings):
    brightness_net.set_weights([np.full_like(weight, np.nan) for weight in brightness_net.get_weights()])
    with pytest.raises(LabError, match="not published: the golden samples get other scores"):
        export(brightness_net, brightness_data, context, METRICS)
    assert nothing_visible(settings)


def test_a_model_that_cannot_be_loaded_from_its_graph_is_not_published(
    brightness_net, brightness_data, context, settings, monkeypatch
):
    """Staged: the variables are lost on the way to the disk."""
    write = export_module.write

    def lose_variables(model, card_text, folder):
        write(model, card_text, folder)
        (folder / "variables" / "variables.index").unlink()

    monkeypatch.setattr(export_module, "write", lose_variables)
    with pytest.raises(LabError, match=r"cannot be served, so it was not published: .*variables"):
        export(brightness_net, brightness_data, context, METRICS)
    assert nothing_visible(settings)


def test_labels_must_fit_the_scores(brightness_net, brightness_data, context, settings):
    object.__setattr__(brightness_data, "labels", ("light", "grey", "dark"))
    with pytest.raises(LabError, match="3 labels for 2 scores"):
        export(brightness_net, brightness_data, context, METRICS)
    assert nothing_visible(settings)


def test_other_scores_than_recorded_and_a_single_card_are_found_out(brightness_net, settings):
    images = np.full((8, 2, 2, 1), 255, np.uint8)
    with staging(settings.models) as folder:
        export_module.write(brightness_net, '{"labels": ["light", "dark"]}', folder)
        write_golden_samples(folder, "m", images, np.tile(np.float32([1, 0]), (8, 1)))
        replay(folder)
        write_golden_samples(folder, "m", images, np.tile(np.float32([0.9, 0.1]), (8, 1)))
        with pytest.raises(LabError, match="other scores"):
            replay(folder)
        (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"rubbish")
        with pytest.raises(LabError, match="holds no golden samples"):
            replay(folder)

    module = tf.Module()
    module.serve = tf.function(
        lambda images: {"scores": tf.cast(images[:, 0, 0], tf.float32) * [1 / 255, 0.0]},
        [tf.TensorSpec((None, 2, 2, 1), tf.uint8, "images")],
    )
    module.card = tf.function(
        lambda index: {"card": tf.constant(['{"labels": ["light", "dark"]}'])},  # noqa: ARG005
        [tf.TensorSpec((None,), tf.int32, "index")],
    )
    with staging(settings.models) as folder:
        tf.saved_model.save(module, folder, {"serving_default": module.serve, "describe": module.card})
        write_golden_samples(folder, "m", images, np.tile(np.float32([1, 0]), (8, 1)))
        with pytest.raises(LabError, match=r"8 rows of 'describe' give cards of shape \(1,\)"):
            replay(folder)


def test_exports_at_once_get_versions_of_their_own(brightness_net, brightness_data, settings):
    """Both contexts were made before either published."""
    contexts = [Context("brightness", settings=settings) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = [pool.submit(export, brightness_net, brightness_data, context, METRICS) for context in contexts]
        assert sorted(job.result(timeout=120).name for job in jobs) == ["1", "2"]


KILLED_WHILE_CHECKING = """
import os, signal, sys
from pathlib import Path
import keras, numpy as np
from tensor_jupyter import export as module
from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset, Pictures
from tensor_jupyter.settings import Settings

module.check = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
root = Path(sys.argv[1])
images = keras.Input((2, 2, 1), dtype="uint8")
model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(images)))
pictures = Pictures(np.zeros((9, 2, 2, 1), np.uint8), np.zeros(9, np.int64))
context = Context("m", settings=Settings(models=root / "models", logs=root / "logs"))
module.export(model, Dataset("d", ("a", "b"), pictures, pictures, "", ""), context, {})
"""


def test_a_kill_in_the_middle_leaves_nothing_visible(tmp_path):
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_CHECKING, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list((tmp_path / "models").glob("[!.]*")) == []
    assert len(list((tmp_path / "models" / ".staging").glob("export-*/version/saved_model.pb"))) == 1
