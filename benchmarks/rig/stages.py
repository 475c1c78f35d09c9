"""Where the time of one call goes: each stage of it alone, in this process, without a network where none is needed.

Usage: python -m rig.stages, or serving.py --stages.
"""

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import uvloop
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from rig import SHIPPED_MODEL
from tensor_serving.embedded import predict
from tensor_serving.embedded.execution import Execution, Runner
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.options import Options
from tensor_serving.embedded.runtime import Model
from tensor_serving.environment import set_environment

_SECONDS = 0.25  # for each stage
_BLOCKS = 5  # of which the fastest counts: the others were disturbed


def main() -> None:
    """Print the stages for one image and for 32 in a request."""
    set_environment()
    lines = [f"{'stage':<58}{'1 image':>10}{'32 images':>11}  us"]
    columns = [uvloop.run(_stages(rows)) for rows in (1, 32)]
    lines += [f"{name:<58}{columns[0][name]:>10.1f}{columns[1][name]:>11.1f}" for name in columns[0]]
    sys.stdout.write("\n".join([*lines, ""]))


class _Idle(Model):
    """The model with a `run` that does nothing, so that only the way to it and back is measured."""

    def __init__(self, model: Model) -> None:
        self.signatures, self._outputs = model.signatures, [np.zeros((4096, 10), np.float32)]

    def run(self, call: Any) -> Any:
        return [self._outputs[0][: len(call.values[0])]]


async def _stages(rows: int) -> dict[str, float]:
    options = Options(enable_batching=True, tensorflow_intra_op_parallelism=1)
    model, saved = Model(SHIPPED_MODEL, 1), Model(SHIPPED_MODEL, 1, freeze=False)
    signatures, data = model.signatures, _request(rows)
    request = predict_pb2.PredictRequest.FromString(data)
    call = predict.prepare(signatures, request)
    outputs = model.run(call)
    response = predict.answer(signatures, request, call, outputs)
    idle = _Idle(model)
    pooled = Execution(replace(options, enable_batching=False), Metrics()).runner("m", idle, SHIPPED_MODEL)
    batched = Execution(options, Metrics()).runner("m", idle, SHIPPED_MODEL)
    metrics = Metrics()
    metrics.load("m", SHIPPED_MODEL, True, 0.0)

    def count() -> None:
        metrics.runtime("m", "Predict", 0.001)
        metrics.request("m", "Predict", "GRPC", "OK", 0.001)

    return {
        "gRPC: a call there and back that does nothing": await _grpc(data, bytes(response.SerializeToString())),
        "parse the request": await _time(lambda: predict_pb2.PredictRequest.FromString(data)),
        "check it, tensors to numpy (predict.prepare)": await _time(lambda: predict.prepare(signatures, request)),
        "to the batch thread and back (execution, batching)": await _time(lambda: _run(batched, call), wait=True),
        "the same with the thread pool, without batching": await _time(lambda: _run(pooled, call), wait=True),
        "the graph, one thread (runtime, native)": await _time(lambda: model.run(call)),
        "the graph as it was saved, without freezing": await _time(lambda: saved.run(call)),
        "outputs to tensors (predict.answer)": await _time(lambda: predict.answer(signatures, request, call, outputs)),
        "serialize the answer": await _time(response.SerializeToString),
        "count it (metrics)": await _time(count),
    }


def _run(runner: Runner, call: Any) -> Awaitable[Any]:
    return runner.run(call)


async def _time(stage: Callable[[], Any], wait: bool = False) -> float:
    """Return the microseconds of one run of the stage, in the fastest block."""
    best = float("inf")
    for _ in range(_BLOCKS):
        count, started = 0, time.perf_counter()
        while (now := time.perf_counter()) < started + _SECONDS / _BLOCKS:
            if wait:
                await stage()
            else:
                stage()
            count += 1
        best = min(best, (now - started) / count)
    return best * 1e6


async def _grpc(data: bytes, response: bytes) -> float:
    """Return the microseconds of a call that does nothing, by gRPC's own client and server, for comparison.

    Both share this loop, which takes a bit less time than two processes would, and at most one core.
    """

    async def handle(_data: bytes, _context: Any) -> bytes:
        return response

    server = grpc.aio.server()
    handlers = {"Call": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("null", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/null/Call")
        microseconds = await _time(lambda: call(data), wait=True)
    await server.stop(0)
    return microseconds


def _request(rows: int) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    tensor = request.inputs["images"]
    tensor.dtype = types_pb2.DT_UINT8
    for length in (rows, 28, 28, 1):
        tensor.tensor_shape.dim.add(size=length)
    tensor.tensor_content = bytes(rows * 28 * 28)
    return bytes(request.SerializeToString())


if __name__ == "__main__":
    main()
