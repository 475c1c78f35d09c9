"""Runners over real models: alone and in batches, and giving memory back only when nothing runs any more."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread, current_thread
from typing import Any

import dependent_models
import numpy as np
import pytest

from tensor_serving.embedded import predict
from tensor_serving.embedded.batching import BatchedModel, Batcher
from tensor_serving.embedded.batching_parameters import BatchingParameters
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.execution import BatchRunner, Execution, PoolRunner, Runner
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.options import Options
from tensor_serving.embedded.runtime import Model


@pytest.fixture
def executions() -> Iterator[dict[bool, Execution]]:
    """One without and one with batching."""
    made = {batching: Execution(Options(enable_batching=batching), Metrics()) for batching in (False, True)}
    yield made
    for execution in made.values():
        execution.close()


def call_of(runner: Runner, signature: str, **inputs: Any) -> Call:
    arrays = {alias: np.asarray(value) for alias, value in inputs.items()}
    return predict.call_for(runner.signatures, signature, arrays, ())[0]


@pytest.fixture
def half_plus_two(tmp_path: Path, exports: Path) -> Path:
    """A version folder of its own whose rows are declared independent."""
    folder = tmp_path / "half" / "1"
    shutil.copytree(exports / "half_plus_two", folder)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "batching_params.pbtxt").write_text("")
    return folder


def ran_alone(runner: Runner, call: Call) -> bool:
    """Run a call; return whether the model ran it in a thread of the pool."""
    threads: list[str] = []
    assert isinstance(runner, BatchRunner)
    model = runner._alone._model
    run = model.run

    def noted(one: Call) -> Any:
        threads.append(current_thread().name)
        return run(one)

    model.run = noted  # type: ignore[method-assign]
    asyncio.run(runner.run(call))
    model.run = run  # type: ignore[method-assign]
    return threads[0].startswith("call")


@pytest.mark.parametrize("batching", [False, True])
def test_calls_of_all_kinds_are_answered(
    executions: dict[bool, Execution], half_plus_two: Path, batching: bool
) -> None:
    runner = executions[batching].runner("half", Model(half_plus_two), half_plus_two)
    assert isinstance(runner, BatchRunner if batching else PoolRunner)

    async def play() -> None:
        halves = [call_of(runner, "", x=np.float32([number, number + 1])) for number in range(40)]
        for number, (y,) in enumerate(await asyncio.gather(*map(runner.run, halves))):
            assert y.tolist() == [number / 2 + 2, number / 2 + 2.5]
        words = [call_of(runner, "shout", text=np.array([b"a", b"bc"][: 1 + n % 2], object)) for n in range(6)]
        for number, outputs in enumerate(await asyncio.gather(*map(runner.run, words))):
            assert [b"A", b"BC"][: 1 + number % 2] in [output.tolist() for output in outputs]
        # No axis 0 to batch along: b is [2, any], the sum is a scalar.
        product = call_of(runner, "product", a=np.ones((3, 2), np.float32), b=np.ones((2, 4), np.float32))
        assert sorted(output.shape for output in await runner.run(product)) == [(), (3, 4)]
        (nothing,) = await runner.run(call_of(runner, "", x=np.float32([])))
        assert nothing.shape == (0,)
        (scalar,) = await runner.run(call_of(runner, "", x=np.float32(5)))
        assert (scalar.shape, float(scalar)) == ((), 4.5)
        (many,) = await runner.run(call_of(runner, "", x=np.ones(100_000, np.float32)))
        assert many.tolist() == [2.5] * 100_000

    asyncio.run(play())
    runner.close()


def test_only_rows_declared_independent_are_batched(executions: dict[bool, Execution], half_plus_two: Path) -> None:
    runner = executions[True].runner("half", Model(half_plus_two), half_plus_two)
    call = call_of(runner, "", x=np.float32([1, 2]))
    assert not ran_alone(runner, call)
    for text, alone in (
        ('{"independent_rows": false}', True),  # the operator overrules the version
        ('{"independent_rows": true}', False),
        ('{"independent_rows": "maybe"}', True),  # a mistake in a file that might have said false
        ("{}", False),
    ):
        (half_plus_two.parent / "serving.json").write_text(text)
        runner.refresh()
        assert ran_alone(runner, call) is alone, text
    (half_plus_two / "assets.extra" / "batching_params.pbtxt").unlink()
    runner.refresh()
    assert ran_alone(runner, call)
    (half_plus_two / "batching_params.pbtxt").write_text("")  # where TensorFlow Serving looks
    runner.refresh()
    assert not ran_alone(runner, call)
    runner.close()


def test_a_wrong_declaration_ends_at_the_first_answer_that_is_not_rows(
    executions: dict[bool, Execution], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = dependent_models.export(tmp_path / "wrong" / "1")
    (folder / "batching_params.pbtxt").write_text("")
    runner = executions[True].runner("wrong", Model(folder), folder)
    call = call_of(runner, "filtered", x=np.float32([1, 0, 2]))
    assert [output.tolist() for output in asyncio.run(runner.run(call))] == [[1, 2]]
    assert "requests run alone from now on" in caplog.text
    assert ran_alone(runner, call)
    runner.refresh()  # the declaration is still there, and still wrong
    assert ran_alone(runner, call)
    runner.close()


@pytest.mark.parametrize("batching", [False, True])
def test_closing_waits_for_a_run_without_a_caller(
    executions: dict[bool, Execution], exports: Path, batching: bool
) -> None:
    folder = exports / "half_plus_two"
    model = Model(folder)
    runner = executions[batching].runner("half", model, folder)
    running: list[float] = []
    run, close = model.run, model.close

    def slow_run(call: Call) -> Any:
        running.append(0)
        outputs = run(call)
        running[-1] = time.monotonic()
        return outputs

    model.run, model.close = slow_run, lambda: (running.append(time.monotonic()), close())  # type: ignore[assignment]

    async def play() -> None:
        task = asyncio.ensure_future(runner.run(call_of(runner, "slow", x=np.float32([2]))))
        while not running:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        closing = Thread(target=runner.close)
        closing.start()
        await asyncio.to_thread(closing.join, 30)

    asyncio.run(play())
    ended, closed = running
    assert 0 < ended <= closed


def test_a_version_may_bring_its_own_parameters(half_plus_two: Path) -> None:
    options = Options(enable_batching=True, enable_per_model_batching_parameters=True)
    execution = Execution(options, Metrics())
    model = Model(half_plus_two)
    file = half_plus_two / "assets.extra" / "batching_params.pbtxt"
    file.write_text("max_batch_size { value: 2 }")
    runner = execution.runner("half", model, half_plus_two)
    assert isinstance(runner, BatchRunner)
    assert runner._batched.parameters.max_batch_size == 2
    file.write_text("max_batch_size: 2")
    with pytest.raises(ServingError, match="is not a BatchingParameters in text form"):
        execution.runner("half", model, half_plus_two)
    runner.close()
    execution.close()


def test_many_calls_from_many_sides_all_get_their_own_answer() -> None:
    batcher = Batcher(3, Metrics())
    models = [
        BatchedModel(
            "m",
            lambda one: [one.values[0] * 2],
            BatchingParameters(
                max_batch_size=16,
                enable_large_batch_splitting=True,
                max_execution_batch_size=size,
                max_enqueued_batches=999,
            ),
            batcher,
        )
        for size in (4, 8)
    ]

    async def client(number: int) -> None:
        for step in range(50):
            rows = [number * 1000.0 + step * 16 + row for row in range(1 + (number + step) % 12)]
            future = asyncio.ensure_future(
                models[number % 2].run(Call("", ("x:0",), (np.array(rows, np.float32),), ("y:0",)), len(rows))
            )
            if step % 7 == 3:
                await asyncio.sleep(0)
                future.cancel()
                await asyncio.wait((future,))
            else:
                assert (await future)[0].tolist() == [2 * row for row in rows]

    async def play() -> None:
        await asyncio.gather(*map(client, range(40)))

    asyncio.run(asyncio.wait_for(play(), 60))
    batcher.close()
