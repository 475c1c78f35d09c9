"""The client of the model server on a real one: that restarts, stays away, refuses, has several addresses, is slow."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from client_kit import ask, connected, error, half_plus_two, half_server, waiting
from gateway_kit import check_error, free_port, image_file, wait_until
from toy_model_server import ModelServer

from tensor_rest import backend
from tensor_rest.backend import Limits, Prediction, VersionState, circuit_breaker
from tensor_rest.backend.batching import SHARED_STATUS
from tensor_rest.backend.grpc_errors import from_grpc
from tensor_rest.backend.status import Code, RpcError
from tensor_rest.errors import DeadlineError, UnavailableError
from tensor_rest.runtime import request_context


@pytest.fixture
def toy() -> Iterator[ModelServer]:
    yield from half_server()


def answers(client: backend.ModelServer) -> bool:
    try:
        ask(client)
    except UnavailableError:
        return False
    return True


# ---- serving that restarts, and that stays away


def test_a_restart_loses_no_call(toy: ModelServer) -> None:
    """Neither those under way when it stops nor those that come while it is away."""
    client = connected(toy.address, grace=30)
    over = threading.Event()

    def caller_of_many(seed: int) -> int:
        count = 0
        while not over.is_set():
            ask(client, seed * 1000 + count, batch=seed % 2 == 0)
            count += 1
        return count

    with ThreadPoolExecutor(12) as pool:
        try:
            callers = [pool.submit(caller_of_many, seed) for seed in range(12)]
            for _ in range(2):
                toy.hold = threading.Event()
                wait_until(lambda: len(toy.calls) > 2)
                toy.stop()
                assert client._breaker.state in ("closed", "waiting")
                wait_until(lambda: client._breaker.state == "waiting")
                toy.hold = None
                toy.calls.clear()
                toy.start()
                wait_until(lambda: len(toy.calls) > 50)
        finally:
            over.set()
        assert all(each.result(20) for each in callers)
    assert client._breaker.state == "closed"


def test_serving_that_stays_away_is_refused_for_at_once_and_found_again(toy: ModelServer) -> None:
    client = connected(toy.address, grace=0.2)
    toy.stop()
    late = error(client, deadline=time.monotonic() + 0.4)  # waits until its time is up
    assert isinstance(late, UnavailableError)
    assert late.retry_after
    wait_until(lambda: client._breaker.state == "open")
    for _ in range(20):
        assert isinstance(error(client, deadline=time.monotonic() + 600), UnavailableError)  # does not wait for that
    toy.start()
    wait_until(lambda: answers(client), 20)
    assert client._breaker.state == "closed"


def test_a_call_that_waits_for_the_server_costs_no_place_but_memory(
    toy: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connected(toy.address, grace=30, calls=4)
    toy.stop()
    with ThreadPoolExecutor(40) as pool:
        calls: list[Future[Prediction]] = [pool.submit(ask, client, number, batch=False) for number in range(40)]
        wait_until(lambda: client.waiting() >= 35)  # the others came before the outage was known
        monkeypatch.setattr(circuit_breaker, "MAX_QUEUED_BYTES", client._breaker._held_bytes)
        assert "fill the memory" in str(error(client))
        toy.start()
        assert all(future.result(20) for future in calls)
    ask(client)
    assert (client.waiting(), client._breaker._held_bytes) == (0, 0)


def test_an_outage_is_waited_for_as_long_as_the_grace_and_longer_after_a_long_start(toy: ModelServer) -> None:
    client = connected(toy.address, timeout=60, grace=0.3)
    toy.stop()
    begun = time.monotonic()
    assert isinstance(error(client), UnavailableError)  # the first call of the outage
    assert time.monotonic() - begun < 20
    wait_until(lambda: time.monotonic() - begun > 1)
    toy.start()
    wait_until(lambda: client._breaker.state == "closed" or answers(client), 20)
    assert client._breaker._grace >= 1.5


def test_repeats_cannot_multiply_the_load_of_a_server_in_trouble(toy: ModelServer) -> None:
    client = connected(toy.address, grace=600, calls=4)
    toy.fail = (grpc.StatusCode.UNAVAILABLE, "overloaded")
    toy.calls.clear()
    with ThreadPoolExecutor(3) as pool:
        errors = list(pool.map(lambda _: error(client, batch=False), range(30)))
    assert all(isinstance(each, UnavailableError) for each in errors)
    assert len(toy.calls) <= 30 + 12  # one each, and what was saved for a restart: calls + 8
    toy.fail = None
    ask(client)
    assert client._breaker.state == "closed"


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_an_error_of_the_model_server_is_not_retried(toy: ModelServer, code: grpc.StatusCode) -> None:
    client = connected(toy.address)
    toy.fail = (code, "no")
    toy.calls.clear()
    error(client)
    assert toy.calls == ["Predict"]


def test_too_much_for_one_message_is_the_requests_own_fault() -> None:
    """Said by the server or found here; others that shared the call are asked again alone."""
    found = from_grpc(RpcError(Code.RESOURCE_EXHAUSTED, "Sent message larger than max (88 vs. 64)"), "serving:9000")
    assert (found.status, found.retry_after) == (413, None)
    assert "fewer rows at once: Sent message larger than max (88 vs. 64)" in str(found)
    assert found.status not in SHARED_STATUS


def test_an_array_may_be_as_large_as_the_largest_message(toy: ModelServer) -> None:
    toy.models["half"].compute = lambda _: {"y": np.zeros((1, 17 << 20), np.float32)}
    client = connected(toy.address, message_bytes=80 << 20)
    answer = client.predict("half", {"x": np.zeros((1, 3), np.float32)})
    assert answer.outputs["y"].nbytes == 68 << 20


def test_a_look_at_the_state_never_waits(toy: ModelServer) -> None:
    client = connected(toy.address, timeout=600, grace=600)
    assert client.status("half") == [VersionState(1, "AVAILABLE", "")]
    toy.stop()
    with pytest.raises(UnavailableError):
        client.status("half")


# ---- addresses


def test_every_address_gets_calls_and_one_may_go(toy: ModelServer) -> None:
    other = ModelServer(half=half_plus_two()).start()
    try:
        client = connected(f"ipv4:{toy.address},{other.address}")

        def both_asked() -> bool:
            ask(client)
            return toy.calls.count("Predict") > 3 and other.calls.count("Predict") > 3

        wait_until(both_asked, 20)
        toy.stop()
        for number in range(20):
            ask(client, number)
    finally:
        other.stop()


def test_a_name_and_a_socket_are_addresses(toy: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    client = backend.ModelServer(f"localhost:{toy.port}", 20)
    assert ask(client).version == 1
    path = tmp_path_factory.mktemp("s") / "g"
    server = grpc.server(ThreadPoolExecutor(1), handlers=[toy._handlers("PredictionService")])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        assert ask(backend.ModelServer(f"unix:{path}", 20)).version == 1
    finally:
        server.stop(None).wait()


def test_a_closed_port_and_an_unknown_host_are_unavailable() -> None:
    for address in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:9000"):
        client = backend.ModelServer(address, 0.3, Limits(grace=0.2))
        assert isinstance(error(client), UnavailableError)


# ---- time and names of requests


def test_the_deadline_of_the_request_holds_for_each_call(toy: ModelServer) -> None:
    client = connected(toy.address, timeout=600)
    toy.hold = threading.Event()
    try:
        request_context.begin("mine", time.monotonic() + 0.1)
        for batch in (True, False):
            assert isinstance(error(client, batch=batch), DeadlineError)
    finally:
        request_context.begin("", None)
        toy.hold.set()


def test_the_ids_of_requests_travel_with_the_call(toy: ModelServer) -> None:
    client = connected(toy.address)

    def named(name: str) -> None:
        request_context.begin(name, None)
        ask(client)

    toy.request_ids.clear()
    hold = toy.hold = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        callers = [pool.submit(named, "one")]
        wait_until(lambda: toy.request_ids)
        callers += [pool.submit(named, "two")]
        wait_until(lambda: waiting(client) == 1)
        callers += [pool.submit(named, "three")]
        wait_until(lambda: waiting(client) == 2)
        hold.set()
        for each in callers:
            each.result(20)
    assert toy.request_ids == ["one", "two,three"]


def test_a_client_sets_its_timeout(client: Any, post: Callable[..., Any], server: ModelServer) -> None:
    assert post("/predictlabel", image_file(60)).status_code == 200
    hold = server.hold = threading.Event()
    try:
        response = client.post(
            "/predictlabel",
            data={"image": (io.BytesIO(image_file(60)), "d")},
            headers={"X-Timeout-Ms": "50"},
        )
        check_error(response, 504, "in time")
    finally:
        hold.set()


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "soon", "9" * 30])
def test_a_time_that_is_none_is_refused(client: Any, text: str) -> None:
    check_error(client.get("/tf/models", headers={"X-Timeout-Ms": text}), 400, "X-Timeout-Ms", text[:20])
