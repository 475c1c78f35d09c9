"""HTTP/2 peers that flood the embedded model server or do not read from it, beside an honest client; and h2spec."""

import contextlib
import importlib
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from xml.etree import ElementTree

import grpc

from tests.chaos.processes import Recorder, pid_of, rss, tree
from tests.chaos.scene import Scene, SkippedError
from tests.running import wait_until

_BAR_MS = 100.0
_MAX_GROWTH = 64.0  # MiB
_ENHANCE_YOUR_CALM = 11
_HEADERS, _SETTINGS = 1, 4
_METHOD = "/grpc.health.v1.Health/Check"
_PEERS, _TIMES = 3, 5  # peers that flood at the same time, and connections of each, one after the other
_IDLE = 1100  # connections


def embedded(scene: Scene) -> bool:
    """Run each kind of flood, unread answers and idle connections, beside another client with 50 calls a second."""
    kit: Any = importlib.import_module("transport_kit")  # of the model server's own tests
    address = ("127.0.0.1", scene.lab.ports["SERVING"])
    kinds: dict[str, Callable[[], contextlib.AbstractContextManager[list[int | None]]]] = {
        name: partial(_flooding, kit, address, flood) for name, flood in kit.FLOODS.items()
    }
    kinds |= {"unread_answers": partial(_unread, kit, address), "idle_connections": partial(_idle, kit, address)}
    chosen = list(kinds) if scene.long else ["settings_flood", "rapid_reset"]
    with grpc.insecure_channel(f"{address[0]}:{address[1]}") as channel:
        check = channel.unary_unary(_METHOD)
        met = [_beside(scene, name, kinds[name], check) for name in chosen]
    return all(met)


def _beside(scene: Scene, name: str, peers: Callable[[], Any], check: Callable[..., bytes]) -> bool:
    """The honest client's answers and the server's memory while these peers are there."""
    wait_until(lambda: _honest(check) == "200", 60, "the model server to answer")
    pid = pid_of(scene.lab, "model-server")
    memory, load = Recorder(lambda: rss([pid]), 0.2), scene.load(50, lambda: _honest(check))
    with memory, load as calls, peers() as codes:
        scene.pause(10.0 if scene.long else 3.0)
    figures = scene.note_load(calls.summary(), name)
    growth = memory.peak - memory.samples[0][1]
    calmed = sum(code == _ENHANCE_YOUR_CALM for code in codes)
    scene.note(**{f"{name}_growth_mib": growth, f"{name}_cut_off": f"{calmed} of {len(codes)}"})
    return not figures.failed and figures.p99 <= _BAR_MS and growth <= _MAX_GROWTH and calmed == len(codes)


def _honest(check: Callable[..., bytes]) -> str:
    try:
        check(b"", timeout=30)
    except grpc.RpcError as error:
        return str(error.code())
    return "200"


@contextmanager
def _flooding(kit: Any, address: tuple[str, int], flood: Any) -> Iterator[list[int | None]]:
    """Peers that send as fast as they can; the error codes they are cut off with."""
    codes: list[int | None] = []
    over = threading.Event()

    def peer() -> None:
        for _ in range(_TIMES):
            if not over.is_set():
                codes.append(kit.pour(address, flood(_METHOD, b""), 20.0))

    threads = [threading.Thread(target=peer) for _ in range(_PEERS)]
    for thread in threads:
        thread.start()
    yield codes
    over.set()
    for thread in threads:
        thread.join()


@contextmanager
def _unread(kit: Any, address: tuple[str, int]) -> Iterator[list[int | None]]:
    """Calls whose answers are never read; they are cut off only later, after the server's stall time-out."""
    with ExitStack() as stack:
        for _ in range(_PEERS):
            stack.enter_context(kit.deaf(address, _METHOD, b"", 200))
        yield []


@contextmanager
def _idle(kit: Any, address: tuple[str, int]) -> Iterator[list[int | None]]:
    """Connections that say nothing after their greeting."""
    with ExitStack() as stack:
        for connection in kit.idle(address, _IDLE):
            stack.enter_context(connection)
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


def _frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBL", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


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
    own: Any = importlib.import_module("test_transport_h2spec")  # the model server's own test has the exceptions
    report = scene.folder / "h2spec.xml"
    target = ("--strict", "--host", "127.0.0.1", "--port", str(scene.lab.ports["SERVING"]))
    command = [_h2spec(scene, own.H2SPEC), *target, "--timeout", "10", "--junit-report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    scene.say((done.stdout.strip() or done.stderr.strip()).splitlines()[-1])
    cases = ElementTree.parse(report).getroot().findall(".//testcase")
    failed = {(case.get("package"), case.get("classname")) for case in cases if case.find("error") is not None}
    unexplained = failed - set(own.FAIL_FOR_A_REASON)
    scene.note(cases=len(cases), failures=len(unexplained), failures_with_a_reason=len(failed - unexplained))
    return bool(cases) and not unexplained


def _h2spec(scene: Scene, module: str) -> str:
    if found := shutil.which("h2spec"):
        return found
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not go:
        raise SkippedError("neither h2spec nor Go is installed")
    environment = {**os.environ, "GOBIN": str(scene.folder)}
    done = subprocess.run([go, "install", module], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkippedError(f"{module} cannot be had: {done.stderr.strip().splitlines()[-1]}")
    return str(scene.folder / "h2spec")
