"""HTTP/2 peers that flood the embedded model server or do not read from it, beside an honest client; and h2spec."""

import contextlib
import itertools
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from xml.etree import ElementTree

import grpc

from tests.chaos.processes import Recorder, pid_of, rss, tree
from tests.chaos.scene import Scene, SkippedError
from tests.running import wait_until

_BAR_MS = 100.0
_MAX_GROWTH = 64.0  # MiB
_ENHANCE_YOUR_CALM = 11
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_IDLE = 1100  # connections
_H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec@v2.6.0"


def _frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBL", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def _call(stream: int, path: bytes = b"/grpc.health.v1.Health/Check", end: bool = True) -> bytes:
    """A whole call of the health service, or one whose message does not come."""
    fields = {b":method": b"POST", b":scheme": b"http", b":path": path, b"te": b"trailers"}
    fields[b"content-type"] = b"application/grpc"
    block = b"".join(b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields.items())
    return _frame(_HEADERS, 4, stream, block) + (_frame(_DATA, 1, stream, bytes(5)) if end else b"")


_GREETING = _PREFACE + _frame(_SETTINGS)


def _numbers() -> Iterator[int]:
    return itertools.count(1, 2)


def _settings_flood() -> Iterator[bytes]:
    """With many calls open, of which each has to be looked at when the window's size changes."""
    streams = _numbers()
    yield _GREETING + b"".join(_call(next(streams), end=False) for _ in range(1000))
    for size in itertools.cycle((70_000, 60_000)):
        yield _frame(_SETTINGS, 0, 0, struct.pack(">HL", 4, size)) * 10


def _ping_flood() -> Iterator[bytes]:
    yield _GREETING
    yield from itertools.repeat(_frame(_PING, 0, 0, bytes(8)) * 1000)


def _window_flood() -> Iterator[bytes]:
    yield _GREETING + _call(1, end=False)
    yield from itertools.repeat(_frame(_WINDOW, 0, 0, struct.pack(">L", 1)) * 1000)


def _rapid_reset() -> Iterator[bytes]:
    yield _GREETING
    streams, reset = _numbers(), struct.pack(">L", 8)
    while True:
        some = list(itertools.islice(streams, 200))
        yield b"".join(_call(stream, end=False) + _frame(_RST, 0, stream, reset) for stream in some)


def _empty_data() -> Iterator[bytes]:
    yield _GREETING + _call(1, end=False)
    yield from itertools.repeat(_frame(_DATA, 0, 1, b"") * 1000)


def _unread_answers() -> Iterator[bytes]:
    """Calls whose answers are never read."""
    yield _GREETING
    for stream in _numbers():
        yield _call(stream)


_FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "settings": _settings_flood,
    "ping": _ping_flood,
    "window_update": _window_flood,
    "rapid_reset": _rapid_reset,
    "empty_data": _empty_data,
    "unread_answers": _unread_answers,
}
_READS = {"settings", "ping", "window_update", "rapid_reset", "empty_data"}  # those that look for the GOAWAY at once


def embedded(scene: Scene) -> bool:
    """One kind after the other, three peers of it; an honest client at 50 calls a second."""
    seconds = 10.0 if scene.long else 3.0
    names = list(_FLOODS) if scene.long else ["settings", "rapid_reset"]
    port = scene.lab.ports["SERVING"]
    pid = pid_of(scene.lab, "model-server")
    met = True
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        for name in [*names, *(["idle_connections"] if scene.long else [])]:
            wait_until(lambda: _honest(check) == "200", 60, "the model server to answer")
            peers = _idle(port) if name == "idle_connections" else _flooding(name, port)
            memory, load = Recorder(lambda: rss([pid]), 0.2), scene.load(50, lambda: _honest(check))
            with memory, load as calls, peers as codes:
                scene.pause(seconds)
            figures = scene.note_load(calls.summary(), name)
            growth = memory.peak - memory.samples[0][1]
            calmed = "no connection" if name == "idle_connections" else f"{codes.count(_ENHANCE_YOUR_CALM)} of 3"
            scene.note(**{f"{name}_growth_mib": growth, f"{name}_told_to_calm_down": calmed})
            cut_off = name == "idle_connections" or codes.count(_ENHANCE_YOUR_CALM) == len(codes) > 0
            met = met and not figures.failed and figures.p99 <= _BAR_MS and growth <= _MAX_GROWTH and cut_off
    return met


def _honest(check: Callable[..., bytes]) -> str:
    try:
        check(b"", timeout=30)
    except grpc.RpcError as error:
        return str(error.code())
    return "200"


@contextmanager
def _flooding(name: str, port: int) -> Iterator[list[int]]:
    """Three peers that send as fast as they can; the codes of the GOAWAYs they are sent off with."""
    codes: list[int] = []
    over = time.monotonic() + 60
    with ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(3)]
        threads = [threading.Thread(target=_flood, args=(peer, name, over, codes)) for peer in peers]
        for thread in threads:
            thread.start()
        yield codes
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_WR)
        for thread in threads:
            thread.join(20)


def _flood(peer: socket.socket, name: str, over: float, codes: list[int]) -> None:
    peer.settimeout(0.05)
    received = bytearray()

    def read() -> None:
        while data := peer.recv(1 << 16):
            received.extend(data)

    for data in _FLOODS[name]():
        rest = memoryview(data)
        try:
            while rest and time.monotonic() < over:
                with contextlib.suppress(TimeoutError):
                    rest = rest[peer.send(rest) :]
                if name in _READS:
                    with contextlib.suppress(TimeoutError):
                        received += peer.recv(1 << 16)
        except OSError:
            break
    with contextlib.suppress(OSError):
        read()
    codes.append(_goaway(bytes(received)))


def _goaway(data: bytes) -> int:
    """The error code of the GOAWAY among these frames; -1 without one."""
    at = 0
    while at + 9 <= len(data):
        size, kind = int.from_bytes(data[at : at + 3], "big"), data[at + 3]
        if kind == _GOAWAY:
            return int.from_bytes(data[at + 13 : at + 17], "big")
        at += 9 + size
    return -1


@contextmanager
def _idle(port: int) -> Iterator[list[int]]:
    """Connections that say nothing after their greeting."""
    with ExitStack() as stack:
        for _ in range(_IDLE):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            with contextlib.suppress(OSError):
                peer.sendall(_GREETING)
        yield []


def hostile_server(scene: Scene) -> bool:
    """A model server that answers with informational headers without end; the gateway's memory is bounded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_endless_headers, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        gateway = scene.gateway(f"127.0.0.1:{port}", scene.lab.url("INVENTORY"), TF_SERVER_TIMEOUT_SECONDS="5")
        gateway.wait("/healthz")
        pids = tree(gateway.program.process.pid)
        call, probe = gateway.client(), gateway.client("/healthz", None)
        with Recorder(lambda: rss(pids)) as memory, scene.load(10, probe) as load:
            outcomes = [call() for _ in range(3 if scene.long else 1)]
    figures = scene.note_load(load.summary(), "healthz")
    growth = memory.peak - memory.samples[0][1]
    scene.note(growth_mib=growth, answers=", ".join(outcomes))
    return growth <= _MAX_GROWTH and not figures.failed and figures.longest <= 1000


def _endless_headers(listener: socket.socket) -> None:
    block = b"\0\x07:status\x03103" + b"".join(b"\0\x06x-%04d\x64" % n + b"v" * 100 for n in range(40))
    endless = _frame(_HEADERS, 4, 1, block) * 10

    def serve(peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            peer.recv(1 << 16)
            peer.sendall(_frame(_SETTINGS))
            while True:
                peer.sendall(endless)

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def h2spec(scene: Scene) -> bool:
    """The conformance suite, by its program or, where Go is installed, its module."""
    report = scene.folder / "h2spec.xml"
    target = ("-h", "127.0.0.1", "-p", str(scene.lab.ports["SERVING"]))
    command = [_h2spec(scene), *target, "-o", "5", "-j", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    cases = [case for suite in ElementTree.parse(report).iter("testsuite") for case in suite.iter("testcase")]
    failed = [f"{case.get('package')}: {case.get('classname')}" for case in cases if case.find("failure") is not None]
    scene.say((done.stdout.strip() or done.stderr.strip()).splitlines()[-1])
    scene.note(cases=len(cases), failures=len(failed), failed="; ".join(failed))
    return bool(cases) and not failed


def _h2spec(scene: Scene) -> str:
    if found := shutil.which("h2spec"):
        return found
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not go:
        raise SkippedError("neither h2spec nor Go is installed")
    environment = {**os.environ, "GOBIN": str(scene.folder), "GOFLAGS": "-modcacherw"}
    done = subprocess.run([go, "install", _H2SPEC], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkippedError(f"{_H2SPEC} cannot be had: {done.stderr.strip().splitlines()[-1]}")
    return str(scene.folder / "h2spec")
