"""Which rows share calls with others', which are split, which go alone; on a real server."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from client_kit import ask, connected, error, half_server, waiting
from gateway_kit import wait_until
from toy_model_server import Model, ModelServer, signature

from tensor_rest.backend.batching import SignatureRef
from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.errors import BadRequestError, DeadlineError


@pytest.fixture
def toy() -> Iterator[ModelServer]:
    yield from half_server()


class Sizes:
    """Rows of each Predict call of a model."""

    def __init__(self, model: Model) -> None:
        self.rows: list[int] = []
        compute = model.compute
        assert compute

        def counted(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            self.rows.append(len(inputs["x"]))
            return compute(inputs)

        model.compute = counted


def test_callers_share_calls(toy: ModelServer) -> None:
    client, sizes = connected(toy.address), Sizes(toy.models["half"])
    hold = toy.hold = threading.Event()
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(ask, client, number) for number in range(9)]
        wait_until(lambda: waiting(client) == 8)
        hold.set()
        assert {future.result(20).version for future in answers} == {1}
    assert sizes.rows == [1, 8]


def test_many_rows_are_split_and_come_back_in_order(toy: ModelServer) -> None:
    client, sizes = connected(toy.address, batch_rows=32), Sizes(toy.models["half"])
    ask(client, rows=100)
    assert sorted(sizes.rows) == [25, 25, 25, 25]


def test_many_rows_do_not_wait_behind_those_of_others_beyond_their_time(toy: ModelServer) -> None:
    client = connected(toy.address, batch_rows=2)
    toy.calls.clear()
    hold = toy.hold = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(ask, client, rows=20)
        wait_until(lambda: len(toy.calls) == 4)  # as many parts as may be under way
        assert isinstance(error(client, rows=6, deadline=time.monotonic() + 0.1), DeadlineError)
        assert not large.done()
        hold.set()
        large.result(20)


def test_parts_of_a_failed_request_are_not_sent(toy: ModelServer) -> None:
    """The first part fails while the others wait; a later request shows that nothing of them is queued any more."""
    client, going = connected(toy.address, batch_rows=2), threading.Event()
    sent: list[float] = []  # the first value of each part

    def fails_first(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sent.append(first := float(inputs["x"][0, 0]))
        if first == 1:
            raise ValueError("not these")
        going.wait(10)
        return {"y": inputs["x"] / 2 + 2}

    toy.models["half"].compute = fails_first
    assert error(client, rows=40).status == 502
    going.set()
    ask(client, value=100, rows=40)
    assert len([first for first in sent if first < 100]) < 10  # of 20: those that were under way


def test_all_parts_are_answered_by_one_version(toy: ModelServer) -> None:
    client, model = connected(toy.address, batch_rows=1 << 4), toy.models["half"]
    compute = model.compute
    assert compute

    def changing(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        model.versions = [1, 2]
        return compute(inputs)

    model.compute = changing
    assert ask(client, rows=100).version == 2


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"x": (pb.DT_FLOAT, [1, 3])}, {"y": (pb.DT_FLOAT, [-1, 3])}),
        ({"x": (pb.DT_FLOAT, [-1, 3])}, {"y": (pb.DT_FLOAT, [])}),
        ({"x": (pb.DT_FLOAT, [-1, 4])}, {"y": (pb.DT_FLOAT, [-1, 4])}),
        ({"x": (pb.DT_DOUBLE, [-1, 3])}, {"y": (pb.DT_DOUBLE, [-1, 3])}),
        ({"x": (pb.DT_FLOAT, [-1, 3]), "z": (pb.DT_FLOAT, [-1])}, {"y": (pb.DT_FLOAT, [-1, 3])}),
    ],
    ids=["fixed rows", "an answer without rows", "another size", "another type", "an input is missing"],
)
def test_what_does_not_fit_the_signature_goes_alone(toy: ModelServer, inputs: Any, outputs: Any) -> None:
    toy.models["half"].signatures = {"serving_default": signature(inputs, outputs)}
    client, sizes = connected(toy.address), Sizes(toy.models["half"])
    hold = toy.hold = threading.Event()
    toy.calls.clear()
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(ask, client, number) for number in range(3)]
        wait_until(lambda: toy.calls == ["Predict"] * 3)  # none waits for another
        hold.set()
        for future in answers:
            future.result(20)
    assert sizes.rows == [1, 1, 1]


def test_a_new_version_with_other_signatures_is_not_batched_by_the_old_ones(toy: ModelServer) -> None:
    client, model = connected(toy.address), toy.models["half"]
    model.versions = [2]
    model.signatures = {"serving_default": signature({"x": (pb.DT_FLOAT, [1, 3])}, {"y": (pb.DT_FLOAT, [1, 3])})}
    assert ask(client).version == 2
    ref = SignatureRef("half", None, None, "serving_default", ())
    assert client._rows.count(ref, {"x": np.zeros((2, 3), np.float32)}) == 0
    client.signatures("half")
    assert client._rows.count(ref, {"x": np.zeros((2, 3), np.float32)}) == 0
    model.versions = [1]  # rolled back: the signatures of version 1 are still known
    assert ask(client).version == 1
    assert client._rows.count(ref, {"x": np.zeros((2, 3), np.float32)}) == 2


def test_a_label_is_sent_by_its_name(toy: ModelServer) -> None:
    toy.models["half"].versions, toy.models["half"].labels = [1, 2], {"stable": 1}
    client = connected(toy.address)
    assert client.signatures("half", label="stable")[0] == 1
    assert (ask(client, label="stable").version, ask(client).version, ask(client, version=1).version) == (1, 2, 1)
    with pytest.raises(BadRequestError, match="canary"):
        client.signatures("half", label="canary")
