"""Which batches the event loop runs itself, and which go to a thread."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from threading import Event
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from batching_kit import call, several

from tensor_serving.embedded.batch_queue import Queue
from tensor_serving.embedded.batching import BatchedModel, Batcher
from tensor_serving.embedded.batching_parameters import BatchingParameters
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.metrics import Metrics


class Timed:
    """A graph that doubles its input in a time of its own, and remembers in which thread it ran."""

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.threads, self.sizes = list(seconds), [], []
        self.last = 0.0

    def run(self, call: Call) -> list[np.ndarray]:
        (value,) = call.values
        self.threads.append(threading.current_thread().name.split("-")[0])
        self.sizes.append(len(value))
        if (value < 0).any():
            self.last = 0.0
            raise ValueError("refused at once")
        self.last = self.seconds.pop(0) if self.seconds else 0.0
        Event().wait(self.last)
        return [value * 2]


def timed(graph: Timed, scenario: Callable[[BatchedModel], Coroutine[Any, Any, None]], **more: Any) -> None:
    """Run a scenario; what a busy machine adds to the graph's times is not counted."""
    parameters = BatchingParameters(num_batch_threads=2, **more)
    batcher = Batcher(2, Metrics())
    took = Queue.took
    try:
        with patch.object(Queue, "took", lambda queue, seconds, rows: took(queue, min(seconds, graph.last), rows)):
            asyncio.run(asyncio.wait_for(scenario(BatchedModel("m", graph.run, parameters, batcher)), 30))
    finally:
        batcher.close()


async def noted(model: BatchedModel, one: Call) -> None:
    """Run a call, and wait for its time to be noted, which a thread does when it has answered."""
    await model.run(one, len(one.values[0]))
    while model._batcher._queues:
        await asyncio.sleep(0)


def test_a_brief_batch_is_run_by_the_loop_with_all_that_came_in_the_same_turn() -> None:
    async def scenario(model: BatchedModel) -> None:
        await noted(model, call(0))  # how long it takes is not known yet
        futures = await several(model, call(1), call(2, 3), call(4))
        assert [(await future)[0].tolist() for future in futures] == [[2.0], [4.0, 6.0], [8.0]]

    graph = Timed()
    timed(graph, scenario)
    assert (graph.threads, graph.sizes) == (["batch", "MainThread"], [1, 4])


def test_what_is_expected_to_take_long_is_run_by_a_thread() -> None:
    async def scenario(model: BatchedModel) -> None:
        for rows in ((0,), (1,), (2,) * 12, (3,), (4,)):
            await noted(model, call(*rows))

    graph = Timed(0.001, 0.001, 0.001, 0.02)  # twelve rows of a millisecond are too much; later a row is
    timed(graph, scenario)
    assert graph.threads == ["batch", "MainThread", "batch", "MainThread", "batch"]


def test_a_slow_signature_of_a_quick_model_never_holds_up_the_loop() -> None:
    async def scenario(model: BatchedModel) -> None:
        for fetch in ("y:0", "y:0", "slow:0", "y:0", "slow:0", "y:0"):
            await noted(model, call(1, fetches=(fetch,)))

    graph = Timed(0.001, 0.001, 0.02, 0.001, 0.02, 0.001)
    timed(graph, scenario)
    assert graph.threads == ["batch", "MainThread", "batch", "MainThread", "batch", "MainThread"]


def test_a_call_that_fails_at_once_is_not_measured() -> None:
    async def scenario(model: BatchedModel) -> None:
        await noted(model, call(1))
        with pytest.raises(ValueError, match="refused"):
            await noted(model, call(-1))
        await noted(model, call(1))

    graph = Timed(0.02, 0.02)
    timed(graph, scenario)
    assert graph.threads == ["batch"] * 3


def test_a_turn_of_the_loop_that_has_become_long_goes_to_threads() -> None:
    async def scenario(model: BatchedModel) -> None:
        await noted(model, call(0))
        futures = await several(model, *(call(number) for number in range(30)))
        await asyncio.gather(*futures)

    graph = Timed(0.001)
    timed(graph, scenario, max_execution_batch_size=16)
    assert graph.threads[0] == "batch"
    assert "MainThread" not in graph.threads[1:2]
    assert sum(graph.sizes) == 31


def test_a_call_withdrawn_before_its_turn_is_not_run() -> None:
    async def scenario(model: BatchedModel) -> None:
        await noted(model, call(0))
        (future,) = await several(model, call(1))
        future.cancel()
        await asyncio.sleep(0)  # the turn is over
        await noted(model, call(2))

    graph = Timed()
    timed(graph, scenario)
    assert graph.sizes == [1, 1]


def test_a_call_that_waits_for_a_batch_is_not_run_at_once() -> None:
    async def scenario(model: BatchedModel) -> None:
        await noted(model, call(0))
        await noted(model, call(1))

    graph = Timed()
    timed(graph, scenario, batch_timeout_micros=10_000)
    assert graph.threads == ["batch", "batch"]
