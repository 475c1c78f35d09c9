"""Temp folders for everything the lab writes, and a model and data small enough to check in one's head."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tensor_jupyter.data import Dataset, Pictures
from tensor_jupyter.settings import Settings


@pytest.fixture(autouse=True)
def _no_lab_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that runs on this machine must not be read, written or asked."""
    for name in ("MODELS", "LOGS", "DATA", "OFFLINE", "MNIST_MIRRORS", "REST_URL", "BOARD_URL"):
        monkeypatch.delenv(f"LAB_{name}", raising=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models=tmp_path / "models", logs=tmp_path / "logs", data=tmp_path / "data", offline=True)


@pytest.fixture
def brightness_data() -> Dataset:
    """2x2 pictures, all of one grey: label 0 is light, 1 is dark."""
    greys = np.arange(0, 256, 5, dtype=np.uint8)
    images = np.repeat(greys, 4).reshape(-1, 2, 2, 1)
    pictures = Pictures(images, (greys < 128).astype(np.int64))
    return Dataset("brightness", ("light", "dark"), pictures, pictures, "none", "greys")


@pytest.fixture
def brightness_net():
    """scores = [m, 1 - m], m being the mean brightness from 0 to 1."""
    import keras

    images = keras.Input((2, 2, 1), dtype="uint8", name="images")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    dense = keras.layers.Dense(2)
    model = keras.Model(images, dense(flat))
    dense.set_weights([np.array([[0.25, -0.25]] * 4), np.array([0.0, 1.0])])
    return model


@pytest.fixture
def write_idx():
    """write_idx(path, array): an IDX file as MNIST's, gzipped when the name ends in .gz."""

    def write(path: Path, array: np.ndarray) -> Path:
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        content = head + array.astype(np.uint8).tobytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
        return path

    return write
