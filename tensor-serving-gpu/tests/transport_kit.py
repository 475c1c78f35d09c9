"""A client that speaks HTTP/2 byte by byte, hostile ones, and a server of a few methods for them."""

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import hpack
import uvloop

from tensor_serving.embedded.transport import Server, frames
from tensor_serving.embedded.transport.call import Call

MAX_BYTES = 1 << 20
_TIMEOUT_S = 30.0  # seconds


class Methods:
    """What the server answers: `echo`, `large` (a megabyte), `wait`, `watch` (until cancelled), `count` (a stream)."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.remaining: list[float | None] = []

    def handler(self) -> grpc.GenericRpcHandler:
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods = {"echo": unary(self.echo), "large": unary(self.large), "wait": unary(self.wait)}
        methods |= {"fail": unary(self.fail), "count": stream(self.count), "watch": stream(self.watch)}
        return grpc.method_handlers_generic_handler("t", methods)

    async def echo(self, data: bytes, context: Any) -> bytes:
        self.remaining.append(context.time_remaining())
        return data

    async def large(self, _data: bytes, _context: Any) -> bytes:
        return bytes(MAX_BYTES - 1)

    async def wait(self, _data: bytes, _context: Any) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""

    async def fail(self, _data: bytes, _context: Any) -> bytes:
        raise RuntimeError("secret detail")

    async def count(self, data: bytes, _context: Any) -> AsyncIterator[bytes]:
        for number in range(data[0]):
            yield bytes([number]) * 20_000

    async def watch(self, _data: bytes, _context: Any) -> AsyncIterator[bytes]:
        try:
            yield bytes(20_000)
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


class Wire:
    """A connection, after the greeting: frames out, frames in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, *parts: bytes) -> None:
        self._writer.write(b"".join(parts))

    async def drained(self) -> None:
        await self._writer.drain()

    async def frame(self) -> tuple[int, int, int, bytes]:
        """The next frame's type, flags, stream and payload."""
        head = await asyncio.wait_for(self._reader.readexactly(frames.HEAD), _TIMEOUT_S)
        size, kind, flags, stream = frames.read_head(head, 0)
        return kind, flags, stream, await asyncio.wait_for(self._reader.readexactly(size), _TIMEOUT_S)

    async def until(self, *kinds: int) -> tuple[int, int, int, bytes]:
        """The next frame of these types."""
        while (found := await self.frame())[0] not in kinds:
            pass
        return found

    async def answer(self, stream: int = 1) -> tuple[bytes, dict[str, str]]:
        """The messages of a call's answer one after the other with their prefixes, and its last fields."""
        body = bytearray()
        while True:
            kind, flags, of, payload = await self.until(frames.DATA, frames.HEADERS)
            assert of == stream
            if kind == frames.DATA:
                body += payload
            elif flags & frames.END_STREAM:
                found = hpack.Decoder().decode(payload)
                return bytes(body), {str(name): str(value) for name, value in found}

    async def ended(self) -> int:
        """The error code the server says before it closes."""
        code = int.from_bytes((await self.until(frames.GOAWAY))[3][4:8], "big")
        assert await asyncio.wait_for(self._reader.read(), _TIMEOUT_S) == b""
        return code

    def close(self) -> None:
        self._writer.close()


GREETING = frames.PREFACE + frames.settings() + frames.frame(frames.SETTINGS, frames.ACK, 0, b"")


def headers(method: str = "echo", stream: int = 1, flags: int = frames.END_HEADERS, **more: str) -> bytes:
    """A call's header block, spelled out; `more` adds or replaces fields, _ for - and a trailing _ for a colon."""
    found = {":method": "POST", ":scheme": "http", ":path": f"/t/{method}", "te": "trailers"}
    found["content-type"] = "application/grpc"
    found |= {(f":{name[:-1]}" if name.endswith("_") else name.replace("_", "-")): v for name, v in more.items()}
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in found.items()
    )
    return frames.frame(frames.HEADERS, flags, stream, block)


def message(data: bytes, stream: int = 1, flags: int = frames.END_STREAM, packed: int = 0) -> bytes:
    """A call's message in one frame."""
    prefix = bytes([packed]) + len(data).to_bytes(4, "big")
    return frames.frame(frames.DATA, flags, stream, prefix + data)


# ---- hostile clients, for any gRPC server: a flood is what to send on and on, given the path and message of a call


def _calls(path: str, data: bytes, streams: range) -> bytes:
    return b"".join(headers(stream=stream, path_=path) + message(data, stream) for stream in streams)


def settings_flood(path: str, data: bytes) -> Iterator[bytes]:
    """Open calls, and windows that change again and again."""
    yield frames.settings((frames.INITIAL_WINDOW_SIZE, 0)) + _calls(path, data, range(1, 501, 2))
    while True:
        yield frames.settings(*((frames.INITIAL_WINDOW_SIZE, number % 2) for number in range(32))) * 100


def settings_frame_flood(path: str, data: bytes) -> Iterator[bytes]:
    """The same in frames of 40,000 settings."""
    yield frames.settings((frames.INITIAL_WINDOW_SIZE, 0)) + _calls(path, data, range(1, 501, 2))
    while True:
        yield frames.settings(*((frames.INITIAL_WINDOW_SIZE, number % 2) for number in range(40_000)))


def window_update_flood(path: str, data: bytes) -> Iterator[bytes]:
    """Answers that wait, and windows that open for a byte of them."""
    yield frames.settings((frames.INITIAL_WINDOW_SIZE, 0)) + _calls(path, data, range(1, 501, 2))
    while True:
        yield (frames.window_update(0, 1) + frames.window_update(1, 1)) * 1000


def rapid_reset(path: str, data: bytes) -> Iterator[bytes]:
    """Calls that are cancelled at once."""
    for stream in itertools.count(1, 2):
        yield _calls(path, data, range(stream, stream + 1)) + frames.reset(stream, frames.CANCEL)


def unfinished_reset(path: str, _data: bytes) -> Iterator[bytes]:
    """Calls that are cancelled before they are whole."""
    for stream in itertools.count(1, 2):
        yield headers(stream=stream, path_=path) + frames.reset(stream, frames.CANCEL)


def ping_flood(_path: str, _data: bytes) -> Iterator[bytes]:
    """Pings."""
    return itertools.repeat(frames.frame(frames.PING, 0, 0, bytes(8)) * 1000)


def priority_flood(_path: str, _data: bytes) -> Iterator[bytes]:
    """Priorities, which are ignored."""
    return itertools.repeat(frames.frame(frames.PRIORITY, 0, 1, bytes(5)) * 1000)


def empty_data_flood(path: str, _data: bytes) -> Iterator[bytes]:
    """A request in frames with nothing in them."""
    yield headers(path_=path)
    yield from itertools.repeat(frames.frame(frames.DATA, 0, 1, b"") * 1000)


def no_method_flood(_path: str, data: bytes) -> Iterator[bytes]:
    """Calls of a method that is not there."""
    for stream in itertools.count(1, 200):
        yield _calls("/no/method", data, range(stream, stream + 200, 2))


FLOODS = {
    flood.__name__: flood
    for flood in (settings_flood, settings_frame_flood, window_update_flood, rapid_reset, unfinished_reset)
} | {flood.__name__: flood for flood in (ping_flood, priority_flood, empty_data_flood, no_method_flood)}


def pour(address: tuple[str, int], parts: Iterator[bytes], seconds: float = _TIMEOUT_S) -> int | None:
    """Send it on one connection, reading what comes, until the server ends that; the code it says, None for no word."""
    got, end = bytearray(), time.monotonic() + seconds
    with contextlib.suppress(ConnectionError, TimeoutError), socket.create_connection(address, 10) as connected:
        connected.sendall(GREETING)
        while time.monotonic() < end and not _goaway(got):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                connected.settimeout(0)
                got += connected.recv(1 << 16)
            connected.settimeout(0.2)
            with contextlib.suppress(TimeoutError):  # the server does not read at present
                connected.sendall(next(parts))
    return _goaway(got)


def _goaway(got: bytearray) -> int | None:
    """Take the whole frames from what was received; the error code of GOAWAY, if it is there."""
    while len(got) >= frames.HEAD and len(got) >= (end := frames.HEAD + frames.read_head(got, 0)[0]):
        if frames.read_head(got, 0)[1] == frames.GOAWAY:
            return int.from_bytes(got[frames.HEAD + 4 : frames.HEAD + 8], "big")
        del got[:end]
    return None


def deaf(address: tuple[str, int], path: str, data: bytes, calls: int, window: int = 2**31 - 1) -> socket.socket:
    """A client that makes calls, gives each answer this `window`, and reads nothing; open until closed."""
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connected.settimeout(10)
    connected.connect(address)
    wide = frames.settings((frames.INITIAL_WINDOW_SIZE, window)) + frames.window_update(0, 2**31 - 1 - frames.WINDOW)
    connected.sendall(GREETING + wide + _calls(path, data, range(1, 2 * calls, 2)))
    return connected


def idle(address: tuple[str, int], count: int, greets: bool = True) -> list[socket.socket]:
    """Connections that are not used; open until closed."""
    connections = [socket.create_connection(address, 10) for _ in range(count)]
    for connected in connections if greets else ():
        with contextlib.suppress(ConnectionError):
            connected.sendall(GREETING)
    return connections


class Place:
    """A running server and how to reach it."""

    def __init__(self, server: Server, methods: Methods, port: int) -> None:
        self.server, self.methods, self.port = server, methods, port

    async def wire(self, greeting: bytes = GREETING) -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22))
        wire.send(greeting)
        return wire

    async def lives(self, busy: bool = False) -> None:
        """Fail unless it answers, and holds nothing of anybody's, or is to be `busy`."""
        wire = await self.wire()
        wire.send(headers(), message(b"hello"))
        assert await wire.answer() == (b"\0\0\0\0\5hello", {"grpc-status": "0"})
        wire.close()
        await until(lambda: busy or not self.server.busy)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), _TIMEOUT_S)


@asynccontextmanager
async def place(
    max_calls: int = 100, path: Path | None = None, admit_call: Callable[[Call], None] = lambda _: None
) -> AsyncIterator[Place]:
    server, methods = Server(max_calls, MAX_BYTES, admit_call=admit_call), Methods()
    try:
        port = server.listen("127.0.0.1", 0)
        if path:
            server.listen_at(path)
        server.add_handlers([methods.handler()])
        await server.start()
        yield Place(server, methods, port)
    finally:
        await server.close()


def scene(play: Callable[[Place], Coroutine[Any, Any, None]], **how: Any) -> None:
    """Play it before a server, which afterwards still answers and holds nothing."""

    async def whole() -> None:
        async with place(**how) as here:
            await play(here)
            await here.lives()

    uvloop.run(whole())  # as the server does where there is one
