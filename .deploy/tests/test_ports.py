"""Ports: a taken one is reported with its holder and a remedy."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab_engine import ports
from lab_engine.errors import EngineError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_distinguished_from_a_free_one(taken: int) -> None:
    assert not ports.is_free(taken)
    assert ports.is_free(ports.next_free(taken))


def test_the_holder_of_a_port_is_named(taken: int) -> None:
    assert ports.holder(taken).startswith(f"process {os.getpid()} (")


def test_a_holder_that_ends_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    listen = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    found = ports._socket_inodes
    with subprocess.Popen([sys.executable, "-c", listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())

        def inodes(pid: str) -> set[str]:
            before = found(pid)
            if pid == str(child.pid):
                child.kill()
                child.wait()
            return before

        monkeypatch.setattr(ports, "_socket_inodes", inodes)
        assert ports.holder(port) == "a process of another user"


def test_all_taken_ports_are_reported_together(taken: int) -> None:
    with socket.socket() as another:
        another.bind(("127.0.0.1", 0))
        another.listen()
        also = another.getsockname()[1]
        with pytest.raises(EngineError) as refusal:
            ports.check({"rest": taken, "board": also})
    for text in (f"port {taken} is taken by", f"port {also} is taken by", "LAB_REST_PORT=", "LAB_BOARD_PORT="):
        assert text in str(refusal.value)


def test_a_port_that_is_offered_is_used_by_no_other_setting(taken: int) -> None:
    others = [port for port in (taken + 1, taken + 2) if port < 65536]
    with pytest.raises(EngineError) as refusal:
        ports.check({"serving_rest": taken}, others)
    offer = int(str(refusal.value).rpartition("LAB_SERVING_REST_PORT=")[2])
    assert offer not in (taken, *others)
    assert ports.is_free(offer)


def test_two_taken_ports_are_offered_two_free_ones(taken: int) -> None:
    with socket.socket() as another:
        another.bind(("127.0.0.1", 0))
        another.listen()
        with pytest.raises(EngineError) as refusal:
            ports.check({"rest": taken, "board": another.getsockname()[1]})
    offers = [line.rpartition("=")[2] for line in str(refusal.value).splitlines()]
    assert len({*offers}) == 2
