"""gRPC over plain HTTP/2: what a client may do, and what it gets for what it may not."""

import asyncio
import gzip
import logging
import zlib

import hpack
import pytest
from transport_kit import GREETING, MAX_BYTES, Place, Wire, headers, message, scene

from tensor_serving.embedded.transport import frames, limits

ENHANCE, PROTOCOL, FLOW, SIZE, COMPRESSION = 11, 1, 3, 6, 9
WHOLE = frames.END_HEADERS | frames.END_STREAM
TRAILERS = frames.frame(frames.HEADERS, WHOLE, 1, b"\0\1x\1y")


def test_a_call_is_answered_however_its_bytes_are_cut() -> None:
    async def play(here: Place) -> None:
        for size in (1, 7, 4096):
            wire = await here.wire(b"")
            sent = GREETING + headers() + message(b"x" * 300)
            for start in range(0, len(sent), size):
                wire.send(sent[start : start + size])
                await wire.drained()
                await asyncio.sleep(0)
            body, fields = await wire.answer()
            assert (body[5:], fields["grpc-status"]) == (b"x" * 300, "0")
            wire.close()

    scene(play)


def test_header_blocks_with_tables_and_packed_texts_are_read_before_and_after_the_settings() -> None:
    """What nghttp2 and others send: their encoder keeps a table, until it has our SETTINGS."""

    async def play(here: Place) -> None:
        wire = await here.wire(frames.PREFACE + frames.settings())
        encoder = hpack.Encoder()
        for stream in (1, 3, 5, 7):
            if stream == 5:
                wire.send(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
                encoder.header_table_size = 0
            fields = {":method": "POST", ":scheme": "http", ":path": "/t/echo", "content-type": "application/grpc"}
            block = encoder.encode(fields | {"x-own": "again"})
            wire.send(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block), message(b"a", stream))
            assert (await wire.answer(stream))[1]["grpc-status"] == "0"
        wire.close()

    scene(play)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + bytes(20), PROTOCOL),
        (GREETING + bytes.fromhex("ffffff0000") + bytes(4), SIZE),
        (GREETING + headers(flags=0) + message(b"a"), PROTOCOL),
        (GREETING + frames.frame(frames.CONTINUATION, 4, 1, b""), PROTOCOL),
        (GREETING + headers(flags=0) + frames.frame(frames.CONTINUATION, 0, 1, b"") * 3, ENHANCE),
        (GREETING + headers(flags=0) + frames.frame(frames.CONTINUATION, 0, 1, bytes(16000)) * 5, ENHANCE),
        (GREETING + frames.frame(frames.HEADERS, 4, 1, bytes(70_000)), ENHANCE),
        (GREETING + frames.frame(frames.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION),
        (GREETING + frames.frame(frames.HEADERS, 4, 1, b"\xbe"), COMPRESSION),
        (GREETING + headers(stream=2), PROTOCOL),
        (GREETING + headers(stream=0), PROTOCOL),
        (GREETING + headers() + headers(), PROTOCOL),
        (GREETING + message(b"a"), PROTOCOL),
        (GREETING + message(b"a", stream=0), PROTOCOL),
        (GREETING + headers() + frames.frame(frames.DATA, frames.PADDED, 1, b"\x09a"), PROTOCOL),
        (GREETING + headers() + frames.frame(frames.DATA, frames.PADDED, 1, b""), PROTOCOL),
        (GREETING + frames.frame(frames.PING, 0, 0, b"short"), SIZE),
        (GREETING + frames.frame(frames.SETTINGS, 0, 0, b"odd"), SIZE),
        (GREETING + frames.settings((frames.INITIAL_WINDOW_SIZE, 2**31)), FLOW),
        (GREETING + frames.settings((frames.MAX_FRAME_SIZE, 100)), PROTOCOL),
        (GREETING + frames.window_update(0, 0), PROTOCOL),
        (GREETING + frames.window_update(0, 2**31 - 1), FLOW),
        (GREETING + frames.frame(frames.PUSH_PROMISE, 4, 1, bytes(8)), PROTOCOL),
    ],
)
def test_a_client_that_violates_the_protocol_is_cut_off(sent: bytes, code: int) -> None:
    async def play(here: Place) -> None:
        wire = await here.wire(sent)
        assert await wire.ended() == code
        wire.close()

    scene(play)


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (headers("none") + message(b""), "12", "Method not found!"),
        (headers("none") + message(b"", flags=0) + TRAILERS, "12", "Method not found!"),
        (headers() + frames.frame(frames.DATA, 0, 1, b"\0\0\0\0\5abc") + TRAILERS, "13", "is not whole (8 bytes)"),
        (headers(method_="GET") + message(b""), "13", "this port speaks gRPC: POST"),
        (headers(content_type="text/html") + message(b""), "13", "this port speaks gRPC: POST"),
        (headers(grpc_timeout="1x") + message(b""), "13", "grpc-timeout '1x' is not a valid timeout"),
        (headers(flags=WHOLE), "13", "the request is not whole (0 bytes)"),
        (headers() + frames.frame(frames.DATA, 1, 1, b"\0\0\0\0\5abc"), "13", "the request is not whole (8 bytes)"),
        (headers() + frames.frame(frames.DATA, 1, 1, b"\0\0\0\0\1abc"), "12", "more than one request message"),
        (headers() + frames.frame(frames.DATA, 0, 1, b"\0\xff\0\0\0"), "8", "larger than max (4278190080 vs. 1048576)"),
        (headers(grpc_encoding="br") + message(b"a", packed=1), "12", "compressed as 'br'; gzip and deflate are taken"),
        (headers(grpc_encoding="gzip") + message(b"abc", packed=1), "13", "the message is not gzip"),
        (
            headers(grpc_encoding="gzip") + message(gzip.compress(b"abc")[:-6], packed=1),
            "13",
            "gzip message is cut off",
        ),
        (
            headers(grpc_encoding="gzip") + message(gzip.compress(bytes(2 * MAX_BYTES)), packed=1),
            "8",
            "Decompressed message larger than max",
        ),
        (headers("fail") + message(b""), "2", "internal error; the server's log has the details"),
    ],
)
def test_calls_that_cannot_be_are_refused_and_the_next_is_answered(sent: bytes, status: str, text: str) -> None:
    async def play(here: Place) -> None:
        wire = await here.wire()
        wire.send(sent, headers(stream=3), message(b"b", stream=3))
        fields = (await wire.answer())[1]
        assert fields["grpc-status"] == status
        assert text in fields["grpc-message"]
        kind, _, stream, payload = await wire.until(frames.RST_STREAM, frames.HEADERS)
        if kind == frames.RST_STREAM:  # the client need not go on sending
            assert (stream, payload) == (1, bytes(4))
        assert (await wire.answer(3))[0] == b"\0\0\0\0\1b"
        wire.close()

    logging.disable(logging.ERROR)
    try:
        scene(play)
    finally:
        logging.disable(logging.NOTSET)


def test_compressed_messages_are_unpacked() -> None:
    async def play(here: Place) -> None:
        for encoding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
            wire = await here.wire()
            wire.send(headers(grpc_encoding=encoding), message(pack(b"abc" * 1000), packed=1))
            assert (await wire.answer())[0][5:] == b"abc" * 1000
            wire.close()

    scene(play)


def test_an_answer_waits_for_the_windows_of_its_client() -> None:
    async def play(here: Place) -> None:
        wire = await here.wire(GREETING + frames.settings((frames.INITIAL_WINDOW_SIZE, 10)))
        wire.send(headers("large"), message(b""), headers(stream=3), message(b"b" * 30, stream=3))
        body = bytearray()
        while len(body) < 10:
            kind, _, stream, payload = await wire.until(frames.DATA)
            body += payload if stream == 1 else b""
        assert (kind, bytes(body)) == (frames.DATA, b"\0\0\x0f\xff\xff" + bytes(5))
        wire.send(frames.settings((frames.INITIAL_WINDOW_SIZE, 100)))  # both may go on: one ends
        assert (await _rest(wire, 3))[1] == WHOLE
        wire.send(frames.window_update(1, 2 * MAX_BYTES), frames.window_update(0, 2 * MAX_BYTES))
        rest, flags = await _rest(wire, 1)
        assert (100 <= 10 + rest <= MAX_BYTES + 4, flags) == (True, WHOLE)
        wire.close()

    scene(play)


async def _rest(wire: Wire, stream: int) -> tuple[int, int]:
    """How many bytes of a stream come yet, and the flags of its end."""
    size = 0
    while True:
        kind, flags, of, payload = await wire.until(frames.DATA, frames.HEADERS)
        if of == stream and kind == frames.DATA:
            size += len(payload)
        elif of == stream and flags & frames.END_STREAM:
            return size, flags


def test_an_answer_that_is_not_taken_is_dropped_when_its_time_is_up() -> None:
    async def play(here: Place) -> None:
        wire = await here.wire(GREETING + frames.settings((frames.INITIAL_WINDOW_SIZE, 10)))
        wire.send(headers("large", grpc_timeout="300m"), message(b""))
        assert await wire.until(frames.RST_STREAM) == (frames.RST_STREAM, 0, 1, b"\0\0\0\x08")
        wire.close()

    scene(play)


def test_deadlines_end_calls_that_run_and_those_that_are_still_being_sent() -> None:
    async def play(here: Place) -> None:
        wire = await here.wire()
        wire.send(headers("wait", grpc_timeout="100000u"), message(b""), headers(stream=3, grpc_timeout="100m"))
        fields = [(await wire.answer(stream))[1] for stream in (1, 3)]
        assert [f["grpc-status"] for f in fields] == ["4", "4"]
        await asyncio.wait_for(here.methods.cancelled.wait(), 30)
        wire.send(headers(stream=5, grpc_timeout="2H"), message(b"", stream=5))
        await wire.answer(5)
        assert here.methods.remaining[0] == pytest.approx(7200, abs=5)
        wire.close()

    scene(play)


def test_a_reset_and_a_lost_connection_cancel() -> None:
    async def play(here: Place) -> None:
        for leave in (lambda wire: wire.send(frames.reset(1, frames.CANCEL)), lambda wire: wire.close()):
            here.methods.cancelled.clear()
            wire = await here.wire()
            wire.send(headers("wait"), message(b""), frames.frame(frames.PING, 0, 0, b"12345678"))
            await wire.until(frames.PING)
            leave(wire)
            await asyncio.wait_for(here.methods.cancelled.wait(), 30)
            wire.close()

    scene(play)


def test_a_stream_of_answers_goes_at_its_clients_pace() -> None:
    async def play(here: Place) -> None:
        wire = await here.wire(GREETING + frames.settings((frames.INITIAL_WINDOW_SIZE, 30_000)))
        wire.send(headers("count"), message(b"\x05"))
        body = bytearray()
        while len(body) < 5 * 20_005:
            _, _, _, payload = await wire.until(frames.DATA)
            body += payload
            wire.send(frames.window_update(1, len(payload)), frames.window_update(0, len(payload)))
        assert [body[at + 5] for at in range(0, len(body), 20_005)] == [0, 1, 2, 3, 4]
        assert (await wire.answer())[1] == {"grpc-status": "0"}
        wire.close()

    scene(play)


def test_calls_and_memory_are_bounded_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUEST_MESSAGES", 2)

    async def play(here: Place) -> None:
        wire, second = await here.wire(), await here.wire()
        for stream in (1, 3, 5):
            wire.send(headers("wait", stream), message(b"", stream))
        assert (await wire.answer(5))[1]["grpc-message"] == "Concurrent RPC limit exceeded!"  # half of four
        wire.send(frames.reset(3, 8))
        part = frames.frame(frames.DATA, 0, 7, b"\0\0\x0f\0\0" + bytes(200_000))
        wire.send(headers(stream=7), part, *(frames.frame(frames.DATA, 0, 7, bytes(200_000)) for _ in range(3)))
        second.send(headers(), frames.frame(frames.DATA, 0, 1, b"\0\0\x0f\0\0" + bytes(250_000)), TRAILERS)
        assert (await second.answer())[1]["grpc-status"] == "13"  # it was within the bounds, and not whole
        second.send(headers(stream=3), frames.frame(frames.DATA, 0, 3, b"\0\0\x0f\0\0" + bytes(250_000)))
        second.send(*(frames.frame(frames.DATA, 0, 3, bytes(250_000)) for _ in range(3)))
        assert (await second.answer(3))[1]["grpc-message"] == "too many large messages at the same time"
        wire.close()
        second.close()

    scene(play, max_calls=4)


def test_what_is_unpacked_counts_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUEST_MESSAGES", 1)

    async def play(here: Place) -> None:
        wire = await here.wire()
        packed = gzip.compress(bytes(600_000))
        for stream in (1, 3):
            wire.send(headers("wait", stream, grpc_encoding="gzip"), message(packed, stream, packed=1))
        assert (await wire.answer(3))[1]["grpc-message"] == "too many large messages at the same time"
        wire.close()

    scene(play)


def test_a_client_that_never_reads_is_cut_off() -> None:
    async def play(here: Place) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port, limit=1 << 10)
        writer.write(GREETING)

        async def ask_on_and_on() -> None:
            for first in range(1, 500_000, 2000):
                writer.write(b"".join(headers("none", stream, WHOLE) for stream in range(first, first + 2000, 2)))
                await writer.drain()

        with pytest.raises(ConnectionError):
            await ask_on_and_on()
        writer.close()

    scene(play)
