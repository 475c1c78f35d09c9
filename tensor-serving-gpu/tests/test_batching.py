"""Batching: what is run together, padded, split, refused and withdrawn."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Event
from typing import Any

import grpc
import numpy as np
import pytest
from batching_kit import call, several

from tensor_serving.embedded.batch import NotRowsError
from tensor_serving.embedded.batching import BatchedModel, Batcher
from tensor_serving.embedded.batching_parameters import BatchingParameters
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.metrics import Metrics


class Gated:
    """A graph that doubles its input, and stops at a gate in its first run, so that what comes meanwhile queues up."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []
        self.entered, self.gate = Event(), Event()

    def run(self, call: Call) -> list[np.ndarray]:
        (value,) = call.values
        self.batches.append(value)
        if len(self.batches) == 1:
            self.entered.set()
            assert self.gate.wait(20)
        if (value == -1).any():
            raise invalid("the graph takes no -1")
        return [value * 2]

    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def batched(parameters: BatchingParameters, scenario: Callable[..., Coroutine[Any, Any, None]]) -> Gated:
    """Run a scenario on an event loop with a batched model whose first batch, of one row 0, is at the gate."""
    graph = Gated()
    batcher = Batcher(parameters.num_batch_threads, Metrics())

    async def play() -> None:
        model = BatchedModel("m", graph.run, parameters, batcher)
        first = asyncio.ensure_future(model.run(call(0), 1))
        await asyncio.to_thread(graph.entered.wait, 20)

        async def go() -> None:
            graph.gate.set()
            await first

        await scenario(model, go)

    try:
        asyncio.run(asyncio.wait_for(play(), 30))
    finally:
        graph.gate.set()
        batcher.close()
    return graph


ONE = BatchingParameters(num_batch_threads=1)


def test_what_waits_is_run_as_one_and_cut_back() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(1), call(2, 3), call(4))
        await go()
        answers = [(await future)[0].tolist() for future in futures]
        assert answers == [[2.0], [4.0, 6.0], [8.0]]

    graph = batched(ONE, scenario)
    assert graph.sizes() == [1, 4]
    assert graph.batches[1].tolist() == [1, 2, 3, 4]


def test_a_batch_is_no_larger_than_allowed_and_padded_with_its_first_row() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(1, 2), call(3, 4), call(5), call(6, 7))
        await go()
        assert [(await future)[0].tolist() for future in futures] == [[2, 4], [6, 8], [10], [12, 14]]

    parameters = BatchingParameters(
        num_batch_threads=1, max_batch_size=4, max_execution_batch_size=4, allowed_batch_sizes=(2, 4)
    )
    graph = batched(parameters, scenario)
    assert [batch.tolist() for batch in graph.batches] == [[0, 0], [1, 2, 3, 4], [5, 6, 7, 6]]


def test_calls_of_other_shapes_or_outputs_are_not_mixed_in() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        wide = Call("serving_default", ("x:0",), (np.ones((1, 2), np.float32),), ("y:0",))
        futures = await several(model, call(1), wide, call(2), call(3, fetches=("y:0", "z:0")), call(4))
        await go()
        for future in futures:
            await future

    assert [batch.tolist() for batch in batched(ONE, scenario).batches] == [[0], [1, 2, 4], [[1, 1]], [3]]


def test_unequal_lengths_are_filled_up_where_that_is_wanted() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        rows = [np.full((1, width), width, np.float32) for width in (2, 3)]
        calls = [Call("serving_default", ("x:0",), (row,), ("y:0",)) for row in rows]
        futures = await several(model, *calls)
        await go()
        assert [(await future)[0].tolist() for future in futures] == [[[4, 4, 4]], [[6, 6, 6]]]

    parameters = BatchingParameters(num_batch_threads=1, pad_variable_length_inputs=True)
    assert batched(parameters, scenario).batches[1].tolist() == [[2, 2, 2], [3, 3, 3]]


def test_a_large_call_is_a_batch_of_its_own_or_split() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(1, 2, 3, 4, 5), call(6))
        await go()
        assert [(await future)[0].tolist() for future in futures] == [[2, 4, 6, 8, 10], [12]]

    whole = BatchingParameters(num_batch_threads=1, max_batch_size=4, max_execution_batch_size=4)
    assert batched(whole, scenario).sizes() == [1, 5, 1]
    parameters = BatchingParameters(
        num_batch_threads=1, max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=2
    )
    assert batched(parameters, scenario).sizes() == [1, 2, 2, 1, 1]


def test_a_call_of_any_size_fits_into_an_empty_queue() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        await go()
        assert (await model.run(call(*range(5000)), 5000))[0].tolist() == [2 * row for row in range(5000)]

    parameters = BatchingParameters(
        num_batch_threads=1, enable_large_batch_splitting=True, max_execution_batch_size=2, max_enqueued_batches=8
    )
    assert batched(parameters, scenario).sizes() == [1, 1250, 1250, 1250, 1250]


def test_a_call_is_spread_over_the_threads() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(*range(25)), call(*range(23)))
        await go()
        for future, rows in zip(futures, (25, 23), strict=True):
            assert (await future)[0].tolist() == [2 * row for row in range(rows)]

    parameters = BatchingParameters(num_batch_threads=2, enable_large_batch_splitting=True)
    assert sorted(batched(parameters, scenario).sizes()) == [1, 12, 13, 23]  # in halves, but for what is small


def test_a_split_call_fails_as_a_whole() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(1, 2, -1, 4, -1, 6), call(7))
        await go()
        with pytest.raises(ServingError, match="the graph takes no -1"):
            await futures[0]
        assert (await futures[1])[0].tolist() == [14]

    parameters = BatchingParameters(
        num_batch_threads=1, max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=2
    )
    batched(parameters, scenario)


def test_full_batches_run_beside_the_one_that_is_running() -> None:
    """And what is no full batch waits until that has ended."""

    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(1, 2), call(3))
        assert (await futures[0])[0].tolist() == [2, 4]
        assert not futures[1].done()
        await go()
        assert (await futures[1])[0].tolist() == [6]

    parameters = BatchingParameters(num_batch_threads=2, max_batch_size=2, max_execution_batch_size=2)
    assert batched(parameters, scenario).sizes() == [1, 2, 1]


def test_one_slow_model_does_not_hold_up_another() -> None:
    slow, quick = Gated(), Gated()
    quick.gate.set()
    batcher = Batcher(2, Metrics())

    async def play() -> None:
        models = [BatchedModel(name, graph.run, ONE, batcher) for name, graph in (("slow", slow), ("quick", quick))]
        held = asyncio.ensure_future(models[0].run(call(1), 1))
        await asyncio.to_thread(slow.entered.wait, 20)
        assert (await models[1].run(call(2), 1))[0].tolist() == [4]
        slow.gate.set()
        await held

    asyncio.run(asyncio.wait_for(play(), 30))
    batcher.close()


def test_a_full_queue_refuses() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(1), call(2), call(3))
        with pytest.raises(ServingError) as caught:
            await futures[2]
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
        assert caught.value.text == "The batch scheduling queue to which this task was submitted is full"
        await go()
        assert [(await future)[0].tolist() for future in futures[:2]] == [[2], [4]]

    parameters = BatchingParameters(
        num_batch_threads=1, max_batch_size=1, max_execution_batch_size=1, max_enqueued_batches=2
    )
    batched(parameters, scenario)


def test_a_cancelled_call_leaves_the_queue() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(1), call(2))
        futures[0].cancel()
        futures[1].cancel()
        await asyncio.wait(futures)
        (last,) = await several(model, call(3))  # the queue has space again
        await go()
        assert (await last)[0].tolist() == [6]

    parameters = BatchingParameters(
        num_batch_threads=1, max_batch_size=1, max_execution_batch_size=1, max_enqueued_batches=2
    )
    assert [batch.tolist() for batch in batched(parameters, scenario).batches] == [[0], [3]]


def test_a_faulty_call_fails_alone() -> None:
    async def scenario(model: BatchedModel, go: Any) -> None:
        futures = await several(model, call(1), call(-1), call(3))
        await go()
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert [outcomes[0][0].tolist(), outcomes[2][0].tolist()] == [[2], [6]]
        assert isinstance(outcomes[1], ServingError)
        assert outcomes[1].text == "the graph takes no -1"

    assert batched(ONE, scenario).sizes() == [1, 3, 1, 1, 1]


def test_a_timeout_lets_a_batch_wait_for_company_and_a_full_one_go() -> None:
    async def company(model: BatchedModel) -> None:
        (early,) = await several(model, call(1))
        await model.run(call(8, 9, fetches=("z:0",)), 2)  # full, so it goes: the threads have had their chance
        assert not early.done()
        (late,) = await several(model, call(2))
        assert [(await future)[0].tolist() for future in (early, late)] == [[2], [4]]

    async def alone(model: BatchedModel) -> None:
        assert (await model.run(call(3), 1))[0].tolist() == [6]

    def parameters(micros: int) -> BatchingParameters:
        return BatchingParameters(2, micros, num_batch_threads=2, max_execution_batch_size=2)

    graph = Gated()
    graph.gate.set()
    batcher = Batcher(2, Metrics())

    async def play() -> None:
        await company(BatchedModel("m", graph.run, parameters(20_000_000), batcher))
        await alone(BatchedModel("m", graph.run, parameters(10_000), batcher))

    asyncio.run(asyncio.wait_for(play(), 15))
    batcher.close()
    assert graph.sizes() == [2, 2, 1]


@pytest.mark.parametrize("output", [np.float32(1), np.zeros(3)])
def test_outputs_that_are_not_rows_are_an_error_of_their_own(output: Any) -> None:
    batcher = Batcher(1, Metrics())
    model = BatchedModel("m", lambda _: [np.asarray(output)], ONE, batcher)
    with pytest.raises(NotRowsError, match="1 rows went in"):
        asyncio.run(model.run(call(1), 1))
    batcher.close()
