"""Training on very little: it learns, is watched, and its pictures stay pictures."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tensor_jupyter.augment import batches
from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset, Pictures
from tensor_jupyter.models import mnist_net
from tensor_jupyter.train import evaluate, train

# Keras hands its variables to NumPy 2 in the old way when its TensorBoard callback writes histograms.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def bars() -> Dataset:
    """0 is a bar that stands, 1 is a bar that lies."""
    images = np.zeros((400, 28, 28, 1), np.uint8)
    images[::2, 6:22, 12:16] = 255
    images[1::2, 12:16, 6:22] = 255
    pictures = Pictures(images, np.arange(400) % 2)
    return Dataset("bars", tuple("0123456789"), pictures, pictures.take(slice(40)), "none", "bars")


@pytest.fixture(scope="module")
def trained(bars, tmp_path_factory):
    """The net after some epochs on the bars, with its context and history."""
    from tensor_jupyter.settings import Settings

    root = tmp_path_factory.mktemp("trained")
    settings = Settings(models=root / "models", logs=root / "logs", data=root / "data")
    context = Context("bars", settings=settings)
    model = mnist_net()
    history = train(model, bars, context, epochs=2, verbose=0)
    return model, context, history


def test_it_learns_what_lies_and_what_stands(trained, bars):
    model, _, _ = trained
    metrics = evaluate(model, bars)
    assert metrics["test_images"] == 40
    assert metrics["test_accuracy"] >= 0.95


def test_tensorboard_gets_epochs_batches_histograms_and_the_graph(trained):
    _, context, history = trained
    assert context.log_dir.name == "1"
    events = {run: EventAccumulator(str(context.log_dir / run)).Reload() for run in ("train", "validation")}
    tags = events["train"].Tags()
    assert {"epoch_accuracy", "epoch_loss", "batch_loss"} <= set(tags["tensors"])
    assert any("conv1" in tag and "kernel" in tag for tag in tags["tensors"])
    assert tags["graph"] or tags["run_metadata"] or "keras" in tags["tensors"]
    assert len(events["train"].Tensors("epoch_accuracy")) == len(history.epoch)
    assert len(events["validation"].Tensors("epoch_accuracy")) == len(history.epoch)


def test_the_best_state_and_the_keras_file_are_kept(trained):
    import keras

    model, context, _ = trained
    assert (context.checkpoint_dir / "best.keras").is_file()
    again = keras.models.load_model(context.keras_file)
    picture = np.zeros((1, 28, 28, 1), np.uint8)
    np.testing.assert_allclose(again(picture), model(picture), atol=1e-6)


def test_training_alone_publishes_nothing(trained):
    _, context, _ = trained
    assert list(context.settings.models.iterdir()) == []


def test_varied_pictures_are_still_of_their_label(bars):
    """Same type, same count, every picture changed, and a standing bar still has more ink in a column than in a row."""
    first, second = (list(batches(*bar(bars), batch_size=64, seed=seed)) for seed in (1, 2))
    images = np.concatenate([pictures for pictures, _ in first])
    labels = np.concatenate([classes for _, classes in first])
    assert images.dtype == np.uint8
    assert images.shape == (400, 28, 28, 1)
    assert len(np.unique(images.reshape(400, -1), axis=0)) == 400
    ink = images[..., 0].astype(int)
    stands = ink.sum(axis=1).max(axis=1) > ink.sum(axis=2).max(axis=1)
    assert (stands == (labels == 0)).mean() > 0.97
    assert not np.array_equal(images[:64], second[0][0])


def bar(data):
    return data.train.images, data.train.labels
