"""What is drawn where nothing can be downloaded: always the same, said to be drawn, and good enough to learn from."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from tensor_jupyter.data import load
from tensor_jupyter.data.clothes import EACH, drawn_clothes, load_clothes
from tensor_jupyter.data.signs import EACH as SIGNS_EACH
from tensor_jupyter.data.signs import SIDE, drawn_signs, save_signs
from tensor_jupyter.errors import LabError


def test_offline_clothes_are_drawn_and_it_is_reported(settings):
    data = load_clothes(settings)
    assert "drawn clothes instead of Fashion-MNIST" in data.message
    assert "LAB_OFFLINE is set" in data.message
    assert data.about["stand_in_for"] == "fashion-mnist"
    assert data.labels[9] == "Ankle boot"
    assert data.train.images.shape == (8 * EACH, 28, 28, 1)
    assert np.bincount(data.test.labels).tolist() == [EACH // 5] * 10


def test_fashion_mnist_by_its_name_has_no_stand_in(settings):
    with pytest.raises(LabError, match="Nothing stands in"):
        load("fashion-mnist", settings)


def test_drawn_clothes_are_always_the_same_and_distinguishable():
    data = drawn_clothes("no network")
    assert data.hash == drawn_clothes("another reason").hash
    flat = (data.train.images.reshape(len(data.train), -1), data.test.images.reshape(len(data.test), -1))
    assert KNeighborsClassifier(1).fit(flat[0], data.train.labels).score(flat[1], data.test.labels) > 0.8


def test_signs_are_a_folder_of_images_by_class(settings):
    folder = drawn_signs(settings)
    data = load(folder, settings)
    assert data.labels == ("give way", "no entry", "parking", "priority road", "speed limit", "stop")
    assert (data.image_spec.height, data.image_spec.width, data.image_spec.channels) == (SIDE, SIDE, 3)
    assert len(data.train) + len(data.test) == 6 * SIGNS_EACH
    assert [path.name for path in settings.data.iterdir()] == ["signs"]
    assert folder.stat().st_mode & 0o077 == 0o075


def test_signs_that_are_there_are_left_as_they_are(settings):
    folder = drawn_signs(settings)
    (folder / "stop" / "000.jpg").write_bytes(b"changed by hand")
    assert drawn_signs(settings) == folder
    assert (folder / "stop" / "000.jpg").read_bytes() == b"changed by hand"


def test_signs_are_always_the_same(tmp_path):
    for name in ("one", "two"):
        save_signs(tmp_path / name, each=2)
    assert (tmp_path / "one/stop/001.jpg").read_bytes() == (tmp_path / "two/stop/001.jpg").read_bytes()
