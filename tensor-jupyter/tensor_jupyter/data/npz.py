"""Arrays of images and labels in NumPy's .npz, the format of many data sets, such as Keras's mnist.npz.

    x_train, y_train, x_test, y_test         or train_images, train_labels, test_images, test_labels
    images, labels                           or x, y: without a separate part to test with
    class_names                              optional: the names of the labels 0, 1, ..., no two the same

Pickles are not read, and nothing is unpacked or allocated before the headers have been checked.
"""

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tensor_jupyter.data.dataset import Dataset, LabelledImages
from tensor_jupyter.errors import LabError

MAX_BYTES = 2**30
"""The size of the largest array that is read."""

_TRAIN = (("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("x", "y"))
_TEST = (("x_test", "y_test"), ("test_images", "test_labels"))
_NAMES = ("class_names", "label_names")
_EVERY = 5  # without test arrays every fifth image is test


def read_npz(path: Path) -> Dataset:
    """The set in an .npz: images uint8 [N, H, W] or [N, H, W, C], C 1 or 3; labels whole numbers or names [N].

    Raises LabError when the file is broken or too large, or its arrays are not of that kind.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name: _array(archive, entry, path) for name, entry in _entries(archive).items()}
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError, RuntimeError) as error:
        raise LabError(f"{path.name} cannot be read as .npz ({error}); get it anew.") from error
    keys = _pair(arrays, _TRAIN)
    if not keys:
        raise LabError(f"{path.name} holds {sorted(arrays)[:10]}: expected {' or '.join(map('/'.join, _TRAIN))}.")
    names = next((_class_names(arrays[key], key, path) for key in _NAMES if key in arrays), [])
    test_keys = _pair(arrays, _TEST)
    parts = [(_images(arrays[x], x, path), arrays[y], y) for x, y in filter(None, (keys, test_keys))]
    labels, classes = _classes([(part[1], part[2]) for part in parts], [len(part[0]) for part in parts], names, path)
    train = LabelledImages(parts[0][0], classes[0])
    if test_keys:
        test, split = LabelledImages(parts[1][0], classes[1]), "the set's own training and test arrays"
    else:
        every = np.arange(len(train)) % _EVERY == _EVERY - 1
        test, train, split = train.take(every), train.take(~every), "every fifth image is test"
    if train.images.shape[1:] != test.images.shape[1:]:
        raise LabError(f"{path.name} has images of {train.images.shape[1:]} and of {test.images.shape[1:]}.")
    message = f"{path.stem}: {len(train)} images to train on, {len(test)} to test with ({split})."
    return Dataset(path.stem, labels, train, test, split, message)


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries with known names."""
    wanted = {name for pair in (*_TRAIN, *_TEST) for name in pair} | set(_NAMES)
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    return {name: entry for name, entry in entries.items() if name in wanted}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """Return an array. Its header is checked against the size in the zip directory; no more than that is unpacked."""
    if entry.file_size > MAX_BYTES:
        raise LabError(f"{path.name}: {entry.filename} has {entry.file_size} bytes; at most {MAX_BYTES} are read.")
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{entry.filename} is of the .npy version {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if dtype.hasobject or dtype.kind not in "uifU":
            raise LabError(f"{path.name}: {entry.filename} holds {dtype}, not numbers or names; pickles are not read.")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=1) < 0 or size > entry.file_size:
            raise ValueError(f"{entry.filename} announces {size} bytes in {entry.file_size}")
        content = stream.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{entry.filename} announces {size} bytes but holds {len(content)} or more")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _pair(arrays: dict[str, np.ndarray], pairs: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    return next((pair for pair in pairs if pair[0] in arrays and pair[1] in arrays), None)


def _images(array: np.ndarray, key: str, path: Path) -> np.ndarray:
    images = array[..., np.newaxis] if array.ndim == 3 else array
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        raise LabError(f"{path.name}: {key} has shape {array.shape}; [N, H, W] or [N, H, W, 1 or 3] is wanted.")
    if images.dtype.kind not in "ui" or images.min() < 0 or images.max() > 255:
        raise LabError(
            f"{path.name}: {key} is {images.dtype}; whole numbers from 0 to 255 are wanted: scale and cast it."
        )
    return images.astype(np.uint8)


def _class_names(array: np.ndarray, key: str, path: Path) -> list[str]:
    names = [str(name) for name in array.ravel().tolist()]
    if array.ndim != 1 or len(set(names)) < len(names):
        raise LabError(f"{path.name}: {key} is {array.dtype}{list(array.shape)}; a list of different names is wanted.")
    return names


def _classes(
    given: list[tuple[np.ndarray, str]], counts: list[int], names: list[str], path: Path
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Return the label names and, for each part, its labels as indices into them."""
    arrays = []
    for (array, key), count in zip(given, counts, strict=True):
        flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if flat.shape != (count,) or flat.dtype.kind == "f":
            raise LabError(f"{path.name}: {key} is {array.dtype}{list(array.shape)}; one label for each of {count}.")
        arrays.append(flat)
    if arrays[0].dtype.kind == "U":
        words = sorted({str(word) for array in arrays for word in array})
        place = {word: number for number, word in enumerate(words)}
        return tuple(words), [np.array([place[str(word)] for word in array], np.int64) for array in arrays]
    if any(array.dtype.kind == "U" for array in arrays):
        raise LabError(f"{path.name} labels one part with names and the other with numbers.")
    highest = max(int(array.max()) for array in arrays)
    if min(int(array.min()) for array in arrays) < 0 or highest >= (len(names) if names else 10_000):
        raise LabError(f"{path.name} has labels up to {highest}; whole numbers from 0, with a name for each if any.")
    labels = names or map(str, range(highest + 1))
    return tuple(labels), [array.astype(np.int64) for array in arrays]
