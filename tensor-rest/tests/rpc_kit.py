"""For the tests of the channel: real gRPC servers of bytes, and peers that do what we stage."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from tensor_rest.backend.channel import Channel
from tensor_rest.backend.status import RpcError

MAX_BYTES = 64 << 20
OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class Server:
    """Answers /t/echo, /t/size (as many bytes as the message says), /t/fail (code, then details) and /t/hold."""

    def __init__(self, *options: tuple[str, Any], where: str = "127.0.0.1:0") -> None:
        self.options, self.where = tuple({**dict(OPTIONS), **dict(options)}.items()), where
        self.calls: list[str] = []
        self.ended: list[str] = []  # calls of /t/wait that ended, also those that the client gave up
        self.metadata: dict[str, str] = {}
        self.left = 0.0  # seconds the last caller waits
        self.hold = threading.Event()
        self.start()

    def start(self) -> None:
        methods = {name: grpc.unary_unary_rpc_method_handler(getattr(self, name)) for name in METHODS}
        self.server = grpc.server(
            ThreadPoolExecutor(16), [grpc.method_handlers_generic_handler("t", methods)], options=self.options
        )
        port = self.server.add_insecure_port(self.where)
        if not self.where.startswith("unix"):
            self.where = f"{self.where.rpartition(':')[0]}:{port}"
        self.server.start()

    def stop(self, grace: float | None = None) -> threading.Event:
        return self.server.stop(grace)

    def echo(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        self.left = context.time_remaining()
        self.calls.append("echo")
        return message

    def size(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        return b"x" * int(message)

    def fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        code, details = message.decode().split(" ", 1)
        context.abort(grpc.StatusCode[code], details)
        raise AssertionError

    def wait(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(lambda: self.ended.append("wait"))
        self.calls.append("wait")
        self.hold.wait(20)
        return message


METHODS = ("echo", "size", "fail", "wait")


@contextmanager
def serving(*options: tuple[str, Any], where: str = "127.0.0.1:0") -> Iterator[Server]:
    """A server for a block."""
    server = Server(*options, where=where)
    try:
        yield server
    finally:
        server.hold.set()
        server.stop().wait()


@contextmanager
def channel(address: str, most: int = MAX_BYTES) -> Iterator[Channel]:
    """A channel for a block."""
    made = Channel(address, most)
    try:
        yield made
    finally:
        made.close()


def error(made: Channel, path: str = "/t/echo", message: bytes = b"m", timeout: float = 10, **options: Any) -> RpcError:
    """What a call fails with."""
    with pytest.raises(RpcError) as caught:
        made.call(path, message, timeout, **options)
    return caught.value


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame, written down here once more so that the peer does not share our mistakes."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


SETTINGS = frame(4)
OK_HEADERS = b"\x88\x0f\x10\x10application/grpc"  # :status 200, content-type
OK_TRAILERS = b"\x00\x0bgrpc-status\x010"
ANSWER = frame(1, 4, 1, OK_HEADERS) + frame(0, 0, 1, b"\0\0\0\0\x02hi") + frame(1, 5, 1, OK_TRAILERS)
"""The message `hi` on the first stream."""

Talk = Callable[[socket.socket], None]


def says(*parts: bytes) -> Talk:
    """To send this at once."""
    return lambda connected: connected.sendall(b"".join(parts))


@contextmanager
def peer(talk: Talk) -> Iterator[tuple[str, list[bytes]]]:
    """A listener that does `talk` with each connection; its address, and what it had read of each at its end."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []
    over = threading.Event()

    def serve(connected: socket.socket) -> None:
        with connected:
            try:
                connected.settimeout(20)
                heard.append(connected.recv(1 << 16))
                talk(connected)
                connected.settimeout(0.05)
                while not over.is_set():
                    try:
                        if not connected.recv(1 << 16):
                            return
                    except TimeoutError:
                        pass
            except OSError:
                pass  # the client has had enough

    def accept() -> None:
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connected,)))
            threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", heard
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(20)


def forever(connected: socket.socket, piece: bytes) -> None:
    """Send this until the client closes."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connected.sendall(piece)
