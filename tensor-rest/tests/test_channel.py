"""Our gRPC client against gRPC's own servers, which are the reference: what they send, what they say, how they go."""

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from gateway_kit import PROGRAMS, free_port, wait_until, with_project
from rpc_kit import MAX_BYTES, OPTIONS, channel, error, serving

from tensor_rest.backend.channel import Channel
from tensor_rest.backend.status import Code, RpcError

UNICODE = "Größe 10 % überschritten: 数字 \U0001f600\nzweite Zeile"


# ---- messages


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 65_530, 65_531, 1 << 20, 17 << 20])
def test_a_message_of_any_size_goes_and_comes(size: int) -> None:
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with serving() as server, channel(server.where) as made:
        assert made.call("/t/echo", message, 20) == message
        assert made.call("/t/echo", b"and on", 20) == b"and on"


def test_an_answer_is_as_large_as_is_allowed_and_no_larger() -> None:
    with serving() as server, channel(server.where) as made:
        for _ in range(2):
            assert len(made.call("/t/size", b"%d" % MAX_BYTES, 30)) == MAX_BYTES
        found = error(made, "/t/size", b"%d" % (MAX_BYTES + 1))
        assert (found.code, found.details) == (
            Code.RESOURCE_EXHAUSTED,
            f"Received message larger than max ({MAX_BYTES + 1} vs. {MAX_BYTES})",
        )
        assert made.call("/t/echo", b"on", 20) == b"on"


def test_a_request_that_is_too_large_is_not_sent_and_the_servers_bound_is_reported() -> None:
    with serving(("grpc.max_receive_message_length", 1 << 20)) as server, channel(server.where, 4 << 20) as made:
        assert "Sent message larger than max" in error(made, message=bytes((4 << 20) + 1)).details
        for size in (2 << 20, 4 << 20):
            found = error(made, message=bytes(size))
            assert found.code is Code.RESOURCE_EXHAUSTED, found
            assert "larger than max" in found.details
        assert made.call("/t/echo", b"on", 20) == b"on"


def test_many_answers_pass_over_one_connection() -> None:
    with serving() as server, channel(server.where) as made:
        for _ in range(80):
            assert len(made.call("/t/size", b"1000000", 20)) == 1_000_000
        assert sum(map(len, made._idle.values())) == 1


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_comes_with_its_words(code: grpc.StatusCode) -> None:
    with serving() as server, channel(server.where) as made:
        found = error(made, "/t/fail", f"{code.name} {UNICODE}".encode())
        assert (found.code, found.details) == (code.value[0], UNICODE)
        assert made.call("/t/echo", b"on", 20) == b"on"


def test_the_codes_are_grpcs() -> None:
    assert {code.name: code.value for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}


def test_a_method_that_is_not_there_is_unimplemented() -> None:
    with serving() as server, channel(server.where) as made:
        assert error(made, "/t/none").code is Code.UNIMPLEMENTED


def test_metadata_and_the_time_that_is_left_travel() -> None:
    with serving() as server, channel(server.where) as made:
        for timeout in (5.0, 3000.0, 1e9):
            made.call("/t/echo", b"m", timeout, metadata=(("x-request-id", "one,two"),))
            assert server.metadata["x-request-id"] == "one,two"
            assert min(timeout, 90_000) - 5 <= server.left <= timeout + 0.1
        found = error(made, metadata=(("x-request-id", "i" * 20_000),))
        assert found.code is Code.RESOURCE_EXHAUSTED


def test_the_asyncio_server_is_a_peer_as_well() -> None:
    async def run(found: list[bytes]) -> None:
        async def echo(message: bytes, _: grpc.aio.ServicerContext) -> bytes:
            return message

        handler = grpc.method_handlers_generic_handler("t", {"echo": grpc.unary_unary_rpc_method_handler(echo)})
        server = grpc.aio.server(handlers=[handler], options=OPTIONS)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            with channel(f"127.0.0.1:{port}") as made:
                for message in (b"m", bytes(5 << 20), b"n"):
                    found.append(await asyncio.to_thread(made.call, "/t/echo", message, 20))
        finally:
            await server.stop(None)

    found: list[bytes] = []
    asyncio.run(run(found))
    assert found == [b"m", bytes(5 << 20), b"n"]


# ---- time


def test_time_that_is_up_ends_the_call_here_and_there() -> None:
    with serving() as server, channel(server.where) as made:
        found = error(made, "/t/wait", timeout=0.2)
        assert found.code is Code.DEADLINE_EXCEEDED
        wait_until(lambda: server.ended == server.calls)  # none, if its time was up before the call was there
        server.hold.set()
        assert made.call("/t/echo", b"on", 20) == b"on"


def test_a_server_that_cannot_be_reached_is_unavailable_at_once() -> None:
    with channel(f"127.0.0.1:{free_port()}") as made:
        assert error(made, timeout=20).code is Code.UNAVAILABLE
        with pytest.raises(RpcError):
            made.reach()


# ---- servers that go


def test_a_server_that_was_started_anew_between_two_calls_is_not_noticed() -> None:
    with serving() as server, channel(server.where) as made:
        for _ in range(3):
            assert made.call("/t/echo", b"m", 20) == b"m"
            server.stop().wait()
            server.start()
        server.stop().wait()
        assert error(made).code is Code.UNAVAILABLE


def test_a_server_that_stops_in_a_call_is_away() -> None:
    with serving() as server, channel(server.where) as made, ThreadPoolExecutor(1) as pool:
        made.call("/t/echo", b"m", 20)
        call = pool.submit(error, made, "/t/wait")
        wait_until(lambda: "wait" in server.calls)
        server.stop()
        assert call.result(20).code in (Code.UNAVAILABLE, Code.CANCELLED)


def test_a_server_that_goes_lets_the_call_under_way_end() -> None:
    with serving() as server, channel(server.where) as made, ThreadPoolExecutor(1) as pool:
        made.call("/t/echo", b"m", 20)
        call = pool.submit(made.call, "/t/wait", b"m", 20)
        wait_until(lambda: "wait" in server.calls)
        over = server.stop(20)
        with channel(server.where) as other:
            assert error(other).code is Code.UNAVAILABLE
        server.hold.set()
        assert call.result(20) == b"m"
        assert over.wait(20)
        assert not any(made._idle.values())


def test_connections_that_the_server_ends_for_their_age_lose_no_call() -> None:
    age = (("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 2000))
    with serving(*age) as server, channel(server.where) as made, ThreadPoolExecutor(4) as pool:
        end = time.monotonic() + 1.5

        def many(_: int) -> int:
            count = 0
            while time.monotonic() < end:
                assert made.call("/t/echo", b"m", 20) == b"m"
                count += 1
            return count

        assert all(pool.map(many, range(4)))


# ---- many callers


def test_many_threads_get_their_own_answers() -> None:
    def many(made: Channel, number: int) -> None:
        for count in range(20):
            message = b"%d %d " % (number, count) * (1 + number * 100)
            assert made.call("/t/echo", message, 30) == message

    with serving() as server, channel(server.where) as made, ThreadPoolExecutor(64) as pool:
        before = threading.active_count()
        assert list(pool.map(lambda number: many(made, number), range(64))) == [None] * 64
        assert threading.active_count() <= before + 64 + 16  # those of the test and of the server
        assert 1 <= sum(map(len, made._idle.values())) <= 64


def test_greenlets_share_a_thread_without_blocking_it() -> None:
    pytest.importorskip("gevent")
    with serving() as server:
        command = [sys.executable, str(PROGRAMS / "channel_of_greenlets.py"), server.where]
        with subprocess.Popen(command, env=with_project(), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            server.hold.set()
            assert process.wait(20) == 0
