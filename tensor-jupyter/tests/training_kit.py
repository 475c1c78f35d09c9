"""What the tests of training share: bars that lie or stand, and a run small enough to repeat."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset, LabelledImages
from tensor_jupyter.settings import Settings


def bars(side: int = 28, channels: int = 1, count: int = 200) -> Dataset:
    """0 is a bar that stands, 1 is a bar that lies."""
    images = np.zeros((count, side, side, channels), np.uint8)
    low, high, left, right = side // 5, side - side // 5, side // 2 - 2, side // 2 + 2
    images[::2, low:high, left:right] = 255
    images[1::2, left:right, low:high] = 255
    images[..., 0] |= np.random.default_rng(1).integers(0, 30, images.shape[:3], np.uint8)
    labelled = LabelledImages(images, np.arange(count) % 2)
    return Dataset(
        "bars", ("stands", "lies"), labelled, labelled.take(slice(40)), "none", "bars", "light-on-dark", "mnist"
    )


def context_in(root: Path, name: str = "bars", version: int | None = None) -> Context:
    folders = {folder: root / folder for folder in ("models", "logs", "data")}
    return Context(name, version, Settings(**folders, offline=True))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(true: Callable[[], object], seconds: float) -> None:
    """Wait until it is so; what is refused or not there yet is not so."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if true():
                return
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.2)
