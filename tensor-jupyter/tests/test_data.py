"""MNIST from a folder, from the cache, from mirrors on loopback, and the digits that stand in for it."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import logging
import socket
import threading

import numpy as np
import pytest

from tensor_jupyter import data, digits, download
from tensor_jupyter.data import load_mnist
from tensor_jupyter.errors import LabError


@pytest.fixture
def small_mnist(tmp_path, write_idx, monkeypatch):
    """A folder in MNIST's layout, 20 pictures to train on and 10 to test with, whose checksums pass for MNIST's."""
    folder = tmp_path / "origin"
    sums = {}
    for part, count in (("train", 20), ("t10k", 10)):
        labels = np.arange(count) % 10
        pictures = np.broadcast_to(labels[:, None, None], (count, 28, 28))
        for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
            path = write_idx(folder / f"{part}-{kind}-ubyte.gz", array)
            sums[path.name] = hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
    monkeypatch.setattr(data, "SHA256", sums)
    return folder


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror():
    """mirror(folder) serves it on a free port and returns the address."""
    servers = []

    def serve(folder):
        handler = functools.partial(_Silent, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def dead_mirror():
    """An address that refuses connections: its port is ours, but nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


def online(settings, *mirrors):
    return settings.model_copy(update={"offline": False, "mnist_mirrors": mirrors})


def spoiled(folder, source):
    """A mirror's folder with other bytes under the right names."""
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1] + b"!"))
    return folder


def test_downloads_once_and_keeps_only_whole_files(small_mnist, settings, mirror):
    address = mirror(small_mnist)
    loaded = load_mnist(settings=online(settings, address))
    assert (loaded.name, len(loaded.train), len(loaded.test)) == ("mnist", 20, 10)
    assert loaded.train.images.shape == (20, 28, 28, 1)
    assert loaded.train.labels.tolist() == [*range(10)] * 2
    assert sorted(path.name for path in (settings.data / "mnist").iterdir()) == sorted(data.SHA256)
    again = load_mnist(settings=settings)  # offline now
    assert again.name == "mnist"
    assert again.train.images.tobytes() == loaded.train.images.tobytes()


def test_a_mirror_that_repacks_is_as_good(small_mnist, settings, mirror):
    for path in small_mnist.iterdir():
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1))
    assert load_mnist(settings=online(settings, mirror(small_mnist))).name == "mnist"


def test_wrong_bytes_are_refused_and_the_next_mirror_asked(
    small_mnist, settings, mirror, dead_mirror, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    bad = mirror(spoiled(tmp_path / "bad", small_mnist))
    empty = mirror(tmp_path / "bad" / "nowhere")
    loaded = load_mnist(settings=online(settings, dead_mirror, empty, bad, mirror(small_mnist)))
    assert loaded.name == "mnist"
    assert "Connection refused" in caplog.text
    assert "404" in caplog.text
    assert "unpacked SHA-256 is" in caplog.text


def test_without_a_good_mirror_the_digits_stand_in_and_say_why(small_mnist, settings, mirror, dead_mirror, tmp_path):
    bad = mirror(spoiled(tmp_path / "bad", small_mnist))
    loaded = load_mnist(settings=online(settings, bad, dead_mirror))
    assert loaded.name == "sklearn-digits"
    assert "unpacked SHA-256 is" in loaded.message
    assert "Connection refused" in loaded.message
    assert list((settings.data / "mnist").iterdir()) == []


def test_more_bytes_than_allowed_are_not_taken(small_mnist, settings, mirror, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 100)
    loaded = load_mnist(settings=online(settings, mirror(small_mnist)))
    assert "larger than 100 bytes" in loaded.message or "more than 100 bytes" in loaded.message
    assert list((settings.data / "mnist").iterdir()) == []


def test_mirrors_are_asked_by_http_only(settings, small_mnist):
    loaded = load_mnist(settings=online(settings, small_mnist.as_uri()))
    assert "is not an http address" in loaded.message


def test_a_spoiled_cache_is_replaced(small_mnist, settings, mirror):
    here = online(settings, mirror(small_mnist))
    load_mnist(settings=here)
    (settings.data / "mnist" / data.TRAIN_FILES[0]).write_bytes(b"rubbish")
    assert load_mnist(settings=here).name == "mnist"


def test_offline_is_said_and_asks_nobody(settings):
    loaded = load_mnist(settings=settings)
    assert loaded.name == "sklearn-digits"
    assert "LAB_OFFLINE is set" in loaded.message
    assert not settings.data.exists()


def test_the_offline_digits_leave_the_samples_out():
    loaded = data.sklearn_digits("a test")
    images, labels = digits.load_digits()
    samples = {images[row].tobytes() for row in digits.sample_rows(labels)}
    parts = [{image.tobytes() for image in part.images} for part in (loaded.train, loaded.test)]
    assert len(loaded.train) + len(loaded.test) == 1697
    assert not samples & (parts[0] | parts[1])
    assert not parts[0] & parts[1]


def test_a_folder_of_another_set_is_taken_under_its_own_name(tmp_path, write_idx):
    """Without test files the last 5,000 are held out: here the only ones labelled 9."""
    folder = tmp_path / "mine"
    labels = np.array([1] * 100 + [9] * data.HELD_OUT)
    write_idx(folder / "train-images-idx3-ubyte", np.zeros((len(labels), 28, 28)))
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels)
    loaded = load_mnist(folder)
    assert loaded.name == "mine"
    assert set(loaded.train.labels) == {1}
    assert loaded.test.labels.tolist() == [9] * 5000
    assert "last 5000" in loaded.split


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        ((20, 28, 28), 19, "one label from 0 to 9 for each"),
        ((20, 27, 28), 20, "pictures of 28x28"),
        ((0, 28, 28), 0, "pictures of 28x28"),
        ((20, 28, 28), 20, "more than 5000 are wanted"),
    ],
)
def test_a_folder_that_will_not_do_is_named(tmp_path, write_idx, images, labels, said):
    write_idx(tmp_path / data.TRAIN_FILES[0], np.zeros(images))
    write_idx(tmp_path / data.TRAIN_FILES[1], np.zeros(labels))
    with pytest.raises(LabError, match=said):
        load_mnist(tmp_path)


def test_labels_beyond_nine_are_refused(tmp_path, write_idx):
    write_idx(tmp_path / data.TRAIN_FILES[0], np.zeros((2, 28, 28)))
    write_idx(tmp_path / data.TRAIN_FILES[1], np.array([3, 10]))
    with pytest.raises(LabError, match="labels up to 10"):
        load_mnist(tmp_path)


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(LabError, match=r"has no train-images-idx3-ubyte\.gz"):
        load_mnist(tmp_path)


def test_a_subset_is_the_same_each_time_and_leaves_the_test_pictures():
    few = data.sklearn_digits("a test")
    assert few.subset(0.1) is few
    many = few.train.take(np.arange(5000) % len(few.train))
    whole = dataclasses.replace(few, train=many)
    part = whole.subset(0.5)
    assert len(part.train) == 2500
    assert part.train.labels.tolist() == whole.subset(0.5).train.labels.tolist()
    assert part.test is whole.test
    assert "2500 of the training pictures" in part.message
    assert len(whole.subset(0.01).train) == 2000
    assert whole.subset(1.0) is whole


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_a_subset_out_of_range_is_refused(fraction):
    with pytest.raises(LabError, match="fraction above 0"):
        data.sklearn_digits("a test").subset(fraction)
