"""What the tests share: waiting, free ports, images, and the two real fronts as processes."""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tensor_rest.settings import Settings

PROJECT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"
HTTP = httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=None))
"""One for all tests: making a client costs more than most requests. With a bound on what it keeps, its pool could close
the connection that another thread's request was just given."""
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value of `condition`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{condition} was not met within {seconds} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_project() -> dict[str, str]:
    """The environment in which a program finds the gateway's package."""
    return {**os.environ, "PYTHONPATH": str(PROJECT)}


def played(program: str, *arguments: str) -> str:
    """What one of `PROGRAMS` prints in a process of its own: gevent's patches are for a whole one. It logs nothing."""
    command = [sys.executable, str(PROGRAMS / program), *arguments]
    done = subprocess.run(command, env=with_project(), capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout


def unused_address() -> str:
    """An address where no watcher answers; a running lab on this machine has one at the default."""
    return f"http://127.0.0.1:{free_port()}/"


def check_error(response: Any, status: int, *texts: str) -> None:
    """The one shape of errors, and each text in the message."""
    assert response.status_code == status, response.text
    assert set(response.json) == {"message", "code", "request_id"}
    assert response.json["code"] == status
    assert response.json["request_id"] == response.headers["X-Request-Id"]
    for text in texts:
        assert text in response.json["message"]
    assert "Traceback" not in response.text


def check_http_error(response: httpx.Response, status: int) -> None:
    """The same over HTTP, with the headers an error carries."""
    assert response.status_code == status, response.text
    document = response.json()
    assert set(document) == {"message", "code", "request_id"}
    assert (document["code"], document["request_id"]) == (status, response.headers["X-Request-Id"])
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers.get_list("X-Request-Id") == [document["request_id"]]


def image_file(level: int, size: tuple[int, int] = (28, 28), kind: str = "PNG", mode: str = "L") -> bytes:
    """An image of one grey level; see toy_model_server for the digit it is."""
    file = io.BytesIO()
    Image.new(mode, size, level if mode == "L" else (level,) * 3).save(file, kind)
    return file.getvalue()


@dataclass
class Front:
    """The running programs of one front; `log` is what they wrote."""

    url: str
    kind: str
    run_dir: Path
    log: Path
    processes: list[subprocess.Popen[bytes]]

    def stop(self) -> list[int]:
        """TERM, as the process manager does; the exit codes."""
        for process in self.processes:
            process.terminate()
        return [process.wait(20) for process in self.processes]

    def alive(self) -> list[int]:
        """Process groups of ours that still have a member."""
        return [process.pid for process in self.processes if _group_lives(process.pid)]

    def kill(self) -> None:
        for pid in self.alive():
            os.killpg(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()


def metric(front: Front, name: str, **headers: str) -> float:
    """The value of a metric without labels, over all workers."""
    text = HTTP.get(f"{front.url}/metrics", headers=headers).text
    return float(re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)[0])


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def start_front(kind: str, run_dir: Path, server: str, user: int | None = None, **environment: str) -> Front:
    """Start uWSGI, and nginx where `kind` is nginx, and wait until they answer."""
    port = environment.get("TENSOR_REST_PORT") or str(free_port())
    environment = {
        **with_project(),
        "TENSOR_REST_RUN_DIR": str(run_dir),
        "TENSOR_REST_FRONT": kind,
        "TENSOR_REST_PORT": port,
        "TF_SERVER_HOST_PORT": server,
        "TF_SERVER_INVENTORY_URL": unused_address(),
        "TF_SERVER_TIMEOUT_SECONDS": "5",
        **environment,
    }
    log = run_dir.parent / f"{run_dir.name}.log"
    front = Front(f"http://127.0.0.1:{port}", kind, run_dir, log, [])
    earlier = log.read_text().count("WSGI app 0") if log.exists() else 0
    with log.open("ab") as file:
        for program in ["uwsgi", "nginx"] if kind == "nginx" else ["uwsgi"]:
            command = [sys.executable, "-m", "tensor_rest", program]
            front.processes.append(
                subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True, user=user)
            )
    workers = int(environment.get("TENSOR_REST_PROCESSES") or Settings().processes)
    try:
        wait_until(lambda: _answers(front) and log.read_text().count("WSGI app 0") == earlier + workers)
    except BaseException:
        front.kill()
        print(log.read_text())  # noqa: T201 - pytest shows it with the failure
        raise
    return front


def _answers(front: Front) -> bool:
    dead = [process.args for process in front.processes if process.poll() is not None]
    assert not dead, f"{dead} ended: {front.log.read_text()}"
    try:
        return HTTP.get(f"{front.url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False
