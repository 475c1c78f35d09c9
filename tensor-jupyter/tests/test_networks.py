"""Each network by name: what it takes, what it gives, that it learns, and that it can be published."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_kit import bars, context_in

from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.export import export
from tensor_jupyter.training import Run, build, evaluate, mnist_net, train
from tensor_jupyter.training.augment import batches, change_for, photographs
from tensor_jupyter.training.evaluation import calibration_error, measured
from tensor_jupyter.training.models import vgg_net

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_the_dnn_takes_imgs_and_learns(tmp_path):
    data = bars()
    trained = train(Run(network="dnn", epochs=2), data, context_in(tmp_path), verbose=0)
    assert [tensor.name for tensor in trained.model.inputs] == ["imgs"]
    assert [layer.units for layer in trained.model.layers if hasattr(layer, "units")] == [256, 64, 2]
    assert trained.metrics["test_accuracy"] >= 0.95
    assert trained.metrics == evaluate(trained.model, data)
    assert list(trained.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]


def test_the_autoencoder_separates_known_from_unknown(tmp_path):
    data = bars()
    context = context_in(tmp_path)
    trained = train(Run(network="autoencoder", epochs=4), data, context, verbose=0)
    model, threshold = trained.model, trained.metrics["threshold"]
    assert model.output_shape == (None,)
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8)
    assert (model.predict(noise, verbose=0) > threshold).all()
    assert trained.metrics["test_false_alarms"] <= 0.1
    pixels, again = keras.Model(
        model.inputs[0], [model.get_layer("flatten").output, model.get_layer("reconstruction").output]
    )(noise)
    np.testing.assert_allclose(model(noise), np.mean((np.asarray(pixels) - np.asarray(again)) ** 2, axis=1), rtol=1e-4)
    assert float(np.max(pixels)) <= 1
    loaded = keras.models.load_model(context.keras_file)
    np.testing.assert_allclose(loaded(noise), model(noise), rtol=1e-5)
    published = export(model, context, trained.data, metrics=trained.metrics, threshold=threshold)
    signature = tf.saved_model.load(str(published)).signatures["serving_default"]
    assert signature(images=noise)["score"].shape == (20,)


@pytest.mark.parametrize(("base", "channels", "side"), [("MobileNetV2", 3, 48), ("EfficientNetB0", 1, 28)])
def test_a_base_takes_images_of_any_size_and_colour(base, channels, side):
    data = bars(side, channels)
    model = build(data, Run(network="transfer", base=base, weights="none", alpha=0.35))
    assert model.input_shape == (None, side, side, channels)
    assert model.inputs[0].dtype == "uint8"
    assert model(data.test.images[:2]).shape == (2, 2)


def test_a_pretrained_base_stays_as_it_is_but_for_the_layers_that_may_learn(tmp_path):
    """The weights of one model, saved to a file, are the base of another."""
    data = bars(32, 3, 40)
    scratch = build(data, Run(network="transfer", weights="none", alpha=0.35))
    (base,) = (layer for layer in scratch.layers if isinstance(layer, keras.Model))
    assert base.trainable
    base.save_weights(tmp_path / "base.weights.h5")
    given = {"network": "transfer", "weights": str(tmp_path / "base.weights.h5"), "alpha": 0.35, "epochs": 1}
    model = train(Run(**given, seed=2), data, context_in(tmp_path), verbose=0).model
    (again,) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    assert len(model.trainable_weights) == 2
    for mine, theirs in zip(again.weights, base.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    some = build(data, Run(**given, unfreeze=5))
    learning = {weight.path for weight in some.trainable_weights}
    assert 2 < len(learning) < 8
    assert not [path for path in learning if path.endswith(("gamma", "beta"))]


def test_weights_that_cannot_be_had_are_explained(tmp_path):
    data = bars(32, 3, 40)
    for weights, offline, expected in (
        ("imagenet", True, r"MobileNetV2 cannot be downloaded \(LAB_OFFLINE is set\). Give --weights FILE"),
        (str(tmp_path / "none.h5"), False, r"--weights is '.*none.h5', which is not a file"),
    ):
        with pytest.raises(LabError, match=expected):
            build(data, Run(network="transfer", weights=weights), offline)
    (tmp_path / "bad.weights.h5").write_bytes(b"rubbish")
    with pytest.raises(LabError, match=r"bad.weights.h5 does not fit MobileNetV2"):
        build(data, Run(network="transfer", weights=str(tmp_path / "bad.weights.h5")))


def test_the_cnn_makes_large_images_smaller_first():
    assert mnist_net(96, 128, 3, 5).count_params() < 500_000
    assert mnist_net().count_params() < 200_000


def test_the_vgg_net_has_400_000_parameters():
    assert vgg_net().count_params() == 399_234
    assert vgg_net(96, 128, 3, 5).output_shape == (None, 5)


def test_averaged_weights_are_kept_and_training_goes_on_with_its_own(tmp_path):
    """Momentum 0.5 of three steps, one an epoch: the kept weights are the mean that this gives, without bias."""
    seen = []

    class Weights(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002 - Keras names them
            seen.append([weight.numpy() for weight in self.model.trainable_variables])

    run = Run(network="dnn", epochs=3, batch_size=4096, weight_average=0.5, weight_decay=0.01, validation_split=0)
    trained = train(run, bars(), context_in(tmp_path), verbose=0, callbacks=[Weights()])
    steps = len(seen)
    average = seen[0]
    for weights in seen[1:]:
        average = [0.5 * mean + 0.5 * weight for mean, weight in zip(average, weights, strict=True)]
    assert steps > 3
    assert "val_loss" not in trained.history
    for kept, expected in zip(trained.model.trainable_variables, average, strict=True):
        np.testing.assert_allclose(kept, expected, atol=1e-5)
    assert any(
        not np.allclose(kept, last, atol=1e-7)
        for kept, last in zip(trained.model.trainable_variables, seen[-1], strict=True)
    )


def test_an_autoencoder_without_validation_images_is_rejected(tmp_path):
    with pytest.raises(LabError, match="--validation-split above 0"):
        train(Run(network="autoencoder", validation_split=0), bars(), context_in(tmp_path))


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    assert calibration_error(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, True, False])) == pytest.approx(0.15)
    assert calibration_error(np.array([1.0, 0.5, 0.5]), np.array([True, True, False])) == pytest.approx(0)


def test_mixed_precision_trains_in_halves_and_leaves_a_model_in_whole_numbers(tmp_path):
    before = keras.config.dtype_policy().name
    run = Run(network="dnn", epochs=1, mixed_precision="on", augmentation="none")  # the slow part, in another test
    trained = train(run, bars(), context_in(tmp_path), verbose=0)
    assert {layer.compute_dtype for layer in trained.model.layers} <= {"float32", "uint8"}
    assert trained.metrics["test_accuracy"] >= 0.9
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize("polarity", ["light-on-dark", "dark-on-light"])
def test_varied_digits_are_still_of_their_label(polarity):
    """Same type, every image changed, and a standing bar still has more ink in a column than in a row."""
    data = bars()
    images = data.train.images if polarity == "light-on-dark" else 255 - data.train.images
    object.__setattr__(data, "polarity", polarity)
    pairs, steps = batches(images, data.train.labels, 64, 7, change_for(Run(), data), range(2))
    rows = list(pairs)
    assert len(rows) == 2 * steps
    varied = np.concatenate([batch for batch, _ in rows])
    labels = np.concatenate([classes for _, classes in rows])
    assert varied.dtype == np.uint8
    assert varied.shape == (400, 28, 28, 1)
    assert len(np.unique(varied.reshape(400, -1), axis=0)) == 400
    ink = varied[..., 0].astype(int) if polarity == "light-on-dark" else 255 - varied[..., 0].astype(int)
    stands = ink.sum(axis=1).max(axis=1) > ink.sum(axis=2).max(axis=1)
    assert (stands == (labels == 0)).mean() > 0.95


def test_photographs_are_mirrored_and_keep_their_size():
    data = bars(40, 3, 16)
    object.__setattr__(data, "centering", "none")
    change = change_for(Run(), data)
    assert change is photographs
    images = np.zeros((64, 40, 40, 3), np.float32)
    images[:, :, :20] = (200, 20, 20)
    varied = np.asarray(change(tf.constant(images), tf.constant([1, 2])))
    assert varied.shape == images.shape
    left, right = varied[:, :, :10].mean(axis=(1, 2, 3)), varied[:, :, 30:].mean(axis=(1, 2, 3))
    assert 0.2 < (left > right).mean() < 0.8


def test_an_autoencoder_is_given_the_images_as_they_are():
    assert change_for(Run(network="autoencoder"), bars()) is None
    assert change_for(Run(network="autoencoder", augmentation="digits"), bars()) is not None


def test_scores_that_are_not_probabilities_have_an_accuracy_and_no_calibration():
    data = bars()
    scores = np.eye(len(data.labels))[data.test.labels] * 5 - 2
    assert measured(scores, data) == {"test_accuracy": 1.0, "test_images": len(data.test)}


def test_a_network_learns_from_teachers_of_other_seeds_and_they_are_trained_once(tmp_path):
    """Stopped in the third training, its own, it goes on without training its two teachers again."""
    run = Run(network="dnn", epochs=2, teachers=2, validation_split=0)
    output: list[str] = []

    class Stop(keras.callbacks.Callback):
        trainings = 0

        def on_train_begin(self, logs=None):  # noqa: ARG002 - Keras names it
            Stop.trainings += 1

        def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
            if Stop.trainings == 3 and epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, bars(), context_in(tmp_path), verbose=0, callbacks=[Stop()], say=output.append)
    assert output == ["Teacher 1 of 2", "Teacher 2 of 2"]
    trained = train(run, bars(), context_in(tmp_path), verbose=0, callbacks=[Stop()], say=output.append)
    assert output[2:] == ["Resuming the stopped training of version 1 after epoch 1."]
    assert trained.metrics["test_accuracy"] == 1
    alone = train(run.model_copy(update={"teachers": 0}), bars(), context_in(tmp_path / "alone"), verbose=0)
    assert not np.array_equal(trained.model.get_weights()[0], alone.model.get_weights()[0])
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["bars", "bars-teacher-1", "bars-teacher-2"]
    assert not list((tmp_path / "data").rglob("teachers/*"))


def test_teachers_learn_from_the_run_s_whole_subset(tmp_path):
    steps = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: steps.append(count.params["steps"]))
    run = Run(network="dnn", epochs=1, teachers=1, validation_split=0, subset=0.5, batch_size=10)
    train(run, bars(count=9000), context_in(tmp_path), verbose=0, callbacks=[count])
    assert steps == [450, 450]


def test_an_autoencoder_has_no_teachers(tmp_path):
    with pytest.raises(LabError, match="leave teachers at 0"):
        train(Run(network="autoencoder", teachers=1), bars(), context_in(tmp_path))
