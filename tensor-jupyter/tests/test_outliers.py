"""What a concept model is trained against: foreign images in MNIST's form, the same for the same seed."""

import keras
import numpy as np
import pytest
from training_kit import bars

from tensor_jupyter.context import Context
from tensor_jupyter.data import LabelledImages
from tensor_jupyter.training.evaluation import scores_of
from tensor_jupyter.training.fit import train
from tensor_jupyter.training.outliers import ERROR, fitted, outliers
from tensor_jupyter.training.run import Run


@pytest.fixture(scope="module")
def digits():
    """300 images of noise with a dark border, as digits 0 to 9."""
    images = np.zeros((300, 28, 28, 1), np.uint8)
    images[:, 4:24, 4:24] = np.random.default_rng(5).integers(0, 256, (300, 20, 20, 1))
    return LabelledImages(images, np.arange(300) % 10)


@pytest.fixture(scope="module")
def letters():
    """40 letters L that fill their images."""
    images = np.zeros((40, 28, 28, 1), np.uint8)
    images[:, :, :6] = images[:, 22:] = 255
    return LabelledImages(images, np.zeros(40, np.int64))


def test_the_same_seed_gives_the_same_images(digits, letters):
    made = outliers(digits, letters, 1)
    assert (made.dtype, made.shape[1:]) == (np.uint8, (28, 28, 1))
    assert 3 * 40 + 2 * 100 + 100 + 300 < len(made) <= 3 * 40 + 3 * 100 + 100 + 300
    np.testing.assert_array_equal(made, outliers(digits, letters, 1))
    assert not np.array_equal(made, outliers(digits, letters, 2))


def test_no_digit_is_among_them(digits, letters):
    made = {image.tobytes() for image in outliers(digits, letters, 1)}
    assert not made & {image.tobytes() for image in digits.images}


def test_digits_that_stay_digits_are_not_turned(letters):
    rings = LabelledImages(np.full((60, 28, 28, 1), 9, np.uint8), np.repeat([0, 1, 8], 20))
    made = len(outliers(rings, letters, 1))
    assert 3 * 20 + 20 + 100 + 300 < made < 3 * 20 + 20 + 20 + 100 + 300, "letters, some halves, strokes, blank, noise"


def test_parts_of_one_digit_are_not_put_together(letters):
    ones = LabelledImages(np.full((60, 28, 28, 1), 9, np.uint8), np.ones(60, np.int64))
    assert len(outliers(ones, letters, 1)) == 3 * 20 + 20 + 100 + 300


def test_fitted_glyphs_lie_in_the_box_with_their_mass_in_the_middle(letters):
    image = fitted(letters.images[:1])[0, ..., 0]
    rows, columns = np.nonzero(image)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 20
    middle = (np.argwhere(image) * image[rows, columns, None]).sum(axis=0) / image.sum()
    assert np.abs(middle - 13.5).max() < 1.5
    assert not fitted(np.zeros((1, 28, 28, 1), np.uint8)).any()
    assert fitted(np.zeros((0, 28, 28, 1), np.uint8)).shape == (0, 28, 28, 1)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_an_autoencoder_learns_to_reproduce_them_badly_and_its_file_loads_without_this_package(settings):
    noise = np.random.default_rng(3).integers(0, 256, (200, 28, 28, 1), np.uint8)
    context = Context("bars", settings=settings)
    run = Run(network="autoencoder", epochs=3, validation_split=0.2)
    trained = train(run, bars(), context, verbose=0, foreign=lambda _: noise)
    assert scores_of(trained.model, bars().test).mean() < ERROR / 2
    assert scores_of(trained.model, LabelledImages(noise, np.zeros(200, np.int64))).mean() > ERROR / 2
    assert keras.models.load_model(context.keras_file).loss == "mean_absolute_error"
