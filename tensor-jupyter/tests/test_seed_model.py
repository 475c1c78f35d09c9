"""The model the lab ships with: small, self-contained, and right about the sample images."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tensor_jupyter.publishing.replay import replay
from tensor_jupyter.publishing.samples import golden_samples
from tensor_jupyter.training import Run

REPOSITORY = Path(__file__).parents[2]
SEED = REPOSITORY / "tensor-serving-gpu/serving/mnist-net/1"
SAMPLES = REPOSITORY / "tensor-rest/data/mnist"


@pytest.fixture(scope="module")
def answers():
    """(label, scores) of every sample image, and the card, from the graph as the C++ server has it."""
    paths = sorted(SAMPLES.glob("*.jpg"))
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(np.asarray(image))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(SEED))
        predict, describe = meta.signature_def["serving_default"], meta.signature_def["describe"]
        images = np.stack(pixels)[..., np.newaxis]
        scores = session.run(predict.outputs["scores"].name, {predict.inputs["images"].name: images})
        card = session.run(describe.outputs["card"].name, {describe.inputs["index"].name: [0]})[0]
    return np.array([int(path.name[6]) for path in paths]), scores, json.loads(card)


def test_it_is_at_most_two_megabytes():
    assert sum(path.stat().st_size for path in SEED.rglob("*") if path.is_file()) <= 2_000_000


def test_98_of_100_sample_images_are_right(answers):
    labels, scores, _ = answers
    assert len(labels) == 100
    assert (scores.argmax(axis=1) == labels).sum() >= 98
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert len(np.unique(scores.max(axis=1).round(4))) > 40  # not every image gets the same score


def test_its_card_has_its_accuracy_calibration_and_command(answers):
    _, _, card = answers
    assert card["name"] == "mnist-net"
    assert card["labels"] == list("0123456789")
    assert card["input"] == {
        "height": 28,
        "width": 28,
        "channels": 1,
        "polarity": "light-on-dark",
        "centering": "mnist",
    }
    assert card["metrics"]["test_images"] == 10000
    assert card["metrics"]["test_accuracy"] >= 0.9955
    assert card["metrics"]["test_calibration_error"] <= 0.005
    assert card["data_set"]["name"] == "mnist"
    assert card["data_set"]["train_images"] == 50000
    assert "last 10000" in card["data_set"]["split"]
    assert card["scores"] == "probabilities"


def test_the_committed_settings_are_the_command_in_its_card(answers):
    run = Run.read(REPOSITORY / "tensor-jupyter" / "mnist-net.toml")
    flags = [word for name, value in run.differences().items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = answers[2]["data_set"]["command"].split()
    assert command[:5] == ["lab", "train", "mnist-net", "--data", "DIR"]
    assert (
        dict(zip(flags[::2], flags[1::2], strict=True)).items()
        <= dict(zip(command[5::2], command[6::2], strict=True)).items()
    )


def test_its_rows_are_declared_independent(answers):
    assert answers[2]["independent_rows"] is True
    assert (SEED / "assets.extra" / "batching_params.pbtxt").is_file()


def test_its_golden_samples_get_their_scores():
    samples = golden_samples(SEED)
    assert [sample.inputs["images"].shape for sample in samples] == 8 * [(1, 28, 28, 1)]
    assert [sample.outputs["scores"].shape for sample in samples] == 8 * [(1, 10)]
    replay(SEED)


def test_no_path_of_a_machine_is_in_it():
    for path in SEED.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for word in (b"/home/", b"/tmp/", b"/opt/", b"/usr/", b"site-packages", bytes(Path.cwd())):
                assert word not in content, f"{path.name} holds {word!r}"
