"""Temp folders for everything the lab writes, and a model and data small enough to check in one's head."""

import contextlib
import gzip
import hashlib
import http.server
import os
import signal
import socket
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests; importlib mode leaves them out

from tensor_jupyter.data import Dataset, LabelledImages
from tensor_jupyter.settings import Settings

# Started in the background a test run ignores Ctrl-C, and the programs it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_lab_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A lab that runs on this machine must not be read, written or called."""
    for name in [name for name in os.environ if name.startswith("LAB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAB_HOME", str(tmp_path_factory.getbasetemp() / "no-lab"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folders = {name: tmp_path / name for name in ("models", "logs", "data", "feedback")}
    return Settings(**folders, offline=True)


@pytest.fixture
def brightness_data() -> Dataset:
    """2x2 images, all of one grey: label 0 is light, 1 is dark."""
    greys = np.arange(0, 256, 5, dtype=np.uint8)
    images = np.repeat(greys, 4).reshape(-1, 2, 2, 1)
    labelled = LabelledImages(images, (greys < 128).astype(np.int64))
    return Dataset("brightness", ("light", "dark"), labelled, labelled, "none", "greys")


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


class Mirror(http.server.ThreadingHTTPServer):
    """A mirror on loopback that serves `folder`, with ETags and ranges, and breaks off as configured."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _MirrorHandler)
        self.folder = folder
        self.cuts: list[int] = []  # after how many bytes each of the next answers ends
        self.ranges = True  # whether it knows Range at all
        self.shift = 0  # how far off the ranges are that it sends
        self.requests: list[tuple[str, str]] = []  # path and Range of every request
        self.url = f"http://127.0.0.1:{self.server_port}/"


class _MirrorHandler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requests.append((self.path[1:], wanted))
        path = self.server.folder / self.path[1:]
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        start = 0
        if self.server.ranges and wanted and self.headers.get("If-Range") in (None, tag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + self.server.shift}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(content)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[start : start + cut])

    def log_message(self, *words: object) -> None:
        """Silent."""


@pytest.fixture
def mirror():
    """mirror(folder) serves it on a free port."""
    servers = []

    def serve(folder: Path) -> Mirror:
        server = Mirror(folder)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def dead_mirror():
    """An address that refuses connections: its port is ours, but nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"
