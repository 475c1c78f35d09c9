"""A client that speaks HTTP/2 byte by byte, and a server of a few methods for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import hpack
import uvloop

from tensor_serving.embedded.transport import Server, frames

LARGEST = 1 << 20
_PATIENCE = 30.0  # seconds


class Methods:
    """What the server answers: `echo`, `large` (nearly a megabyte), `wait` (until cancelled), `count` (a stream)."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.remaining: list[float | None] = []

    def handler(self) -> grpc.GenericRpcHandler:
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods = {"echo": unary(self.echo), "large": unary(self.large), "wait": unary(self.wait)}
        methods |= {"fail": unary(self.fail), "count": stream(self.count)}
        return grpc.method_handlers_generic_handler("t", methods)

    async def echo(self, data: bytes, context: Any) -> bytes:
        self.remaining.append(context.time_remaining())
        return data

    async def large(self, _data: bytes, _context: Any) -> bytes:
        return bytes(LARGEST - 1)

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
        head = await asyncio.wait_for(self._reader.readexactly(frames.HEAD), _PATIENCE)
        size, kind, flags, stream = frames.read_head(head, 0)
        return kind, flags, stream, await asyncio.wait_for(self._reader.readexactly(size), _PATIENCE)

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
        assert await asyncio.wait_for(self._reader.read(), _PATIENCE) == b""
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


class Place:
    """A running server and how to reach it."""

    def __init__(self, server: Server, methods: Methods, port: int) -> None:
        self.server, self.methods, self.port = server, methods, port

    async def wire(self, greeting: bytes = GREETING) -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22))
        wire.send(greeting)
        return wire

    async def lives(self) -> None:
        """Fail unless it answers, and holds nothing of anybody's."""
        wire = await self.wire()
        wire.send(headers(), message(b"hello"))
        assert await wire.answer() == (b"\0\0\0\0\5hello", {"grpc-status": "0"})
        wire.close()
        await until(lambda: not self.server.busy)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), _PATIENCE)


@asynccontextmanager
async def place(most_calls: int = 100, path: Path | None = None) -> AsyncIterator[Place]:
    server, methods = Server(most_calls, LARGEST), Methods()
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
