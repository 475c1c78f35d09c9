"""Rows of many callers in few calls: everyone gets his own answer, whatever fails, whoever leaves."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from gateway_kit import wait_until

from tensor_rest.backend.batching import Batcher, Inputs, Prediction, SignatureRef, row_bytes
from tensor_rest.errors import ApiError, BadRequestError, DeadlineError, NotFoundError, UnavailableError

ASKED = SignatureRef("half-plus-two", None, None, "serving_default", ())
BAD = -1.0  # a row the model refuses


class HalfPlusTwo:
    """Computes x / 2 + 2 row by row, one call after the other where `hold` says so; remembers what was sent."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []
        self.ids: list[Sequence[str]] = []
        self.deadlines: list[float] = []
        self.hold: threading.Event | None = None
        self.fail: Callable[[np.ndarray[Any, Any]], ApiError | None] = lambda _: None

    def run(self, _asked: SignatureRef, inputs: Inputs, deadline: float, ids: Sequence[str]) -> Prediction:
        x = inputs["x"]
        self.calls.append(x[:, 0].tolist())
        self.ids.append(ids)
        self.deadlines.append(deadline)
        if self.hold and not self.hold.wait(max(0, deadline - time.monotonic())):
            raise DeadlineError("too late")
        if error := self.fail(x):
            raise error
        if (x == BAD).any():
            raise BadRequestError("a bad row")
        return Prediction(1, {"y": x / 2 + 2}, model_seconds=0.001)


@pytest.fixture
def model() -> HalfPlusTwo:
    return HalfPlusTwo()


@pytest.fixture
def batcher(model: HalfPlusTwo) -> Batcher:
    return Batcher(model.run, max_rows=8, max_bytes=1 << 20, running=1)


def ask(batcher: Batcher, *values: float, seconds: float = 10, width: int = 3, name: str = "") -> Any:
    """The answers for one row of each value, checked; or the error."""
    x = np.repeat(np.array(values, np.float32)[:, np.newaxis], width, axis=1)
    try:
        answer = batcher.predict(ASKED, {"x": x}, len(values), time.monotonic() + seconds, name)
    except ApiError as error:
        return error
    assert answer.outputs["y"].shape == x.shape
    assert np.array_equal(answer.outputs["y"], x / 2 + 2)
    return answer


def waiting(batcher: Batcher) -> int:
    return sum(len(queue.pending) for queue in batcher._queues.values())


class Callers:
    """One caller whose call is held, and others that queue behind it, one after the other."""

    def __init__(self, batcher: Batcher, model: HalfPlusTwo) -> None:
        self._batcher, self._pool, self._results = batcher, ThreadPoolExecutor(32), []
        self._hold = model.hold = threading.Event()
        self._results.append(self._pool.submit(ask, batcher, 0.0, name="first"))
        wait_until(lambda: model.calls)

    def add(self, *values: float, **options: Any) -> None:
        before = waiting(self._batcher)
        self._results.append(self._pool.submit(ask, self._batcher, *values, **options))
        wait_until(lambda: waiting(self._batcher) == before + 1)

    def release(self) -> None:
        self._hold.set()

    def results(self) -> list[Any]:
        self.release()
        results = [result.result(20) for result in self._results]
        self._pool.shutdown()
        assert self._batcher._queues == {}
        return results


def test_one_caller_alone_goes_at_once(batcher: Batcher, model: HalfPlusTwo) -> None:
    assert ask(batcher, 4.0).queue_seconds < 1
    assert model.calls == [[4.0]]


def test_who_comes_during_a_call_leaves_together_after_it_in_order(batcher: Batcher, model: HalfPlusTwo) -> None:
    callers = Callers(batcher, model)
    for number in range(1, 11):
        callers.add(float(number), name=f"r{number}")
    answers = callers.results()
    assert model.calls == [[0.0], [1.0, 2, 3, 4, 5, 6, 7, 8], [9.0, 10.0]]
    assert model.ids[2] == ["r9", "r10"]
    assert answers[1].queue_seconds > 0


def test_a_callers_rows_stay_together(batcher: Batcher, model: HalfPlusTwo) -> None:
    callers = Callers(batcher, model)
    for values in ([1.0] * 5, [2.0] * 4, [3.0] * 2):
        callers.add(*values)
    callers.results()
    assert model.calls[1:] == [[1.0] * 5, [2.0] * 4 + [3.0] * 2]


def test_other_shapes_and_other_questions_do_not_wait_for_each_other(batcher: Batcher, model: HalfPlusTwo) -> None:
    callers = Callers(batcher, model)
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(ask, batcher, 1.0, width=4)
        wait_until(lambda: len(model.calls) == 2)
        callers.release()
        other.result(10)
    callers.results()


def test_large_rows_make_small_batches(model: HalfPlusTwo) -> None:
    batcher = Batcher(model.run, max_rows=8, max_bytes=24, running=1)  # a row has 12 bytes
    callers = Callers(batcher, model)
    for number in range(1, 5):
        callers.add(float(number))
    callers.results()
    assert model.calls == [[0.0], [1.0, 2.0], [3.0, 4.0]]
    assert batcher.max_rows_of(row_bytes({"x": np.zeros((2, 1000))}, 2)) == 1


def test_a_bad_row_fails_its_own_caller_only(batcher: Batcher, model: HalfPlusTwo) -> None:
    callers = Callers(batcher, model)
    for value in (1.0, BAD, 3.0):
        callers.add(value)
    first, one, bad, three = callers.results()
    assert isinstance(bad, BadRequestError)
    assert all(isinstance(answer, Prediction) for answer in (first, one, three))
    assert sorted(model.calls[2:]) == [[BAD], [1.0], [3.0]]


@pytest.mark.parametrize("kind", [UnavailableError, NotFoundError])
def test_what_is_nobodys_fault_is_told_to_all_without_more_calls(
    batcher: Batcher, model: HalfPlusTwo, kind: type[ApiError]
) -> None:
    callers = Callers(batcher, model)
    for number in (1.0, 2.0):
        callers.add(number)
    model.fail = lambda x: kind("gone") if 1.0 in x else None
    _, *errors = callers.results()
    assert [type(error) for error in errors] == [kind, kind]
    assert errors[0] is not errors[1]
    assert len(model.calls) == 2


def test_an_answer_with_missing_rows_is_requested_again_alone(batcher: Batcher, model: HalfPlusTwo) -> None:
    whole = model.run

    def run(ref: SignatureRef, inputs: Inputs, deadline: float, ids: Sequence[str]) -> Prediction:
        answer = whole(ref, inputs, deadline, ids)
        return answer if len(inputs["x"]) == 1 else Prediction(1, {"y": answer.outputs["y"][:1]})

    batcher._run = run
    callers = Callers(batcher, model)
    for number in (1.0, 2.0):
        callers.add(number)
    assert all(isinstance(answer, Prediction) for answer in callers.results())


def test_a_fault_of_ours_in_a_shared_call_reaches_one_and_the_others_are_answered(
    batcher: Batcher, model: HalfPlusTwo
) -> None:
    def fail(x: np.ndarray[Any, Any]) -> None:
        if len(x) == 2:
            raise MemoryError

    callers = Callers(batcher, model)
    for number in (1.0, 2.0):
        callers.add(number)
    model.fail = fail
    callers.release()
    outcomes = [result.exception(20) for result in callers._results]
    assert sum(isinstance(outcome, MemoryError) for outcome in outcomes) == 1
    assert outcomes.count(None) == 2
    assert batcher._queues == {}


def test_everyone_leaves_when_his_time_is_up_and_the_call_goes_on_for_the_others(
    batcher: Batcher, model: HalfPlusTwo
) -> None:
    callers = Callers(batcher, model)
    begun = time.monotonic()
    hurried = ask(batcher, 1.0, seconds=0.05)  # leaves the queue
    assert isinstance(hurried, DeadlineError)
    assert time.monotonic() - begun < 5
    callers.add(2.0, seconds=0.4)
    callers.add(3.0, seconds=20)
    callers.add(4.0, seconds=10)
    held, model.hold = model.hold, threading.Event()  # the group's call is held as well
    held.set()
    wait_until(lambda: len(model.calls) == 2)
    assert model.calls[1] == [2.0, 3.0, 4.0]
    assert model.deadlines[1] - time.monotonic() > 15  # the longest of the three
    assert isinstance(callers._results[1].result(5), DeadlineError)  # gone while its row is under way
    assert not callers._results[2].done()
    model.hold.set()
    assert [type(answer) for answer in callers.results()] == [Prediction, DeadlineError, Prediction, Prediction]


def test_many_callers_with_faults_and_hurry_gets_every_answer_right(batcher: Batcher, model: HalfPlusTwo) -> None:
    """Nothing hangs, nothing is swapped, and only what is at fault or out of time fails."""
    chance = random.Random(5)
    lock = threading.Lock()

    def fail(_: np.ndarray[Any, Any]) -> ApiError | None:
        with lock:
            pause, broken = chance.random() * 0.002, chance.random() < 0.05
        time.sleep(pause)
        return UnavailableError("now and then") if broken else None

    model.fail = fail

    def caller(seed: int) -> list[tuple[bool, float, Any]]:
        mine = random.Random(seed)
        outcomes = []
        for turn in range(40):
            bad, seconds = mine.random() < 0.1, mine.choice((0.001, 0.004, 20.0))
            values = [float(seed * 100 + turn)] * mine.randint(1, 4)
            if bad:
                values[mine.randrange(len(values))] = BAD
            outcomes.append((bad, seconds, ask(batcher, *values, seconds=seconds, width=mine.choice((3, 5)))))
        return outcomes

    with ThreadPoolExecutor(24) as pool:
        outcomes = [each for group in pool.map(caller, range(24)) for each in group]
    assert batcher._queues == {}
    for bad, seconds, outcome in outcomes:
        assert isinstance(outcome, UnavailableError | BadRequestError | DeadlineError | Prediction)
        assert bad or not isinstance(outcome, BadRequestError)
        assert not bad or not isinstance(outcome, Prediction)
        assert seconds < 1 or not isinstance(outcome, DeadlineError)
    assert len(model.calls) < len(outcomes)  # calls were shared, although the failed ones were repeated
