"""The gRPC handlers, with faults staged behind them, over a real channel."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2

from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import invalid
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.servicers import Servicers

PREDICT = "/tensorflow.serving.PredictionService/Predict"
REQUEST = predict_pb2.PredictRequest(model_spec={"name": "m"}).SerializeToString()


class Staged:
    """A repository with one model, whose run is what the test wants; and the runner of that model."""

    def __init__(self) -> None:
        from tensorflow.core.protobuf import meta_graph_pb2

        self.signatures = {"serving_default": meta_graph_pb2.SignatureDef()}
        self.error: Exception | None = None
        self.loaded = asyncio.Event()
        self.loaded.set()
        self.finish = asyncio.Event()
        self.runs, self.in_use, self.cancelled = 0, 0, asyncio.Event()

    async def wait_until_loaded(self, *_wanted: Any) -> None:
        await self.loaded.wait()

    @contextmanager
    def held(self, *_wanted: Any) -> Iterator[tuple[int, "Staged"]]:
        if self.error:
            raise self.error
        self.in_use += 1
        try:
            yield 1, self
        finally:
            self.in_use -= 1

    async def run(self, _call: Call) -> list[Any]:
        self.runs += 1
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return []


async def _no_reload(_models: Any) -> None:
    raise RuntimeError("secret detail")


@asynccontextmanager
async def _door(staged: Staged, metrics: Metrics | None = None) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    metrics = metrics or Metrics()
    server.add_generic_rpc_handlers(Servicers(staged, _no_reload, metrics).handlers())  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0)


async def _refused(channel: grpc.aio.Channel, method: str = PREDICT, request: bytes = REQUEST, **how: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await channel.unary_unary(method)(request, **{"timeout": 30, **how})
    return refusal.value


def test_an_unforeseen_error_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        staged = Staged()
        staged.error = RuntimeError("secret detail")
        async with _door(staged) as channel:
            refusal = await _refused(channel)
        assert refusal.code() is grpc.StatusCode.INTERNAL
        assert refusal.details() == "internal error; the server's log has the details"

    with caplog.at_level(logging.ERROR):
        asyncio.run(scene())
    assert "secret detail" in caplog.text


def test_a_long_text_is_cut_as_the_real_server_does() -> None:
    async def scene() -> None:
        staged = Staged()
        staged.error = invalid("x" * 2000)
        async with _door(staged) as channel:
            assert (await _refused(channel)).details() == "x" * 1024 + "...TRUNCATED"

    asyncio.run(scene())


def test_a_call_whose_time_is_over_before_it_can_run_is_not_run() -> None:
    async def scene() -> None:
        staged, metrics = Staged(), Metrics()
        staged.loaded.clear()
        async with _door(staged, metrics) as channel:
            refusal = await _refused(channel, timeout=0.2)
            staged.loaded.set()
            staged.finish.set()
            await channel.unary_unary(PREDICT)(REQUEST, timeout=30)
        assert refusal.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert staged.runs == 1

    asyncio.run(scene())


def test_a_deadline_that_grpc_has_not_noticed_yet_counts_too() -> None:
    class Late:
        """The context of a call that waited behind others until its time was over."""

        code: Any = None

        def time_remaining(self) -> float:
            return 0.0

        async def abort(self, code: grpc.StatusCode, _text: str) -> None:
            self.code = code
            raise grpc.aio.AbortError

    async def scene() -> None:
        staged, late = Staged(), Late()
        staged.finish.set()
        service = Servicers(staged, _no_reload, Metrics()).handlers()[0]  # type: ignore[arg-type]
        call = type("Details", (), {"method": PREDICT, "invocation_metadata": ()})()
        with pytest.raises(grpc.aio.AbortError):
            await service.service(call).unary_unary(REQUEST, late)
        assert (late.code, staged.runs) == (grpc.StatusCode.DEADLINE_EXCEEDED, 0)

    asyncio.run(scene())


def test_a_cancelled_call_stops_waiting_lets_go_of_the_model_and_is_counted() -> None:
    async def scene() -> None:
        staged, metrics = Staged(), Metrics()
        metrics.load("m", "folder", True, 1.0)
        async with _door(staged, metrics) as channel:
            call = channel.unary_unary(PREDICT)(REQUEST)
            while not staged.runs:
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.wait_for(staged.cancelled.wait(), 30)
            while staged.in_use:
                await asyncio.sleep(0.01)
        assert 'request_count{model_name="m",status="CANCELLED"} 1' in metrics.text()

    asyncio.run(scene())


def test_requests_are_counted_by_model_and_status() -> None:
    async def scene() -> None:
        staged, metrics = Staged(), Metrics()
        metrics.load("m", "folder", True, 1.0)
        staged.finish.set()
        async with _door(staged, metrics) as channel:
            await channel.unary_unary(PREDICT)(REQUEST, timeout=30)
            staged.error = invalid("no")
            await _refused(channel)
        text = metrics.text()
        assert 'request_count{model_name="m",status="OK"} 1' in text
        assert 'request_count{model_name="m",status="INVALID_ARGUMENT"} 1' in text
        assert 'request_latency_count{model_name="m",API="Predict",entrypoint="GRPC"} 1' in text

    asyncio.run(scene())
