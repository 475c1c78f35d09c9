"""Helpers: processes that are always ended, waiting for a condition, and a client of TF Serving's API."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import numpy as np

PROJECT = Path(__file__).parent.parent


def wait_until(condition: Callable[[], Any], seconds: float = 30, what: str = "") -> Any:
    """Return the condition's value once it is true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.02)
    return value


def tiny_saved_model(folder: Path) -> Path:
    """Make the smallest SavedModel that is whole: one empty graph tagged 'serve'."""
    folder.mkdir(parents=True)
    tags = b"\x22\x05serve"
    meta_info = b"\x0a" + bytes([len(tags)]) + tags
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12" + bytes([len(meta_info)]) + meta_info)
    return folder


def environment() -> dict[str, str]:
    """Return an environment in which the package is found."""
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}


class Command:
    """`python -m tensor_serving ...` as a process with its log in a file; ended when the block ends."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tensor_serving", *map(str, arguments)],
                stderr=file,
                stdout=file,
                env=environment(),
                start_new_session=True,
            )

    def __enter__(self) -> "Command":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended, with or without its children
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def text(self) -> str:
        return self.log.read_text()

    def said(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Wait until the log has a line like this."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.text())
            assert found or self.process.poll() is None, f"ended before it said {pattern!r}:\n{self.text()}"
            return found

        return wait_until(look, seconds, f"{pattern!r} in the log:\n{self.text()}")

    def stop(self, seconds: float = 20) -> int:
        """Send TERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


class Client:
    """A client of the three calls. The protos are imported late: they bring TensorFlow."""

    def __init__(self, port: int, options: Sequence[tuple[str, int]] = ()) -> None:
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def request(self, name: str, signature: str = "", outputs: tuple[str, ...] = (), **inputs: Any) -> Any:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        for alias, value in inputs.items():
            proto = value if hasattr(value, "tensor_content") else tf.make_tensor_proto(value)
            request.inputs[alias].CopyFrom(proto)
        return request

    def send(self, request: Any, timeout: float = 30, metadata: Sequence[tuple[str, str]] = ()) -> Any:
        return self.prediction.Predict(request, timeout=timeout, metadata=tuple(metadata))

    def predict(self, name: str, signature: str = "", outputs: tuple[str, ...] = (), **inputs: Any) -> dict[str, Any]:
        """Return the outputs as nested lists."""
        import tensorflow as tf

        response = self.send(self.request(name, signature, outputs, **inputs))
        return {alias: tf.make_ndarray(proto).tolist() for alias, proto in response.outputs.items()}

    def half(self, name: str, *metadata: tuple[str, str], **choice: Any) -> tuple[int, float]:
        """Return the version that answered x = 2, and its answer."""
        request = self.request(name, x=np.float32([2]))
        if "version" in choice:
            request.model_spec.version.value = choice["version"]
        if "label" in choice:
            request.model_spec.version_label = choice["label"]
        response = self.send(request, metadata=metadata)
        return response.model_spec.version.value, response.outputs["y"].float_val[0]

    def status(self, name: str) -> dict[int, tuple[str, str]]:
        """Return state and error text by version."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        try:
            found = self.models.GetModelStatus(request, timeout=30).model_version_status
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return {}
            raise
        names = get_model_status_pb2.ModelVersionStatus.State.Name
        return {entry.version: (names(entry.state), entry.status.error_message) for entry in found}

    def available(self, name: str) -> list[int]:
        return sorted(version for version, (state, _) in self.status(name).items() if state == "AVAILABLE")


class Lab:
    """A models volume with the watcher and the embedded server over it."""

    def __init__(self, folder: Path, exports: Path) -> None:
        self.exports, self.models, self.config = exports, folder / "models", folder / "models.config"
        self.models.mkdir()
        self.watch = Command(
            folder / "watch.log",
            "watch",
            "--models",
            self.models,
            "--output",
            self.config,
            "--port",
            0,
            "--poll-seconds",
            0.1,
        )
        self.serve = Command(
            folder / "serve.log",
            "serve",
            "--port=0",
            f"--model_config_file={self.config}",
            "--model_config_file_poll_wait_seconds=1",
            "--file_system_poll_wait_seconds=1",
            "--max_num_load_retries=0",
        )

    def __enter__(self) -> "Lab":
        self.inventory_port = int(self.watch.said(r"inventory on http://127.0.0.1:(\d+)/")[1])
        self.serving_port = int(self.serve.said(r"serving on 127.0.0.1:(\d+)")[1])
        self.client = Client(self.serving_port)
        return self

    def __exit__(self, *exception: Any) -> None:
        self.client.channel.close()
        with self.watch, self.serve:
            pass

    def publish(self, export: str, name: str, version: int) -> Path:
        """Copy an export beside and rename it into place, as a trainer does."""
        staged = self.models / ".staging" / f"{name}-{version}"
        shutil.copytree(self.exports / export, staged)
        (self.models / name).mkdir(exist_ok=True)
        return staged.rename(self.models / name / str(version))

    def serving(self, name: str, *versions: int) -> None:
        """Wait until exactly these versions are available."""
        wait_until(
            lambda: self.client.available(name) == sorted(versions),
            what=f"{name} {versions} available; {self.client.status(name)}\n{self.watch.text()}\n{self.serve.text()}",
        )

    def inventory(self, name: str) -> dict[str, Any]:
        """Return the model's entry, or an empty one."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.inventory_port}/", timeout=10) as answer:
            document = json.load(answer)
        return next((model for model in document["models"] if model["name"] == name), {})
