"""The load, in a process of its own: clients that each send the next request when they have received an answer.

It costs little, so that the server is measured and not the client: one event loop sends ready-made bytes, and decodes
and compares only every eighth answer. A client that fails, or gets no answer or a wrong one, fails the whole
measurement. Usage: python -m rig.load FILE, the reference's images and scores.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import uvloop
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from rig.http2 import Connection
from rig.workers import work

_METHOD = "/tensorflow.serving.PredictionService/Predict"
_COMPARE_EACH = 8
_WARM_UP = 0.3  # seconds
_ANSWER_TIMEOUT_S = 20.0

Send = Callable[[bytes], Awaitable[bytes]]


class WrongAnswerError(Exception):
    """An answer is not what TensorFlow answers."""


class Load:
    """Sends the sample images to a server."""

    def __init__(self, file: str) -> None:
        data = np.load(file)
        self._images, self._scores = data["images"], data["scores"]

    def __call__(self, kind: str, target: str, model: str, clients: int, rows: int, seconds: float) -> dict[str, float]:
        """Return answers and images a second, p50 and p99 in milliseconds, and the answers in total, warm-up included.

        `kind` is grpc or rest.
        """
        return uvloop.run(self._run(kind, target, model, clients, rows, seconds))

    async def _run(
        self, kind: str, target: str, model: str, clients: int, rows: int, seconds: float
    ) -> dict[str, float]:
        encode, decode = (_grpc_request, _grpc_scores) if kind == "grpc" else (_rest_request, _rest_scores)
        # Clients send different images, so that an answer to the wrong client is noticed.
        picks = [np.arange(rows) * 7 % len(self._images) + number for number in range(min(clients, 64))]
        picks = [pick % len(self._images) for pick in picks]
        requests = [encode(model, self._images[pick]) for pick in picks]
        times: list[float] = []
        total = 0
        begin = time.perf_counter() + _WARM_UP
        end = begin + seconds

        async def client(number: int) -> int:
            request, expected = requests[number % len(requests)], self._scores[picks[number % len(requests)]]
            nonlocal total
            count, counted, now = 0, 0, time.perf_counter()
            send, close = await _connect(kind, target)
            while now < end:
                answer = await (send(request) if count else asyncio.wait_for(send(request), _ANSWER_TIMEOUT_S))
                if count % _COMPARE_EACH == 0:
                    _compare(decode(answer), expected)
                count += 1
                before, now = now, time.perf_counter()
                if before >= begin:
                    times.append(now - before)
                    counted += 1
            await close()
            total += count
            return counted

        counts = await asyncio.wait_for(asyncio.gather(*map(client, range(clients))), seconds + 2 * _ANSWER_TIMEOUT_S)
        if not all(counts):
            raise WrongAnswerError(f"{counts.count(0)} of {clients} clients got no answer in {seconds} s")
        p50, p99 = np.percentile(times, (50, 99)) * 1000
        rate = len(times) / seconds
        return {"answers": rate, "images": rate * rows, "p50": float(p50), "p99": float(p99), "total": total}


def _compare(scores: Any, expected: Any) -> None:
    if scores.shape != expected.shape or not np.allclose(scores, expected, rtol=1e-3, atol=1e-5):
        raise WrongAnswerError(f"the scores are not TensorFlow's: {scores.shape} against {expected.shape}")


async def _connect(kind: str, target: str) -> tuple[Send, Callable[[], Awaitable[None]]]:
    return await (_connect_grpc if kind == "grpc" else _connect_rest)(target)


_connections: dict[Any, Connection] = {}


async def _connect_grpc(target: str) -> tuple[Send, Callable[[], Awaitable[None]]]:
    """All clients share a connection, as a gateway's do."""
    loop = asyncio.get_running_loop()
    if (loop, target) not in _connections:
        _connections.clear()
        host, _, port = target.rpartition(":")
        connection = _connections[loop, target] = Connection(target, _METHOD)
        await loop.create_connection(lambda: connection, host, int(port))
    connection = _connections[loop, target]
    await connection.ready

    async def close() -> None:
        """Do nothing: other clients may still use the connection."""

    return connection, close


async def _connect_rest(target: str) -> tuple[Send, Callable[[], Awaitable[None]]]:
    """Each client keeps a connection."""
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def send(request: bytes) -> bytes:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if b" 200 " not in head[:20]:
            raise WrongAnswerError(f"{head[:40]!r} {body[:200]!r}")
        return body

    async def close() -> None:
        writer.close()

    return send, close


def _grpc_request(model: str, images: Any) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["images"]
    tensor.dtype = types_pb2.DT_UINT8
    for length in images.shape:
        tensor.tensor_shape.dim.add(size=length)
    tensor.tensor_content = images.tobytes()
    return bytes(request.SerializeToString())


def _grpc_scores(answer: bytes) -> Any:
    tensor = predict_pb2.PredictResponse.FromString(answer).outputs["scores"]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    values = tensor.float_val or np.frombuffer(tensor.tensor_content, np.float32)
    return np.array(values, np.float32).reshape(shape)


def _rest_request(model: str, images: Any) -> bytes:
    body = json.dumps({"instances": images.tolist()}, separators=(",", ":")).encode()
    head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _rest_scores(answer: bytes) -> Any:
    return np.array(json.loads(answer)["predictions"], np.float32)


if __name__ == "__main__":
    work(Load(sys.argv[1]))
