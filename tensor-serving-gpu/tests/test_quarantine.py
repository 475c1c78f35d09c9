"""Versions that do not load or end the server, under `run`: held back with the reason, and nothing else suffers."""

import json
import os
import shutil
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import tfs_stand_in
from serving_kit import Client, Command, wait_until

from tensor_serving.model_server import ModelServer, VersionState

DATA = "variables/variables.data-00000-of-00001"


class Served:
    """A volume under `run`."""

    def __init__(self, folder: Path, exports: Path) -> None:
        self.models, self._exports, self._log = folder / "models", exports, folder / "log"
        self.models.mkdir()
        with ExitStack() as stack:
            ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(3)]
        self.port, self._rest_port, self._inventory_port = ports
        self._state = folder / "state"
        self._state.mkdir()

    def publish(self, export: str, name: str, version: int, damage: Callable[[Path], None] | None = None) -> Path:
        """Copy an export beside, damage it, and rename it into place."""
        staged = self.models / ".staging" / f"{name}-{version}"
        shutil.copytree(self._exports / export, staged)
        if damage:
            damage(staged)
        (self.models / name).mkdir(exist_ok=True)
        return staged.rename(self.models / name / str(version))

    @contextmanager
    def running(self) -> Iterator[Command]:
        """The command; it answers, but need not have loaded anything yet."""
        ports = ("--port", self.port, "--rest-port", self._rest_port, "--inventory-port", self._inventory_port)
        where = ("--models", self.models, "--state", self._state)
        with Command(self._log, "run", *where, "--poll-seconds", 0.1, *ports) as command:
            command.said(r"inventory on http")
            yield command
            assert command.stop() == 0
            assert "Traceback" not in command.text()

    def inventory(self, name: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._inventory_port}/", timeout=10) as answer:
            return next((model for model in json.load(answer)["models"] if model["name"] == name), {})

    def answer(self, name: str) -> tuple[int, float]:
        """Return the model's first answer. Until then the server may be down, but never without the model."""
        client = Client(self.port)

        def first_answer() -> tuple[int, float] | None:
            try:
                return client.half(name)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return None

        try:
            found: tuple[int, float] = wait_until(first_answer, 60, f"an answer of {name}")
            return found
        finally:
            client.channel.close()

    def reason(self, name: str, version: int) -> str:
        held = {each["version"]: each["reason"] for each in self.inventory(name).get("quarantined", [])}
        return str(held.get(version, ""))


@pytest.fixture
def served(tmp_path: Path, exports: Path) -> Served:
    return Served(tmp_path, exports)


def flip_a_byte(version: Path) -> None:
    data = bytearray((version / DATA).read_bytes())
    data[1] ^= 0xFF
    (version / DATA).write_bytes(bytes(data))


def name_an_operation_nobody_knows(version: Path) -> None:
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"AddV2", b"AddV9"))


def test_at_the_start_the_last_good_version_and_all_others_are_served(served: Served) -> None:
    served.publish("half_plus_two", "flipped", 1)
    served.publish("half_plus_three", "flipped", 2, flip_a_byte)
    served.publish("half_plus_two", "unknown", 1)
    served.publish("half_plus_three", "unknown", 2, name_an_operation_nobody_knows)
    served.publish("badly_warmed", "warm", 1)
    served.publish("half_plus_three", "other", 1)
    with served.running() as command:
        client = Client(served.port)
        command.said("serving on")
        # Called before anything is loaded: late, but not refused.
        assert client.half("flipped") == (1, 3.0)
        assert client.half("unknown") == (1, 3.0)
        assert client.half("other") == (1, 4.0)
        for name, version, why in (
            ("flipped", 2, "does not load: TensorBundle at variables/variables shard 0 (4 bytes): Checksum does not m"),
            ("unknown", 2, "does not load: Op type not registered 'AddV9'"),
            ("warm", 1, "does not load: Signature input alias: x"),
        ):
            wait_until(lambda name=name, version=version: served.reason(name, version), what=f"{name} in quarantine")
            assert served.reason(name, version).startswith(why)
        assert served.inventory("flipped")["serving"] == [1]
        assert served.inventory("warm")["serving"] == []
        with pytest.raises(grpc.RpcError) as refusal:
            client.half("warm")
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        client.channel.close()


def test_while_serving_it_is_held_back_until_its_files_change(served: Served) -> None:
    served.publish("half_plus_two", "net", 1)
    with served.running() as command:
        command.said("serving on")
        client, answers, stop = Client(served.port), [], threading.Event()

        def call() -> None:
            while not stop.is_set():
                answers.append(client.half("net"))

        traffic = threading.Thread(target=call)
        traffic.start()
        try:
            bad = served.publish("half_plus_three", "net", 2, flip_a_byte)
            wait_until(lambda: served.reason("net", 2).startswith("does not load"), what="the quarantine")
            assert served.inventory("net")["serving"] == [1]
            (bad / DATA).touch()  # the way to have it tried again
            command.said(r"(?s)net version 2: failed.*net version 2: failed")
            wait_until(lambda: served.reason("net", 2).startswith("does not load"), what="the second quarantine")
            flip_a_byte(bad)
            wait_until(lambda: answers[-1] == (2, 4.0), what="the repaired version")
        finally:
            stop.set()
            traffic.join()
        wait_until(lambda: served.inventory("net")["serving"] == [2], what="the old version to be left")
        assert set(answers) == {(1, 3.0), (2, 4.0)}
        assert answers == sorted(answers)
        client.channel.close()


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TensorFlow Serving's stand-in on the PATH."""
    program = tfs_stand_in.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@pytest.mark.parametrize("server", ["embedded", "binary"])
def test_a_version_that_ends_the_server_stays_out(server: str, served: Served, request: pytest.FixtureRequest) -> None:
    if server == "binary":
        request.getfixturevalue("binary")
    served.publish("half_plus_two", "good", 1)
    bad = served.publish("aborting_in_warm_up", "bad", 1)
    with served.running() as command:
        assert served.answer("good") == (1, 3.0)
        wait_until(lambda: served.reason("bad", 1), 60, "the quarantine")
        assert "ended the model server while it was loaded or warmed up (Aborted)" in served.reason("bad", 1)
        assert command.text().count("it is started again") == 1
        served.publish("aborting_in_load", "good", 2)
        wait_until(lambda: "ended the model server" in served.reason("good", 2), 60, "the quarantine while serving")
        assert served.answer("good") == (1, 3.0)
        shutil.rmtree(served.models / "good" / "2")
        wait_until(lambda: not served.reason("good", 2), what="the deleted version to be forgotten")
    with served.running() as command:
        assert served.answer("good") == (1, 3.0)
        wait_until(lambda: "ended the model server" in served.reason("bad", 1), 60, "the quarantine after a restart")
        assert "it is started again" not in command.text()
        shutil.rmtree(bad)
        served.publish("half_plus_three", "bad", 1)
        client = Client(served.port)
        wait_until(lambda: client.available("bad") == [1], what="the version that took its place")
        client.channel.close()


def test_calls_that_end_the_server_quarantine_their_version(served: Served) -> None:
    served.publish("half_plus_two", "good", 1)
    bad = served.publish("aborting", "bad", 1)
    with served.running() as command:
        for crash in range(1, 4):
            assert served.answer("good") == (1, 3.0)
            client = Client(served.port)
            wait_until(lambda client=client: client.available("bad") == [1], what="the version that will crash")
            with pytest.raises(grpc.RpcError) as failure:
                client.half("bad")
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
            client.channel.close()
            command.said(rf"(?s)(crashed while calls of {bad} were running: Fatal Python error: Aborted.*){{{crash}}}")
        assert served.answer("good") == (1, 3.0)
        wait_until(lambda: served.reason("bad", 1), 60, "the quarantine")
        assert "ended the model server 3 times while it answered calls (Aborted)" in served.reason("bad", 1)


def test_the_call_that_crashed_the_server_is_not_run_again(served: Served) -> None:
    """Known by its request id, if it ran alone; other calls with the id are run."""
    served.publish("half_plus_two", "good", 1)
    served.publish("aborting", "bad", 1)
    culprit, repeat = ("x-request-id", "deadly"), ("x-previous-attempts", "1")
    with served.running() as command:
        assert served.answer("good") == (1, 3.0)
        client = Client(served.port)
        wait_until(lambda: client.available("bad") == [1], what="the version that will crash")
        with pytest.raises(grpc.RpcError) as failure:
            client.half("bad", culprit)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        client.channel.close()
        assert served.answer("good") == (1, 3.0)
        client = Client(served.port)
        with pytest.raises(grpc.RpcError) as failure:
            client.half("bad", culprit, repeat)
        assert failure.value.code() is grpc.StatusCode.DATA_LOSS
        assert client.half("good", culprit) == (1, 3.0)
        assert client.half("good", ("x-request-id", "other"), repeat) == (1, 3.0)
        client.channel.close()
        assert command.text().count("it is started again") == 1


@pytest.mark.usefixtures("binary")
def test_a_server_that_gives_up_over_a_version_is_started_without_it(served: Served) -> None:
    served.publish("half_plus_two", "net", 1)
    served.publish("badly_warmed", "net", 2)
    served.publish("half_plus_three", "other", 1)
    for start, ends in (("first", 1), ("second", 0)):
        with served.running() as command:
            assert served.answer("other") == (1, 4.0)
            assert served.answer("net") == (1, 3.0)
            assert command.text().count("the model server ended (exit code 255)") == ends
            # Once it answers, what did not load is tried again.
            command.said(r"(?s)the model server answers.*Loading servable: {name: net version: 2} failed")
            wait_until(lambda: served.reason("net", 2).startswith("does not load: "), what=f"the {start} quarantine")


def test_a_server_that_cannot_start_for_another_reason_ends_run(served: Served, binary: Path) -> None:
    binary.write_text(f"#!{sys.executable}\nprint('no', flush=True)\nraise SystemExit(255)\n")
    served.publish("half_plus_two", "net", 1)
    where = ("--models", served.models, "--inventory-port", 0, "--rest-port", 1, "--poll-seconds", 0.05)
    with Command(served.models / ".log", "run", *where) as command:
        assert command.process.wait(20) == 1
        assert command.text().count("no\n") == 1
        assert "the model server ended by itself (exit code 255); the watcher stops too" in command.text()


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (404, b'{"error": "..."}', {"net": {}}),
        (
            200,
            b'{"model_version_status": [{"version": "2", "state": "END", "status": {"error_code": "NOT_FOUND"}},'
            b' {"version": "1", "state": "AVAILABLE"}]}',
            {"net": {2: VersionState("END", "NOT_FOUND"), 1: VersionState("AVAILABLE", "")}},
        ),
        (200, b"<html>", {}),
        (200, b'{"model_version_status": 7}', {}),
        (200, b'{"model_version_status": [{"version": []}]}', {}),
        (200, b"[" * 100_000, {}),
        (200, b'{"model_version_status": [' + b" " * 2_000_000 + b"]}", {}),
    ],
    ids=["404", "states", "html", "no list", "no version", "deep", "huge"],
)
def test_whatever_answers_in_the_model_servers_place_is_borne(
    status: int, body: bytes, found: dict[str, dict[int, VersionState]]
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            assert ModelServer(f"127.0.0.1:{server.server_port}").states(["net"]) == found
        finally:
            server.shutdown()
    assert ModelServer(f"127.0.0.1:{server.server_port}").states(["net"]) == {}
