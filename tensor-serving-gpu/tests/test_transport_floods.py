"""gRPC over plain HTTP/2: clients that would take the server from the others, each with an honest one beside it.

The bounds and their reasons stand in `transport/limits.py`; what a real model answers beside each flood is measured by
tests/chaos.
"""

import asyncio
import socket

import grpc
import pytest
from transport_kit import FLOODS, GREETING, MAX_BYTES, Place, deaf, headers, idle, message, pour, scene, until

from tensor_serving.embedded.transport import frames, limits

CALM = frames.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_off_and_an_honest_client_answered(flood: str) -> None:
    async def play(here: Place) -> None:
        address = ("127.0.0.1", here.port)
        ends = asyncio.create_task(asyncio.to_thread(pour, address, FLOODS[flood]("/t/echo", b"a" * 100)))
        wire, stream = await here.wire(), 1
        while not ends.done():
            wire.send(headers(stream=stream), message(b"b", stream))
            assert (await wire.answer(stream))[0] == b"\0\0\0\0\1b"
            stream += 2
        assert await ends == CALM
        wire.close()

    scene(play, max_calls=1000)


def test_frames_beside_many_calls_are_no_flood() -> None:
    """A client's pings and window updates come with its calls and the bytes it reads."""

    async def play(here: Place) -> None:
        wire = await here.wire()
        ping = frames.frame(frames.PING, 0, 0, bytes(8))
        for stream in range(1, 601, 2):
            wire.send(headers(stream=stream), message(b"b", stream), ping * 3, frames.window_update(0, 6) * 3)
            assert (await wire.answer(stream))[1]["grpc-status"] == "0"
        wire.send(frames.window_update(0, MAX_BYTES), headers("large", 601), message(b"", 601))
        for _ in range(2 * (MAX_BYTES >> 10)):
            wire.send(frames.window_update(601, 1 << 9))
        assert len((await wire.answer(601))[0]) == MAX_BYTES + 4
        wire.close()

    scene(play)


def test_a_client_that_reads_no_answers_holds_little_and_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UNREAD_BYTES", 4 * MAX_BYTES)
    monkeypatch.setattr(limits, "STALL_TIMEOUT_S", 0.5)
    monkeypatch.setattr(limits, "CHECK_INTERVAL_S", 0.1)

    async def play(here: Place) -> None:
        for window in (2**31 - 1, 0):  # it reads nothing, or opens no window
            with await asyncio.to_thread(deaf, ("127.0.0.1", here.port), "/t/large", b"", 200, window):
                await until(lambda: here.server.answers.used > 2 * MAX_BYTES)
                most = 0
                while here.server.connections:
                    most = max(most, here.server.answers.used)
                    wire = await here.wire()
                    wire.send(headers(), message(b"b"))
                    assert (await wire.answer())[1]["grpc-status"] == "0"
                    wire.close()
                    await asyncio.sleep(0.02)
                assert most <= 5 * MAX_BYTES
            assert here.server.answers.used == 0

    scene(play, max_calls=1000)


def test_a_stream_whose_answer_does_not_fit_is_cancelled() -> None:
    async def play(here: Place) -> None:
        here.server.answers.size = 10_000
        wire = await here.wire(GREETING + frames.settings((frames.INITIAL_WINDOW_SIZE, 0)))
        wire.send(headers("watch"), message(b""))
        assert (await wire.answer())[1]["grpc-status"] == str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
        await until(here.methods.cancelled.is_set)
        wire.close()

    scene(play)


def test_large_answers_of_many_calls_are_late_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UNREAD_BYTES", 2 * MAX_BYTES)

    async def play(here: Place) -> None:
        wire = await here.wire(GREETING + frames.window_update(0, 2**30) + frames.settings((4, 2**30)))
        streams = range(1, 41, 2)
        for stream in streams:
            wire.send(headers("large", stream), message(b"", stream))
        sizes = dict.fromkeys(streams, 0)
        ended: set[int] = set()
        while len(ended) < len(streams):
            kind, flags, stream, payload = await wire.until(frames.DATA, frames.HEADERS)
            sizes[stream] += len(payload) if kind == frames.DATA else 0
            if flags & frames.END_STREAM:
                ended.add(stream)
        assert set(sizes.values()) == {MAX_BYTES + 4}
        wire.close()

    scene(play)


def test_unused_connections_are_closed_and_those_with_calls_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 8)

    async def play(here: Place) -> None:
        busy = await here.wire()
        busy.send(headers("wait"), message(b""), frames.frame(frames.PING, 0, 0, bytes(8)))
        await busy.until(frames.PING)
        used = await here.wire()
        used.send(headers(), message(b"b"))
        await used.answer()
        for greets in (True, False):
            unused = await asyncio.to_thread(idle, ("127.0.0.1", here.port), 20, greets)
            await here.lives(busy=True)
            for connected in unused:
                connected.close()
        used.send(headers(stream=3), message(b"c", 3))  # it had made a call, others never
        assert (await used.answer(3))[0] == b"\0\0\0\0\1c"
        busy.send(frames.reset(1, frames.CANCEL))
        await asyncio.wait_for(here.methods.cancelled.wait(), 30)
        busy.close()
        used.close()

    scene(play)


def test_a_request_that_does_not_go_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr(limits, "PREFACE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(limits, "CHECK_INTERVAL_S", 0.05)

    async def play(here: Place) -> None:
        silent = await here.wire(b"PRI")
        wire = await here.wire()
        wire.send(headers(), frames.frame(frames.DATA, 0, 1, b"\0\0\0\0\5abc"), headers("wait", 3), message(b"", 3))
        fields = (await wire.answer())[1]
        assert (fields["grpc-status"], fields["grpc-message"][:24]) == ("4", "8 bytes of the request r")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await silent.until(frames.GOAWAY)
        wire.send(headers(stream=5), message(b"b", 5))
        assert (await wire.answer(5))[1]["grpc-status"] == "0"
        wire.close()
        silent.close()

    scene(play)


def test_calls_beyond_those_a_connection_may_have_are_refused_to_be_made_again() -> None:
    async def play(here: Place) -> None:
        wire = await here.wire()
        for stream in range(1, 2 * limits.MAX_STREAMS + 2, 2):
            wire.send(headers("wait", stream))
        assert await wire.until(frames.RST_STREAM) == (
            frames.RST_STREAM,
            0,
            2 * limits.MAX_STREAMS + 1,
            frames.REFUSED_STREAM.to_bytes(4, "big"),
        )
        wire.close()

    scene(play, max_calls=1000)


def test_a_lost_client_is_noticed_by_its_kernel() -> None:
    async def play(here: Place) -> None:
        listening = here.server._sockets[0]
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == limits.KEEPALIVE_IDLE_S

    scene(play)
