"""What is said of an engine that cannot run the lab, and of a registry that does not give its images."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lab_engine import __main__, choice, memory, settings
from lab_engine.docker import client
from lab_engine.docker.deployment import Deployment
from lab_engine.errors import EngineError

CONFIG_FAILS = 'case "$*" in *" config "*) exit 1;; esac\ncase $1 in'
DENIED = "permission denied while trying to connect to the Docker daemon socket"


def docker_that(path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, str]) -> None:
    """Put a docker command in front of the PATH that prints the words for its first argument, or fails with them."""
    lines = [
        f"{name}) echo '{output.removeprefix('!')}' {'>&2; exit 1' if output[:1] == '!' else ''};;"
        for name, output in words.items()
    ]
    (path / "docker").write_text("#!/bin/sh\ncase $1 in\n" + "\n".join(lines) + "\nesac\n")
    (path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"version": f"!{DENIED}"}, "usermod -aG docker"),
        ({"version": "!Cannot connect to the Docker daemon"}, "no Docker engine answers (Cannot connect"),
        ({"context": "ssh://me@elsewhere"}, "on another machine (ssh://me@elsewhere)"),
        ({"context": "tcp://192.0.2.1:2376"}, "on another machine"),
        ({"info": '["name=seccomp,profile=default","name=rootless"]'}, "maps user ids (rootless)"),
        ({"info": '["name=userns"]'}, "maps user ids (userns)"),
        ({"context": "tcp://127.0.0.1:2375", "info": '["name=selinux"]'}, None),
        ({"context": "unix:///run/user/1000/docker.sock"}, None),
    ],
)
def test_engine_that_cannot_run_the_lab_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, str], text: str | None
) -> None:
    usual = {"version": "28.0", "context": "unix:///var/run/docker.sock", "info": "[]", "compose": "v2"}
    docker_that(tmp_path, monkeypatch, usual | words)
    obstacle = choice.engine_obstacle()
    assert (text in obstacle) if text and obstacle else obstacle is text


@pytest.mark.parametrize(
    ("words", "images", "serving", "files"),
    [
        ([], "r:1/g/*:mine", "embedded", "one.yml"),
        (["--tag", "other"], "r:1/g/*:other", "embedded", "one.yml"),
        (["--gpu"], "r:1/g/*:mine", "gpu", "one.yml gpu-compose.yml"),
        (["--serving", "auto", "--registry", "r:2"], "r:2/g/*:mine", "cpu", "one.yml"),
        (["--file", "two.yml"], "r:1/g/*:mine", "embedded", "two.yml"),
    ],
)
def test_up_of_a_running_lab_changes_only_what_is_given(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    images: str,
    serving: str,
    files: str,
) -> None:
    usual = {"version": "28.0", "info": "[]", "image": "id", "compose": "v2"}
    docker_that(tmp_path, monkeypatch, usual)
    (tmp_path / "docker").write_text((tmp_path / "docker").read_text().replace("case $1 in", CONFIG_FAILS))
    (tmp_path / "two.yml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    lab = settings.load()
    Deployment("mine", ("one.yml",), "r:1", "g", "mine", "embedded", replicas=2).save(lab)
    memory.note(lab, "docker", up=True)
    assert __main__.main(["up", *words]) == 1
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("  "))
    assert (rows["images"], rows["serving"]) == (images, serving)
    assert [Path(file).name for file in rows["compose"].split(", ")] == files.split()
    assert "cannot be had" not in rows["engine"]


@pytest.fixture
def strict_registry() -> Iterator[str]:
    """HOST:PORT of a registry that wants a login for everything."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("WWW-Authenticate", 'Basic realm="lab"')
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(client.engine_version() is None, reason="no Docker engine answers")
def test_registry_that_wants_a_login_is_an_error_and_one_that_is_not_there_is_not(strict_registry: str) -> None:
    with pytest.raises(EngineError, match=f"no basic auth credentials.*docker login {strict_registry}"):
        client.pull(f"{strict_registry}/lab/tensor-rest:latest")
    assert client.pull("localhost:1/lab/tensor-rest:latest") is False
    with pytest.raises(EngineError, match=r"registry.invalid:5000/lab/x:1 cannot be pulled "):
        client.pull("registry.invalid:5000/lab/x:1")
