"""The servers under test, as processes on free ports."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from rig import BENCHMARKS, SHIPPED_MODEL
from rig.workers import environment
from tensor_serving.server_process import EMBEDDED_FLAGS

MODEL = "mnist-net"
_ANSWER_TIMEOUT_S = 60.0


def free_port() -> int:
    """Return a port on which no program listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process, started with the object and ended with the block. `target` is its gRPC HOST:PORT."""

    def __init__(self, command: Callable[[int, int], Sequence[object]], log: Path) -> None:
        port, rest_port = free_port(), free_port()
        self.target, self.rest_target = f"127.0.0.1:{port}", f"127.0.0.1:{rest_port}"
        self.log = log
        self.started = time.perf_counter()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, command(port, rest_port))],
                stdout=file,
                stderr=file,
                env=environment(),
                start_new_session=True,
            )

    def first_answer(self) -> float:
        """Wait for an answer, and return how many seconds after its start the server gave it."""
        answer(self.target, _request())
        return time.perf_counter() - self.started

    def memory(self) -> float:
        """Return its resident memory in MB (1,000,000 bytes)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6

    def cpu(self) -> float:
        """Return the seconds of processor time it has used."""
        return _cpu(Path(f"/proc/{self._process.pid}/stat"))

    def loop_cpu(self) -> float:
        """Return the processor time of its first thread in seconds: that of the embedded server's event loop."""
        return _cpu(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/stat"))

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _cpu(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def straightforward(log: Path) -> Server:
    """Return the straightforward server on the shipped model."""
    return Server(lambda port, _: [BENCHMARKS / "straightforward_server.py", SHIPPED_MODEL, port], log)


def embedded(log: Path, batching: bool) -> Server:
    """Return the embedded server on the shipped model, with the lab's flags, those for batching only if `batching`."""
    flags = [flag for flag in EMBEDDED_FLAGS if batching or "batching" not in flag]

    def command(port: int, rest_port: int) -> list[object]:
        where = [f"--port={port}", f"--rest_api_port={rest_port}"]
        model = [f"--model_name={MODEL}", f"--model_base_path={SHIPPED_MODEL.parent}"]
        return ["-m", "tensor_serving", "serve", *where, *model, *flags]

    return Server(command, log)


class Published:
    """A models volume in a folder, with watcher and server over it as the lab has them (`tensor_serving run`)."""

    def __init__(self, folder: Path) -> None:
        self._models, self._number = folder / "models", 0
        (self._models / ".staging").mkdir(parents=True)
        self.publish()
        arguments = ["-m", "tensor_serving", "run", "--models", self._models, "--inventory-port", "0"]
        self.server = Server(
            lambda port, rest_port: [*arguments, "--port", port, "--rest-port", rest_port], folder / "run.log"
        )

    def publish(self) -> float:
        """Rename a copy of the shipped model into place as the next version; return when (time.perf_counter)."""
        self._number += 1
        staged = self._models / ".staging" / str(self._number)
        shutil.copytree(SHIPPED_MODEL, staged)
        (self._models / MODEL).mkdir(exist_ok=True)
        staged.rename(self._models / MODEL / str(self._number))
        return time.perf_counter()

    def fresh(self) -> float:
        """Return the seconds from the rename of a new version to the first answer given by it."""
        renamed = self.publish()
        request = _request()
        request.model_spec.version.value = self._number
        answer(self.server.target, request)
        return time.perf_counter() - renamed


def answer(target: str, request: Any) -> None:
    """Send the request until the model is available. Raises TimeoutError."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    quick = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)]
    with grpc.insecure_channel(target, options=[*quick, ("grpc.min_reconnect_backoff_ms", 20)]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        while time.monotonic() < deadline:
            try:
                stub.Predict(request, timeout=_ANSWER_TIMEOUT_S, wait_for_ready=True)
                return
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE):
                    raise
            time.sleep(0.01)
    raise TimeoutError(f"no answer from {target} in {_ANSWER_TIMEOUT_S:.0f} s")


def _request() -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    tensor = request.inputs["images"]
    tensor.dtype = types_pb2.DT_UINT8
    for length in (1, 28, 28, 1):
        tensor.tensor_shape.dim.add(size=length)
    tensor.tensor_content = bytes(28 * 28)
    return request
