"""What the concept notebook shows: images drawn again, how well two sets are separated, a camera askew."""

import numpy as np
import pytest

from tensor_jupyter.concept import auroc, reconstruct, turned
from tensor_jupyter.training.models import autoencoder


def test_a_reconstruction_has_its_shape_and_the_models_error():
    model = autoencoder(8, 8)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    again = reconstruct(model, images)
    assert again.dtype == np.uint8
    error = ((images / 255 - again / 255) ** 2).mean(axis=(1, 2, 3))
    assert model.predict(images, verbose=0) == pytest.approx(error, abs=0.005)


def test_auroc_is_how_often_the_foreign_one_is_higher():
    inside = np.array([1.0, 2.0])
    assert auroc(inside, np.array([3.0, 4.0])) == 1
    assert auroc(inside, np.array([1.5])) == 0.5
    assert auroc(inside, np.array([0.0])) == 0


def test_a_quarter_turn_counter_clockwise():
    image = np.zeros((1, 5, 5, 1), np.uint8)
    image[0, 0, 2] = 255  # top
    assert turned(image, 90)[0, 2, 0, 0] == 255  # left
    assert (turned(image, 0) == image).all()
