"""Our gRPC client against peers that do what HTTP/2 allows and gRPC's own servers seldom do."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from rpc_kit import ANSWER, OK_HEADERS, OK_TRAILERS, SETTINGS, Talk, channel, error, frame, peer, says

from tensor_rest.backend import sending
from tensor_rest.backend.http2 import LostError
from tensor_rest.backend.status import Code

DATA, HEADERS, RST, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 6, 7, 8, 9


def answer(talk: Talk, message: bytes = b"m") -> bytes:
    with peer(talk) as (address, _), channel(address, 1 << 20) as made:
        return made.call("/t/m", message, 20)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((ANSWER,), id="plain"),
        pytest.param((frame(0x77, 0xFF, 5, b"new"), frame(2, 0, 1, bytes(5)), ANSWER), id="unknown frames"),
        pytest.param((frame(WINDOW, 0, 99, b"\0\0\0\1"), frame(RST, 0, 99, bytes(4)), ANSWER), id="old streams"),
        pytest.param((frame(HEADERS, 4, 1, b"\x08\x03100"), ANSWER), id="100 continue"),
        pytest.param(
            (
                frame(HEADERS, 0x2C, 1, b"\3" + bytes(5) + OK_HEADERS + bytes(3)),
                frame(DATA, 8, 1, b"\2\0\0\0\0\0\0"),
                frame(DATA, 0, 1, b"\2h"),
                frame(DATA, 8, 1, b"\4i" + bytes(4)),
                frame(HEADERS, 5, 1, OK_TRAILERS),
            ),
            id="padding, priority and pieces",
        ),
        pytest.param(
            (
                frame(HEADERS, 0, 1, OK_HEADERS[:5]),
                frame(CONTINUATION, 0, 1, OK_HEADERS[5:9]),
                frame(CONTINUATION, 4, 1, OK_HEADERS[9:]),
                frame(DATA, 0, 1, b"\0\0\0\0\2hi"),
                frame(HEADERS, 1, 1, b""),
                frame(CONTINUATION, 4, 1, OK_TRAILERS),
            ),
            id="continued header blocks",
        ),
        pytest.param((frame(GOAWAY, 0, 0, b"\0\0\0\1" + bytes(4)), ANSWER), id="goes after this call"),
        pytest.param((frame(4, 1), frame(4, 0, 0, b"\0\5\0\1\0\0"), ANSWER), id="settings in the call"),
    ],
)
def test_what_is_unusual_is_understood(parts: tuple[bytes, ...]) -> None:
    assert answer(says(SETTINGS, *parts)) == b"hi"


def test_an_answer_that_comes_byte_by_byte_is_put_together() -> None:
    def talk(connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in SETTINGS + ANSWER:
            connected.sendall(bytes((byte,)))

    assert answer(talk) == b"hi"


def test_a_ping_is_answered_and_settings_are_acknowledged() -> None:
    heard = bytearray()

    def talk(connected: socket.socket) -> None:
        connected.sendall(SETTINGS + frame(PING, 0, 0, b"pingpong"))
        wanted = (frame(PING, 1, 0, b"pingpong"), frame(4, 1))
        while not all(part in heard for part in wanted):
            heard.extend(connected.recv(1 << 16))
        connected.sendall(ANSWER)

    assert answer(talk) == b"hi"


def test_the_peers_windows_and_frame_size_hold_and_may_change_amid_a_request() -> None:
    """Two bytes at first, then the window of new settings, then as much as both windows have."""
    sizes: list[int] = []

    def talk(connected: socket.socket) -> None:
        connected.sendall(frame(4, 0, 0, b"\0\4\0\0\0\2"))
        rest = bytearray()

        def data(until: int) -> None:
            while sum(sizes) < until:
                while len(rest) < 9 or len(rest) < 9 + int.from_bytes(rest[:3], "big"):
                    rest.extend(connected.recv(1 << 16))
                size = int.from_bytes(rest[:3], "big")
                if rest[3] == DATA:
                    sizes.append(size)
                del rest[: 9 + size]

        data(2)
        connected.sendall(frame(4, 0, 0, b"\0\4\0\0\0\x0a"))
        data(10)
        connected.sendall(frame(4, 0, 0, b"\0\5\0\0\x80\0") + frame(WINDOW, 0, 1, b"\0\1\x86\xa0"))
        data(65_535)
        connected.sendall(frame(WINDOW, 0, 0, b"\0\1\x86\xa0"))
        data(80_005)
        connected.sendall(ANSWER)

    assert answer(talk, bytes(80_000)) == b"hi"
    assert sizes[:2] == [2, 8]
    assert max(sizes) == 1 << 15
    assert sum(sizes) == 80_005


def test_what_was_taken_of_the_connections_window_is_given_back() -> None:
    def talk(connected: socket.socket) -> None:
        size = 17 << 20
        connected.sendall(
            SETTINGS + frame(HEADERS, 4, 1, OK_HEADERS) + frame(DATA, 0, 1, b"\0" + size.to_bytes(4, "big"))
        )
        for _ in range(size >> 14):
            connected.sendall(frame(DATA, 0, 1, bytes(1 << 14)))
        heard = b""
        while frame(WINDOW, 0, 0, bytes(4))[:9] not in heard:
            if not (more := connected.recv(1 << 16)):
                return
            heard += more
        connected.sendall(frame(HEADERS, 5, 1, OK_TRAILERS))

    with peer(talk) as (address, _), channel(address) as made:
        assert made.call("/t/m", b"m", 20) == bytes(17 << 20)


def test_a_kept_connection_that_is_gone_going_or_talks_nonsense_is_replaced() -> None:
    for last in (b"", frame(GOAWAY, 0, 0, bytes(8)), frame(DATA, 0, 1, b"late"), b"\xff" * 9):
        output = threading.Event()

        def talk(connected: socket.socket, last: bytes = last, output: threading.Event = output) -> None:
            connected.sendall(SETTINGS + ANSWER + last)
            if not last:
                connected.shutdown(socket.SHUT_WR)
            output.set()

        with peer(talk) as (address, heard), channel(address) as made:
            for _ in range(3):
                assert made.call("/t/m", b"m", 20) == b"hi"
                assert output.wait(20)
                output.clear()
        assert len(heard) == 3


def test_a_call_that_the_server_may_have_begun_is_not_repeated_by_the_channel() -> None:
    def talk(connected: socket.socket) -> None:
        connected.sendall(SETTINGS + ANSWER)
        _request(connected, 3)  # the second call, whole
        connected.shutdown(socket.SHUT_RDWR)

    with peer(talk) as (address, heard), channel(address) as made:
        assert made.call("/t/m", b"m", 20) == b"hi"
        found = error(made, "/t/m")
        assert isinstance(found, LostError)
        assert found.begun
        assert len(heard) == 1


def _answers(*of: Callable[[int], bytes]) -> Talk:
    """To answer each call in turn: a function gets the stream and says what is sent."""

    def talk(connected: socket.socket) -> None:
        connected.sendall(SETTINGS)
        for number, say in enumerate(of):
            if number:  # the first one is there
                _request(connected, 2 * number + 1)
            connected.sendall(say(2 * number + 1))

    return talk


def _request(connected: socket.socket, stream: int) -> bytes:
    """What comes until the request `m` on this stream is whole."""
    heard = b""
    while frame(DATA, 1, stream, b"\0\0\0\0\1m") not in heard:
        more = connected.recv(1 << 16)
        if not more:
            raise ConnectionResetError
        heard += more
    return heard


def _plain(stream: int, message: bytes = b"\0\0\0\0\2hi", trailers: bytes = OK_TRAILERS) -> bytes:
    begin = frame(HEADERS, 4, stream, OK_HEADERS) + frame(DATA, 0, stream, message)
    return begin + frame(HEADERS, 5, stream, trailers)


@pytest.mark.parametrize(
    ("last", "wanted"),
    [
        (lambda stream: _plain(stream, b"\0\0\0\0\5hello"), b"hello"),
        (lambda stream: frame(PING, 0, 0, bytes(8)) + _plain(stream), b"hi"),
        (lambda stream: _plain(stream) + frame(PING, 0, 0, bytes(8)), b"hi"),
        (lambda stream: _plain(stream, trailers=b"\x40\x0bgrpc-status\x010"), b"hi"),
        (lambda stream: _plain(stream, trailers=b"\x00\x0bgrpc-status\x015"), Code.NOT_FOUND),
        (lambda stream: _plain(stream, b"\1\0\0\0\2hi"), Code.INTERNAL),
        (lambda stream: _plain(stream, b"\0\0\0\0\3hi"), Code.INTERNAL),
        (lambda stream: _plain(stream, b"\0" + (1 << 21).to_bytes(4, "big") + b"hi"), Code.RESOURCE_EXHAUSTED),
        (lambda stream: _plain(stream, b"\0\0\0"), Code.INTERNAL),
        (lambda stream: _plain(stream - 2), Code.UNAVAILABLE),
    ],
)
def test_after_usual_answers_an_unusual_one_is_understood_or_refused(last: Any, wanted: bytes | Code) -> None:
    with peer(_answers(_plain, _plain, _plain, last)) as (address, heard), channel(address, 1 << 20) as made:
        for _ in range(3):
            assert made.call("/t/m", b"m", 20) == b"hi"
        if isinstance(wanted, Code):
            assert error(made).code is wanted
        else:
            assert made.call("/t/m", b"m", 20) == wanted
        assert len(heard) == 1


def test_usual_answers_give_the_window_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_UPDATE_BYTES", 20)
    updates: list[bytes] = []

    def talk(connected: socket.socket) -> None:
        connected.sendall(SETTINGS + _plain(1))
        for stream in range(3, 21, 2):
            updates.append(_request(connected, stream))
            connected.sendall(_plain(stream))

    with peer(talk) as (address, _), channel(address) as made:
        for _ in range(10):
            assert made.call("/t/m", b"m", 20) == b"hi"
    assert sum(heard.count(frame(WINDOW, 0, 0, (21).to_bytes(4, "big"))) for heard in updates) == 3


def test_a_reset_after_the_usual_answer_is_ignored() -> None:
    answered, output = threading.Event(), threading.Event()

    def talk(connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _answers(_plain, _plain)(connected)
        answered.wait(20)
        connected.sendall(frame(RST, 0, 3, bytes(4)))
        output.set()
        _request(connected, 5)
        connected.sendall(_plain(5))

    with peer(talk) as (address, heard), channel(address) as made:
        for _ in range(2):
            assert made.call("/t/m", b"m", 20) == b"hi"
        answered.set()
        assert output.wait(20)
        ((connection,),) = made._idle.values()
        connection._fresh = 0.0  # as if some time had passed: what came meanwhile is looked at
        assert made.call("/t/m", b"m", 20) == b"hi"
        assert len(heard) == 1


def test_a_connection_that_ends_right_after_a_usual_answer_costs_no_call() -> None:
    def talk(connected: socket.socket) -> None:
        _answers(_plain, lambda stream: _plain(stream))(connected)
        connected.sendall(frame(GOAWAY, 0, 0, bytes(8)))

    with peer(talk) as (address, heard), channel(address) as made:
        for _ in range(6):
            assert made.call("/t/m", b"m", 20) == b"hi"
    assert len(heard) >= 3
