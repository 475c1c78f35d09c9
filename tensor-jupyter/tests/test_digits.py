"""The digits that need no network, and the sample images made of them."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tensor_jupyter.data import digits
from tensor_jupyter.errors import LabError

SAMPLES = Path(__file__).parents[2] / "tensor-rest/data/mnist"


def test_a_bar_is_fitted_into_the_box_and_centred():
    """A bar of 10x5 in a corner becomes 20x10 in the middle of 28x28: rows 4 to 23, columns 9 to 18."""
    ink = np.zeros((40, 40))
    ink[:10, :5] = 1
    image = digits.mnist_like(ink)
    expected = np.zeros((28, 28), np.uint8)
    expected[4:24, 9:19] = 255
    assert image.tolist() == expected.tolist()


def test_no_ink_is_an_empty_image():
    assert digits.mnist_like(np.zeros((8, 8))).tolist() == np.zeros((28, 28)).tolist()


def test_all_digits_are_in_mnists_manner():
    images, labels = digits.load_digits()
    assert images.shape == (1797, 28, 28, 1)
    assert images.dtype == np.uint8
    assert set(labels) == set(range(10))
    ink = images[..., 0].astype(float)
    rows, columns = np.indices((28, 28))
    mass = ink.sum(axis=(1, 2))
    for place in (rows, columns):
        centre = (ink * place).sum(axis=(1, 2)) / mass
        assert np.abs(centre - 13.5).max() < 1
    assert (images[:, [0, -1]] == 0).all()
    assert (ink.max(axis=(1, 2)) > 200).all()


def test_samples_are_the_first_ten_of_each_digit():
    labels = np.array([*range(10)] * 12)
    assert digits.sample_rows(labels).tolist() == list(range(100))


def test_the_sample_images_of_the_repository_are_what_the_function_makes(tmp_path):
    made = digits.save_samples(tmp_path, 100)
    shipped = sorted(path.name for path in SAMPLES.glob("*.jpg"))
    assert sorted(path.name for path in made) == shipped
    for path in made:
        assert re.fullmatch(r"mnist_[0-9]_[0-9]{4}\.jpg", path.name)
        with Image.open(path) as image, Image.open(SAMPLES / path.name) as kept:
            assert (kept.size, kept.mode, kept.format) == ((28, 28), "L", "JPEG")
            difference = np.asarray(image, int) - np.asarray(kept, int)
        assert np.abs(difference).max() <= 8  # another JPEG encoder may round otherwise
    assert {name[6]: sum(other[6] == name[6] for other in shipped) for name in shipped} == dict.fromkeys(
        "0123456789", 10
    )


@pytest.mark.parametrize("count", [0, -10, 5, 15, 1010])
def test_odd_counts_are_refused(tmp_path, count):
    with pytest.raises(LabError, match="10, 20"):
        digits.save_samples(tmp_path / "out", count)
    assert not (tmp_path / "out").exists()
