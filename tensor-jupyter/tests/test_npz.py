"""Arrays in .npz: those of other people's sets, and those that were made to do harm."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from tensor_jupyter.data import load, npz
from tensor_jupyter.errors import LabError

IMAGES = np.arange(20 * 6 * 4, dtype=np.int64).reshape(20, 6, 4) % 256
LABELS = np.arange(20) % 4


def test_keras_four_arrays(tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(
        path, x_train=IMAGES.astype(np.uint8), y_train=LABELS, x_test=IMAGES[:8], y_test=LABELS[:8, None]
    )
    data = load(path)
    assert (data.name, data.labels) == ("set", ("0", "1", "2", "3"))
    assert data.train.images.dtype == np.uint8
    assert data.train.images[..., 0].tolist() == IMAGES.tolist()
    assert data.test.labels.tolist() == LABELS[:8].tolist()
    assert data.split == "the set's own training and test arrays"
    assert data.image_spec.polarity is None


@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y"), ("train_images", "train_labels")])
def test_one_part_is_split(tmp_path, keys):
    path = tmp_path / "set.npz"
    colours = np.asfortranarray(np.repeat(IMAGES[..., None], 3, axis=3))
    np.savez(path, **dict(zip(keys, (colours, LABELS), strict=True)), other=np.array([{}], object))
    data = load(path)
    assert (len(data.train), len(data.test), data.split) == (16, 4, "every fifth image is test")
    assert data.test.images.tolist() == colours[4::5].tolist()


def test_labels_may_have_names(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array(["cat", "ant"] * 10))
    data = load(tmp_path / "a.npz")
    assert data.labels == ("ant", "cat")
    assert data.test.labels.tolist() == [1, 0, 1, 0]
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=LABELS, class_names=["n", "e", "s", "w", "up"])
    assert load(tmp_path / "b.npz").labels == ("n", "e", "s", "w", "up")


@pytest.mark.parametrize(
    ("arrays", "output"),
    [
        ({"images": IMAGES}, r"holds \['images'\]: expected x_train/y_train"),
        ({"images": IMAGES / 255, "labels": LABELS}, "images is float64; whole numbers from 0 to 255"),
        ({"images": IMAGES * 2, "labels": LABELS}, "whole numbers from 0 to 255"),
        ({"images": IMAGES - 1, "labels": LABELS}, "whole numbers from 0 to 255"),
        ({"images": IMAGES[0], "labels": LABELS}, r"images has shape \(6, 4\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"images has shape \(0, 6, 4\)"),
        ({"images": IMAGES, "labels": LABELS[:5]}, "one label for each of 20"),
        ({"images": IMAGES, "labels": np.eye(20)}, "one label for each of 20"),
        ({"images": IMAGES, "labels": LABELS - 1}, "whole numbers from 0"),
        ({"images": IMAGES, "labels": LABELS + 10**9}, "labels up to 1000000003"),
        ({"images": IMAGES, "labels": LABELS, "class_names": ["one"]}, "a name for each"),
        (
            {"images": IMAGES, "labels": LABELS, "class_names": 4},
            r"class_names is int64\[\]; a list of different names",
        ),
        ({"images": IMAGES, "labels": LABELS, "class_names": [*"aabc"]}, "a list of different names"),
        ({"images": IMAGES[:3], "labels": LABELS[:3]}, "both are needed"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:, :3], "y_test": LABELS},
            r"images of \(6, 4, 1\) and of \(3, 4, 1\)",
        ),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS.astype(str)}, "one part with names"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, arrays, output):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(LabError, match=output):
        load(tmp_path / "set.npz")


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


def test_a_pickle_is_not_read(tmp_path):
    array = np.empty(1, object)
    array[0] = Evil()
    np.savez(tmp_path / "set.npz", images=array, labels=LABELS)
    with pytest.raises(LabError, match="pickles are not read"):
        load(tmp_path / "set.npz")
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("images.npy", pickle.dumps(Evil()))
    with pytest.raises(LabError, match=r"raw\.npz cannot be read as \.npz"):
        load(tmp_path / "raw.npz")


def npy(header, content=b""):
    """A .npy file with any header."""
    text = header.encode().ljust(200) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


@pytest.mark.parametrize(
    ("content", "output"),
    [
        (
            npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000, 1000)}"),
            "announces 1000000000000000 bytes in 2",
        ),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4, 4)}"), "announces"),
        (
            npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 4)}", bytes(31)),
            "announces 32 bytes but holds 31",
        ),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 4)}", bytes(33)), "holds 33 or more"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4, 4)}", bytes(300)), "pickles are not read"),
        (npy("__import__('os').abort()"), "cannot be read"),
        (b"\x93NUMPY\x03\x00", r"version \(3, 0\)"),
        (b"", "cannot be read"),
    ],
)
def test_a_header_that_lies_is_not_believed(tmp_path, content, output):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", content)
    with pytest.raises(LabError, match=output):
        load(tmp_path / "set.npz")


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", 2**20)
    np.savez_compressed(tmp_path / "set.npz", images=np.zeros((2000, 32, 32), np.uint8), labels=np.zeros(2000, int))
    with pytest.raises(LabError, match="at most 1048576 are read"):
        load(tmp_path / "set.npz")


def test_a_directory_that_lies_about_a_size_is_found_out(tmp_path):
    """The zip's directory says 400 bytes, so no more than that is unpacked of what is 1 MB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        head = "{'descr': '|u1', 'fortran_order': False, 'shape': (1024, 32, 32)}"
        archive.writestr("images.npy", npy(head, bytes(2**20)))
    size = (2**20 + 211).to_bytes(4, "little")
    assert packed.getvalue().count(size) == 2
    (tmp_path / "set.npz").write_bytes(packed.getvalue().replace(size, (400).to_bytes(4, "little")))
    with pytest.raises(LabError, match=r"Bad CRC-32|announces 1048576 bytes in 400"):
        load(tmp_path / "set.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"x" * 1000])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(LabError, match=r"cannot be read as \.npz"):
        load(tmp_path / "set.npz")
