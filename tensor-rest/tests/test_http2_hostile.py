"""Our gRPC client against broken or hostile peers: each ends in a clear error, in time and in bounded memory."""

import socket
import time
import tracemalloc
from contextlib import suppress

import pytest
from rpc_kit import ANSWER, OK_HEADERS, OK_TRAILERS, SETTINGS, Talk, channel, error, forever, frame, peer, says

from tensor_rest.backend import frames
from tensor_rest.backend.status import Code

DATA, HEADERS, RST, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 6, 7, 8, 9


def refusal(talk: Talk, message: bytes = b"m", timeout: float = 20) -> tuple[Code, str]:
    with peer(talk) as (address, _), channel(address, 2 << 20) as made:
        found = error(made, "/t/m", message, timeout)
        return found.code, found.details


def trailers(*fields: tuple[bytes, bytes]) -> bytes:
    return b"\x88" + b"".join(frames.field(name, value) for name, value in fields)


@pytest.mark.parametrize(
    ("status", "code"),
    [(b"503", Code.UNAVAILABLE), (b"401", Code.UNAUTHENTICATED), (b"404", Code.UNIMPLEMENTED), (b"418", Code.UNKNOWN)],
)
def test_a_peer_that_speaks_http_and_not_grpc(status: bytes, code: Code) -> None:
    block = b"\x08\x03" + status
    assert refusal(says(SETTINGS, frame(HEADERS, 4, 1, block), frame(DATA, 1, 1, b"<html>")))[0] is code
    assert refusal(says(SETTINGS, frame(HEADERS, 5, 1, block)))[0] is code


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (0, Code.INTERNAL),
        (2, Code.INTERNAL),
        (7, Code.UNAVAILABLE),
        (8, Code.CANCELLED),
        (11, Code.RESOURCE_EXHAUSTED),
        (12, Code.PERMISSION_DENIED),
        (9999, Code.INTERNAL),
    ],
)
def test_a_stream_that_is_reset(number: int, code: Code) -> None:
    assert refusal(says(SETTINGS, frame(RST, 0, 1, number.to_bytes(4, "big"))))[0] is code


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ([(b"grpc-status", b"5"), (b"grpc-message", b"%C3%A4 %zz 100%")], Code.NOT_FOUND, "ä %zz 100%"),
        ([(b"grpc-status", b"5"), (b"grpc-message", b"%FF" + b"x" * 20_000)], Code.NOT_FOUND, "\ufffd" + "x" * 8189),
        ([(b"grpc-status", b"17")], Code.UNKNOWN, "'17'"),
        ([(b"grpc-status", b"\xc2\xb2")], Code.UNKNOWN, "grpc-status"),
        ([(b"content-type", b"text/html")], Code.UNKNOWN, "'text/html'"),
        ([(b"content-type", b"application/grpc")], Code.UNKNOWN, "''"),
        ([(b"grpc-status", b"0")], Code.INTERNAL, "not whole"),
    ],
)
def test_answers_of_trailers_only(fields: list[tuple[bytes, bytes]], code: Code, text: str) -> None:
    block = trailers(*fields)
    first, rest = block[:16_000], block[16_000:]
    parts = [frame(HEADERS, 1 if rest else 5, 1, first), frame(CONTINUATION, 4, 1, rest) if rest else b""]
    with peer(says(SETTINGS, *parts)) as (address, _), channel(address) as made:
        found = error(made, "/t/m")
        assert found.code is code
        assert text in found.details
        assert len(found.details) <= 8192


BEGUN = SETTINGS + frame(HEADERS, 4, 1, OK_HEADERS)


@pytest.mark.parametrize(
    ("parts", "code", "text"),
    [
        ((BEGUN, frame(DATA, 0, 1, b"\1\0\0\0\2hi")), Code.INTERNAL, "compressed"),
        ((BEGUN, frame(DATA, 0, 1, b"\0\0\0\0\2hi!")), Code.INTERNAL, "more than one"),
        ((BEGUN, frame(DATA, 1, 1, b"\0\0\0\0\2hi")), Code.UNKNOWN, "without a status"),
        ((BEGUN, frame(DATA, 0, 1, b"\0\0\x10\0\1")), Code.RESOURCE_EXHAUSTED, "larger than max (1048577 vs. 1048576)"),
        ((BEGUN, frame(DATA, 0, 1, b"\0\0\0\0\3hi"), frame(HEADERS, 5, 1, OK_TRAILERS)), Code.INTERNAL, "not whole"),
        ((BEGUN, frame(HEADERS, 4, 1, OK_TRAILERS)), Code.UNAVAILABLE, "amid the answer"),
        ((SETTINGS, frame(DATA, 0, 1, b"\0")), Code.UNAVAILABLE, "data before"),
        ((SETTINGS, frame(GOAWAY, 0, 0, bytes(4) + b"\0\0\0\x0bcalm")), Code.UNAVAILABLE, "calm"),
        # no HTTP/2 at all
        ((b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",), Code.UNAVAILABLE, "no HTTP/2 connection"),
        ((b"\xff" * 1000,), Code.UNAVAILABLE, "no HTTP/2 connection"),
        ((frame(PING, 0, 0, bytes(8)),), Code.UNAVAILABLE, "not SETTINGS"),
        # broken rules
        ((SETTINGS, b"\xff\xff\xff\0\0\0\0\0\1", bytes(1 << 16)), Code.UNAVAILABLE, "a frame of 16777215 bytes"),
        ((SETTINGS, frame(HEADERS, 5, 3, OK_HEADERS)), Code.UNAVAILABLE, "stream 3"),
        ((SETTINGS, frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff")), Code.UNAVAILABLE, "header block"),
        ((SETTINGS, frame(HEADERS, 5, 1, b"\xbe")), Code.UNAVAILABLE, "header block"),
        ((SETTINGS, frame(HEADERS, 5, 1, b"\x3f\xe1\x1f\x88")), Code.UNAVAILABLE, "header block"),
        ((SETTINGS, frame(HEADERS, 0xC, 1, b"\xff\x88")), Code.UNAVAILABLE, "padding"),
        ((SETTINGS, frame(HEADERS, 0, 1, b"\x88"), frame(PING, 0, 0, bytes(8))), Code.UNAVAILABLE, "not continued"),
        ((SETTINGS, frame(CONTINUATION, 4, 1, b"\x88")), Code.UNAVAILABLE, "unexpected PUSH_PROMISE"),
        ((SETTINGS, frame(5, 4, 1, b"\0\0\0\2\x88")), Code.UNAVAILABLE, "PUSH_PROMISE"),
        ((SETTINGS, frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff")), Code.UNAVAILABLE, "window"),
        ((SETTINGS, frame(WINDOW, 0, 1, bytes(4))), Code.UNAVAILABLE, "window"),
        ((SETTINGS, frame(WINDOW, 0, 1, b"\1")), Code.UNAVAILABLE, "WINDOW_UPDATE"),
        ((SETTINGS, frame(4, 0, 0, b"\0\4\xff\xff\xff\xff")), Code.UNAVAILABLE, "window"),
        ((SETTINGS, frame(4, 0, 0, b"\0\5\0\0\0\1")), Code.UNAVAILABLE, "frames of 1 bytes"),
        ((SETTINGS, frame(4, 0, 0, b"\0\5\0")), Code.UNAVAILABLE, "SETTINGS"),
        ((SETTINGS, frame(PING, 0, 0, b"short")), Code.UNAVAILABLE, "PING"),
    ],
)
def test_what_breaks_the_rules_is_reported(parts: tuple[bytes, ...], code: Code, text: str) -> None:
    with peer(says(*parts)) as (address, _), channel(address, 1 << 20) as made:
        found = error(made, "/t/m")
        assert found.code is code
        assert text in found.details
        assert not any(made._idle.values()) or text == "not whole"  # that stream has ended in order


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (b"", Code.UNAVAILABLE),
        (SETTINGS[:5], Code.UNAVAILABLE),
        (SETTINGS, Code.UNAVAILABLE),
        (BEGUN + frame(DATA, 0, 1, b"\0\0\0\0\2h"), Code.UNAVAILABLE),
    ],
)
def test_a_connection_that_ends_too_soon(output: bytes, code: Code) -> None:
    def talk(connected: socket.socket) -> None:
        connected.sendall(output)
        connected.shutdown(socket.SHUT_RDWR)

    assert refusal(talk)[0] is code


@pytest.mark.parametrize("output", [b"", SETTINGS, SETTINGS + ANSWER[:4], BEGUN, SETTINGS + ANSWER[:-3]])
def test_a_peer_that_falls_silent_costs_no_more_than_the_time_given(output: bytes) -> None:
    assert refusal(says(output), timeout=0.2)[0] is Code.DEADLINE_EXCEEDED
    assert refusal(says(output), bytes(1 << 20), timeout=0.2)[0] is Code.DEADLINE_EXCEEDED


def test_a_peer_that_never_greets_is_away() -> None:
    begun = time.monotonic()
    assert refusal(says(b""))[0] is Code.UNAVAILABLE
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("begin", "piece", "code"),
    [
        (SETTINGS + frame(HEADERS, 0, 1, OK_HEADERS), frame(CONTINUATION, 0, 1, b""), Code.UNAVAILABLE),
        (SETTINGS + frame(HEADERS, 0, 1, OK_HEADERS), frame(CONTINUATION, 0, 1, bytes(16_384)), Code.UNAVAILABLE),
        (BEGUN + frame(DATA, 0, 1, b"\0\0\0\x40\0"), frame(DATA, 0, 1, bytes(1000)) * 100, Code.INTERNAL),
        (BEGUN, frame(DATA, 8, 1, b"\xff" + bytes(255)) * 100, Code.UNAVAILABLE),
        (BEGUN + frame(DATA, 0, 1, b"\0\0\x0f\0\0"), frame(DATA, 0, 1, b"a") * 100, Code.UNAVAILABLE),
        (SETTINGS, frame(PING, 1, 0, bytes(8)) * 100, Code.UNAVAILABLE),
        (SETTINGS, frame(PING, 0, 0, bytes(8)) * 100, Code.UNAVAILABLE),
        (SETTINGS, SETTINGS * 100, Code.UNAVAILABLE),
        (SETTINGS, frame(WINDOW, 0, 0, b"\0\0\0\1") * 100, Code.UNAVAILABLE),
        (SETTINGS, frame(HEADERS, 4, 1, b"\x08\x03103") * 100, Code.UNAVAILABLE),
        (SETTINGS, frame(HEADERS, 4, 1, b"\x08\x03103" + frames.field(b"link", b"a" * 16_000)), Code.UNAVAILABLE),
        (SETTINGS, frame(0x77, 0, 1, bytes(16_384)), Code.UNAVAILABLE),
    ],
)
def test_a_flood_is_cut_off_at_once_and_takes_little_memory(begin: bytes, piece: bytes, code: Code) -> None:
    def talk(connected: socket.socket) -> None:
        connected.sendall(begin)
        forever(connected, piece)

    with peer(talk) as (address, _), channel(address, 1 << 20) as made:
        tracemalloc.start()
        try:
            began = time.monotonic()
            assert error(made, "/t/m", timeout=30).code is code
            assert time.monotonic() - began < 15  # far from the deadline: all else in the worker waits
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def test_a_server_that_floods_gets_enhance_your_calm() -> None:
    output = bytearray()

    def talk(connected: socket.socket) -> None:
        connected.sendall(SETTINGS + frame(PING, 1, 0, bytes(8)) * 1001)
        with suppress(ConnectionError):
            while more := connected.recv(1 << 16):
                output.extend(more)

    assert refusal(talk)[0] is Code.UNAVAILABLE
    assert output.endswith(frame(GOAWAY, 0, 0, bytes(4) + b"\0\0\0\x0b"))


def test_frames_that_open_the_window_for_a_large_request_are_no_flood() -> None:
    """A server that takes a message of one MiB in pieces of 256 bytes."""

    def talk(connected: socket.socket) -> None:
        connected.sendall(SETTINGS + frame(WINDOW, 0, 0, b"\0\0\1\0") * 4096)
        connected.sendall(frame(WINDOW, 0, 1, b"\0\x20\0\0") + ANSWER)

    with peer(talk) as (address, _), channel(address, 2 << 20) as made:
        assert made.call("/t/m", bytes(1 << 20), 20) == b"hi"
