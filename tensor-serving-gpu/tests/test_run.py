"""`run`: the watcher and the model server as one process, with the embedded server and with a binary in its place."""

import os
import re
import shlex
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
from serving_kit import Client, Command, tiny_saved_model, wait_until

from tensor_serving.server_process import server_command

PROGRAMS = Path(__file__).parent / "programs"


def stand_in(at_term: str = "end") -> str:
    """Return a script that stands in for the binary, and that TERM ends at once, as it does that, or not at all."""
    command = shlex.join([sys.executable, str(PROGRAMS / "say_flags_and_wait.py"), at_term])
    return f'#!/bin/sh\nexec {command} "$@"\n'


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tensorflow_model_server on the PATH."""
    program = tmp_path / "bin" / "tensorflow_model_server"
    program.parent.mkdir()
    program.write_text(stand_in())
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def run(folder: Path, *arguments: object) -> Command:
    fixed = ("--models", folder / "models", "--inventory-port", 0, "--rest-port", free_port(), "--poll-seconds", 0.05)
    return Command(folder / "log", "run", *fixed, *arguments)


def children(command: Command) -> list[int]:
    pid = command.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_model_is_served_and_term_stops_both(tmp_path: Path, exports: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "half").symlink_to(exports, target_is_directory=True)  # no version there, so nothing yet
    with run(tmp_path, "--port", 0, "--", "--tensorflow_inter_op_parallelism=2") as command:
        port = int(command.said(r"serving on 127.0.0.1:(\d+)")[1])
        client = Client(port)
        (tmp_path / "models" / "net").mkdir()
        (tmp_path / "models" / "net" / "1").symlink_to(exports / "half_plus_two", target_is_directory=True)
        wait_until(lambda: client.available("net") == [1], what=command.text())
        assert client.half("net") == (1, 3.0)
        client.channel.close()
        (server,) = children(command)
        assert command.stop() == 0
        assert not alive(server)
        assert "ended by itself" not in command.text()


def test_a_binary_gets_the_flags_it_needs_and_those_given(tmp_path: Path, binary: Path) -> None:
    tiny_saved_model(tmp_path / "models" / "net" / "1")
    with run(tmp_path, "--port", 9123, "--", "--grpc_max_threads=7", "--rest_api_port=0") as command:
        flags = command.said(r"FLAGS (.*)")[1].split()
        config = Path(next(flag for flag in flags if flag.startswith("--model_config_file=")).partition("=")[2])
        assert 'name: "net"' in config.read_text()
        assert flags[0] == "--port=9123"
        assert {"--max_num_load_retries=0", "--allow_version_labels_for_unavailable_models=true"} <= set(flags)
        assert {"--model_config_file_poll_wait_seconds=1", "--file_system_poll_wait_seconds=1"} <= set(flags)
        assert not any(flag.startswith("--bind_address") for flag in flags)
        assert flags[-2:] == ["--grpc_max_threads=7", "--rest_api_port=0"]
        tiny_saved_model(tmp_path / "models" / "other" / "1")
        wait_until(lambda: 'name: "other"' in config.read_text())
        assert command.stop() == 0
        assert not config.parent.exists()
    assert binary.exists()


def test_a_server_that_ends_takes_the_watcher_with_it(tmp_path: Path, binary: Path) -> None:
    (tmp_path / "models").mkdir()
    with run(tmp_path) as command:
        command.said("FLAGS")
        os.kill(children(command)[0], signal.SIGKILL)
        assert command.process.wait(20) == 1
        assert "the model server ended by itself (exit code -9)" in command.text()
        assert "Traceback" not in command.text()
    assert binary.exists()


@pytest.mark.parametrize("at_term", ["end", "ignore"])
def test_term_ends_a_server_that_does_not_listen(tmp_path: Path, binary: Path, at_term: str) -> None:
    binary.write_text(stand_in(at_term))
    (tmp_path / "models").mkdir()
    with run(tmp_path) as command:
        command.said("FLAGS")
        (server,) = children(command)
        assert command.stop() == 0
        assert not alive(server)


def test_a_taken_inventory_port_fails_before_the_server_starts(tmp_path: Path, binary: Path) -> None:
    (tmp_path / "models").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with run(tmp_path, "--inventory-port", port) as command:
            assert command.process.wait(20) == 1
            assert f"cannot listen on 127.0.0.1:{port}" in command.text()
            assert not re.search("FLAGS|Traceback", command.text())
    assert binary.exists()


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6")
def test_all_ipv6_addresses_are_served_and_watched(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with run(tmp_path, "--host", "::", "--port", 0) as command:
        port = command.said(r"inventory on http://\[::\]:(\d+)/")[1]
        command.said("the model server answers")
        with urllib.request.urlopen(f"http://[::1]:{port}/healthz", timeout=10) as answer:
            assert answer.status == 200


def test_a_server_that_cannot_start_ends_it(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with run(tmp_path, "--", "--no_such_flag=1") as command:
        assert command.process.wait(60) == 1
        assert "unknown flag --no_such_flag=1" in command.text()
        assert "the model server ended by itself (exit code 2)" in command.text()


def test_the_embedded_server_listens_where_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    command = server_command("0.0.0.0", 9000, 8501, Path("/tmp/models.config"), ["--grpc_max_threads=2"])
    assert command[1:4] == ["-m", "tensor_serving", "serve"]
    assert {"--bind_address=0.0.0.0", "--rest_api_port=8501"} <= set(command)
    assert command[-1] == "--grpc_max_threads=2"
