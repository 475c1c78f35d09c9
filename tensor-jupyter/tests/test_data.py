"""The sets with a name: from a folder, the cache or mirrors on loopback, and what stands in for them offline."""

import dataclasses
import gzip
import hashlib
import io
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from tensor_jupyter.data import digits, idx_sets, letters, load, load_mnist, registry
from tensor_jupyter.data.download import Remote
from tensor_jupyter.errors import LabError


@pytest.fixture
def small_mnist(tmp_path, write_idx, monkeypatch):
    """A folder in MNIST's layout, 20 images to train on and 10 to test with, that passes for MNIST's."""
    folder = tmp_path / "origin"
    files = []
    for part, count in (("train", 20), ("t10k", 10)):
        labels = np.arange(count) % 10
        images = np.broadcast_to(labels[:, None, None], (count, 28, 28))
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = write_idx(folder / f"{part}-{kind}-ubyte.gz", array)
            content = gzip.decompress(path.read_bytes())
            files.append(Remote(path.name, hashlib.sha256(content).hexdigest(), unpacked=True))
    monkeypatch.setattr(idx_sets, "MNIST", dataclasses.replace(idx_sets.MNIST, files=tuple(files)))
    return folder


@pytest.fixture
def small_fashion(small_mnist, monkeypatch):
    """The same files, packed, as Fashion-MNIST's."""
    files = tuple(
        Remote(file.name, hashlib.sha256((small_mnist / file.name).read_bytes()).hexdigest())
        for file in idx_sets.MNIST.files
    )
    monkeypatch.setattr(idx_sets, "FASHION_MNIST", dataclasses.replace(idx_sets.FASHION_MNIST, files=files))
    monkeypatch.setattr(idx_sets, "MNIST", dataclasses.replace(idx_sets.MNIST, files=(Remote("none", "none"),) * 4))
    return small_mnist


@pytest.fixture
def small_notmnist(tmp_path, monkeypatch):
    """A folder with an archive of ten images each of A and B, and one broken file, that passes for notMNIST's."""
    folder = tmp_path / "origin"
    folder.mkdir()
    with tarfile.open(folder / letters.ARCHIVE.name, "w:gz") as archive:
        for letter, grey in (("A", 60), ("B", 200)):
            for number in range(10):
                file = io.BytesIO()
                Image.new("L", (28, 28), grey + number).save(file, "PNG")
                _add(archive, f"notMNIST_small/{letter}/{number}.png", file.getvalue())
        _add(archive, "notMNIST_small/A/broken.png", b"")
    content = (folder / letters.ARCHIVE.name).read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(letters, "ARCHIVE", Remote(letters.ARCHIVE.name, size=len(content), md5=md5))
    return folder


def _add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def online(settings, *mirrors):
    names = ("mnist_mirrors", "fashion_mnist_mirrors", "notmnist_mirrors")
    return settings.model_copy(update={"offline": False, **dict.fromkeys(names, mirrors)})


def spoiled(folder, source):
    """A mirror's folder with other bytes under the right names."""
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1] + b"!"))
    return folder


def test_mnist_is_downloaded_once(small_mnist, settings, mirror):
    loaded = load_mnist(settings=online(settings, mirror(small_mnist).url))
    assert (loaded.name, len(loaded.train), len(loaded.test), loaded.stand_in_for) == ("mnist", 20, 10, "")
    assert loaded.train.images.shape == (20, 28, 28, 1)
    assert loaded.train.labels.tolist() == [*range(10)] * 2
    assert loaded.image_spec.card() == {
        "height": 28,
        "width": 28,
        "channels": 1,
        "polarity": "light-on-dark",
        "centering": "mnist",
    }
    assert registry.named("mnist").get(settings) == settings.data / "mnist"
    kept = sorted(path.name for path in (settings.data / "mnist").iterdir())
    assert kept == sorted(file.name for file in idx_sets.MNIST.files)
    again = load("mnist", settings)  # offline now
    assert again.name == "mnist"
    assert again.hash == loaded.hash


def test_without_a_good_mirror_the_digits_stand_in_with_a_reason(small_mnist, settings, mirror, dead_mirror, tmp_path):
    bad = mirror(spoiled(tmp_path / "bad", small_mnist)).url
    loaded = load_mnist(settings=online(settings, bad, dead_mirror))
    assert loaded.name == "sklearn-digits"
    assert loaded.about["stand_in_for"] == "mnist"
    assert "unpacked SHA-256 is" in loaded.message
    assert "Connection refused" in loaded.message
    assert list((settings.data / "mnist").iterdir()) == []


def test_a_spoiled_cache_is_replaced(small_mnist, settings, mirror):
    here = online(settings, mirror(small_mnist).url)
    load_mnist(settings=here)
    (settings.data / "mnist" / idx_sets.TRAIN_FILES[0]).write_bytes(b"rubbish")
    assert load_mnist(settings=here).name == "mnist"


def test_mnist_that_lacks_its_test_files_is_completed(small_mnist, settings, mirror):
    shutil.copytree(small_mnist, settings.data / "mnist", ignore=shutil.ignore_patterns("t10k*"))
    assert len(load("mnist", settings).train) == 17, "offline, the training files are enough"
    assert len(load("mnist", online(settings, mirror(small_mnist).url)).test) == 10


def test_fashion_mnist_has_its_classes_names(small_fashion, settings, mirror):
    loaded = load("fashion-mnist", online(settings, mirror(small_fashion).url))
    assert (loaded.name, len(loaded.train), len(loaded.test)) == ("fashion-mnist", 20, 10)
    assert (loaded.labels[0], loaded.labels[9]) == ("T-shirt/top", "Ankle boot")
    assert (loaded.image_spec.polarity, loaded.image_spec.centering) == ("light-on-dark", "none")
    assert load(settings.data / "fashion-mnist", settings).labels == loaded.labels  # known by its bytes


def test_nothing_stands_in_for_fashion_mnist(settings, dead_mirror):
    with pytest.raises(LabError, match=r"LAB_OFFLINE is set\. Nothing stands in for Fashion-MNIST: get its four"):
        load("fashion-mnist", settings)
    with pytest.raises(LabError, match=r"Connection refused.*Nothing stands in"):
        load("fashion-mnist", online(settings, dead_mirror))


def test_notmnist_comes_without_its_unreadable_files(small_notmnist, settings, mirror):
    loaded = load("notmnist", online(settings, mirror(small_notmnist).url))
    assert (loaded.name, loaded.labels, loaded.unreadable) == ("notmnist", ("A", "B"), 1)
    assert len(loaded.train) + len(loaded.test) == 20
    for part in (loaded.train, loaded.test):
        assert ((part.images[:, 0, 0, 0] >= 128) == (part.labels == 1)).all()
    assert "Unreadable and left out: 1" in loaded.message
    assert (settings.data / "notmnist" / f"{letters.ARCHIVE.name}.sha256").is_file()
    assert load("notmnist", settings).hash == loaded.hash  # offline now


def test_rendered_letters_stand_in_for_notmnist(settings):
    loaded = load("notmnist", settings)
    assert (loaded.name, loaded.stand_in_for) == ("rendered-letters", "notmnist")
    assert loaded.labels == tuple("ABCDEFGHIJ")
    assert "Offline data: letters rendered in 21 fonts instead of notMNIST" in loaded.message
    assert len(loaded.train) + len(loaded.test) == 21 * 10 * letters.VARIATIONS
    assert loaded.train.images.shape[1:] == (28, 28, 1)
    assert np.bincount(loaded.test.labels).tolist() == [80] * 10
    assert len(np.unique(loaded.train.images, axis=0)) == len(loaded.train)
    assert load("notmnist", settings).hash == loaded.hash


def test_offline_is_reported_and_sends_no_request(settings):
    loaded = load_mnist(settings=settings)
    assert loaded.name == "sklearn-digits"
    assert "LAB_OFFLINE is set" in loaded.message
    assert not settings.data.exists()


def test_the_offline_digits_leave_the_samples_out():
    loaded = idx_sets.sklearn_digits("a test")
    images, labels = digits.load_digits()
    samples = {images[row].tobytes() for row in digits.sample_rows(labels)}
    parts = [{image.tobytes() for image in part.images} for part in (loaded.train, loaded.test)]
    assert len(loaded.train) + len(loaded.test) == 1697
    assert not samples & (parts[0] | parts[1])
    assert not parts[0] & parts[1]


def test_a_folder_of_another_set_is_taken_under_its_own_name(tmp_path, write_idx):
    """Without test files the last sixth is held out: here the only ones labelled 9."""
    folder = tmp_path / "mine"
    labels = np.array([1] * 100 + [9] * 20)
    write_idx(folder / "train-images-idx3-ubyte", np.zeros((len(labels), 28, 28)))
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels)
    loaded = load_mnist(folder)
    assert loaded.name == "mine"
    assert set(loaded.train.labels) == {1}
    assert loaded.test.labels.tolist() == [9] * 20
    assert "last 20 of the training file's 120" in loaded.split


@pytest.mark.parametrize(
    ("images", "labels", "output"),
    [
        ((20, 28, 28), 19, "one label from 0 to 9 for each"),
        ((20, 27, 28), 20, "images of 28x28"),
        ((0, 28, 28), 0, "images of 28x28"),
        ((5, 28, 28), 5, "at least 6 are wanted"),
    ],
)
def test_a_folder_that_will_not_do_is_named(tmp_path, write_idx, images, labels, output):
    write_idx(tmp_path / idx_sets.TRAIN_FILES[0], np.zeros(images))
    write_idx(tmp_path / idx_sets.TRAIN_FILES[1], np.zeros(labels))
    with pytest.raises(LabError, match=output):
        load_mnist(tmp_path)


def test_labels_beyond_nine_are_refused(tmp_path, write_idx):
    write_idx(tmp_path / idx_sets.TRAIN_FILES[0], np.zeros((2, 28, 28)))
    write_idx(tmp_path / idx_sets.TRAIN_FILES[1], np.array([3, 10]))
    with pytest.raises(LabError, match="labels up to 10"):
        load_mnist(tmp_path)


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(LabError, match=r"has no train-images-idx3-ubyte\.gz"):
        load_mnist(tmp_path)


def test_a_subset_is_the_same_each_time_and_leaves_the_test_images():
    few = idx_sets.sklearn_digits("a test")
    assert few.subset(0.1) is few
    many = few.train.take(np.arange(5000) % len(few.train))
    whole = dataclasses.replace(few, train=many)
    part = whole.subset(0.5)
    assert len(part.train) == 2500
    assert part.train.labels.tolist() == whole.subset(0.5).train.labels.tolist()
    assert part.test is whole.test
    assert "2500 of the training images" in part.message
    assert len(whole.subset(0.01).train) == 2000
    assert whole.subset(1.0) is whole


def test_validation_split_parts_the_training_images():
    data = idx_sets.sklearn_digits("a test")
    learn, held_out = data.validation_split(0.1)
    assert (len(learn), len(held_out)) == (1222, 136)
    rows = np.concatenate([learn.images, held_out.images]).reshape(1358, -1)
    assert sorted(map(bytes, rows)) == sorted(map(bytes, data.train.images.reshape(1358, -1)))
    assert len(set(held_out.labels)) == 10
    assert data.validation_split(0.1)[1].labels.tolist() == held_out.labels.tolist()
    assert [len(part) for part in data.validation_split(0)] == [1358, 0]


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_a_subset_out_of_range_is_refused(fraction):
    with pytest.raises(LabError, match="fraction above 0"):
        idx_sets.sklearn_digits("a test").subset(fraction)


def test_sets_are_added_label_by_label(brightness_data):
    swapped = dataclasses.replace(brightness_data, name="swapped", labels=("dark", "light"))
    both = brightness_data.plus(swapped)
    assert both.name == "brightness+swapped"
    assert both.labels == ("light", "dark")
    half = len(brightness_data.train)
    assert (both.train.labels[half:] == 1 - brightness_data.train.labels).all()
    assert len(both.test) == 2 * half


def test_sets_that_do_not_fit_are_not_added(brightness_data):
    with pytest.raises(LabError, match="has the label 'grey', which brightness does not"):
        brightness_data.plus(dataclasses.replace(brightness_data, labels=("light", "grey")))
    with pytest.raises(LabError, match="has images of"):
        brightness_data.plus(dataclasses.replace(brightness_data, polarity="dark-on-light"))


def test_the_hash_is_of_pixels_and_labels_alone(brightness_data):
    assert brightness_data.hash == "7b8b47053cd109d93c7222053ff374039879a231a396e2d2d226596674108b08"
    assert dataclasses.replace(brightness_data, name="other", message="other").hash == brightness_data.hash
    images = brightness_data.train.images.copy()
    images[3, 1, 1, 0] ^= 1
    changed = dataclasses.replace(brightness_data.train, images=images)
    moved = dataclasses.replace(brightness_data.train, labels=brightness_data.train.labels[::-1])
    assert dataclasses.replace(brightness_data, train=changed).hash != brightness_data.hash
    assert dataclasses.replace(brightness_data, train=moved).hash != brightness_data.hash
    assert dataclasses.replace(brightness_data, labels=("light", "darker")).hash != brightness_data.hash


@pytest.mark.parametrize(
    ("what", "output"),
    [
        ("fashion-minst", "did you mean fashion-mnist"),
        ("/nowhere", "nor a file or folder that is there"),
        ("mnist+/nowhere", "nor a file or folder that is there"),
        ("feedback:mnist-net", "has no feedback for 'mnist-net'; there is some for: none"),
    ],
)
def test_what_is_no_set_is_named(settings, what, output):
    with pytest.raises(LabError, match=output):
        load(what, settings)


def test_a_file_of_another_kind_is_no_set(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(LabError, match=r"notes\.txt is not a data set"):
        load(tmp_path / "notes.txt")
