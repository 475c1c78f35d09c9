"""`python -m tensor_rest run`: nginx and uWSGI as one process that stops at a signal, or ends when one of them does."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gateway_kit import HTTP, PROJECT, free_port, image_file, unused_address, wait_until
from toy_model_server import Model, ModelServer

pytestmark = pytest.mark.skipif(
    shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="nginx is not installed"
)


class Run:
    """The command as a process, and the processes it started."""

    def __init__(self, folder: Path, front: str = "nginx", port: int = 0, **more: str) -> None:
        self.folder, self.log, self.port = folder / "run", folder / "log", port or free_port()
        environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "TENSOR_REST_RUN_DIR": str(self.folder),
            "TENSOR_REST_PORT": str(self.port),
            "TENSOR_REST_FRONT": front,
            "TF_SERVER_INVENTORY_URL": unused_address(),
            **more,
        }
        with self.log.open("wb") as file:
            command = [sys.executable, "-m", "tensor_rest", "run"]
            self.process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)

    def text(self) -> str:
        return self.log.read_text()

    def answers(self) -> bool:
        assert self.process.poll() is None, self.text()
        try:
            return HTTP.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    def status(self) -> int | None:
        """Of the first connection that is accepted; None as long as they are refused."""
        assert self.process.poll() is None, self.text()
        try:
            return HTTP.get(f"http://127.0.0.1:{self.port}/healthz").status_code
        except httpx.ConnectError:
            return None

    def is_ready(self) -> bool:
        try:
            return HTTP.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def post(self) -> int:
        """The status of an image's classification."""
        image = {"image": ("digit.png", image_file(60))}
        return HTTP.post(f"http://127.0.0.1:{self.port}/predictlabel", files=image).status_code

    def programs(self) -> dict[str, int]:
        """The two masters by name: the direct children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
        return {"nginx" if b"nginx" in line else "uwsgi": pid for pid, line in lines.items()}

    def leftovers(self) -> list[str]:
        """Living processes that carry this run's folder in their environment."""
        mark, found = f"TENSOR_REST_RUN_DIR={self.folder}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().decode())
            except OSError:
                continue
        return found


@pytest.fixture
def slow_uwsgi(tmp_path: Path) -> Path:
    """A folder for the PYTHONPATH with which uWSGI takes two seconds more to start."""
    code = "import sys, time\nif sys.orig_argv[-1] == 'uwsgi':\n    time.sleep(2)\n"
    (tmp_path / "sitecustomize.py").write_text(code, encoding="utf-8")
    return tmp_path


def test_the_first_connection_that_is_accepted_is_answered(slow_uwsgi: Path) -> None:
    """Until uWSGI listens, however long that takes, they are refused: a client with several gateways takes another."""
    started = Run(slow_uwsgi, PYTHONPATH=f"{slow_uwsgi}{os.pathsep}{PROJECT}")
    try:
        assert wait_until(started.status) == 200
    finally:
        started.process.terminate()
        started.process.wait(20)


def test_term_before_uwsgi_listens_ends_it_without_a_connection(slow_uwsgi: Path) -> None:
    started = Run(slow_uwsgi, PYTHONPATH=f"{slow_uwsgi}{os.pathsep}{PROJECT}", TENSOR_REST_DRAIN_SECONDS="60")
    wait_until(lambda: started.leftovers()[1:])  # uWSGI's process is there
    started.process.terminate()
    assert started.process.wait(20) == 0
    assert "nginx" not in started.text()
    assert started.leftovers() == []


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started = Run(tmp_path)
    try:
        wait_until(started.answers)
        yield started
    finally:
        started.process.terminate()
        started.process.wait(20)
    assert started.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_stops_both_and_the_exit_code_is_zero(run: Run, number: signal.Signals) -> None:
    assert set(run.programs()) == {"nginx", "uwsgi"}
    run.process.send_signal(number)
    assert run.process.wait(20) == 0
    assert run.leftovers() == []
    assert "goodbye to uWSGI" in run.text()
    assert "ended by itself" not in run.text()
    assert "Traceback" not in run.text()


def test_term_while_a_worker_starts_is_not_lost(run: Run) -> None:
    workers = re.findall(r"spawned uWSGI worker \d+ \(pid: (\d+)", run.text())
    os.kill(int(workers[0]), signal.SIGKILL)
    wait_until(lambda: "Respawned uWSGI worker" in run.text())
    run.process.terminate()
    assert run.process.wait(20) == 0
    wait_until(lambda: run.leftovers() == [], 5)


@pytest.fixture
def toy() -> Iterator[ModelServer]:
    server = ModelServer(mnist_net=Model()).start()
    yield server
    server.stop()


@pytest.fixture
def pair(toy: ModelServer, tmp_path: Path) -> Iterator[list[Run]]:
    """Two gateways before one model server, both ready."""
    more = {"TF_SERVER_HOST_PORT": toy.address, "TENSOR_REST_DRAIN_SECONDS": "2"}  # a busy machine looks late
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    runs = [Run(tmp_path / name, **more) for name in ("a", "b")]
    try:
        for run in runs:
            wait_until(lambda run=run: run.answers() and run.is_ready())
        yield runs
    finally:
        for run in runs:
            run.process.terminate()
            run.process.wait(20)


def test_term_beside_a_second_gateway_loses_no_call(pair: list[Run], toy: ModelServer) -> None:
    """A call waits in the model server meanwhile, others come all the time: from a client that goes by /readyz."""
    held, let_go, over = threading.Event(), threading.Event(), threading.Event()

    def balanced() -> list[int]:
        """Statuses of calls one after the other, each to the first gateway that is ready."""
        found = []
        while not over.is_set():
            found.append(next(run for run in pair if run.is_ready()).post())
        return found

    def hold(_: object) -> None:
        toy.on_images = lambda _: None
        held.set()
        let_go.wait(30)

    toy.on_images = hold
    with ThreadPoolExecutor(5) as pool:
        try:
            first = pool.submit(pair[0].post)
            assert held.wait(30)
            callers = [pool.submit(balanced) for _ in range(4)]
            pair[0].process.terminate()
            wait_until(lambda: not pair[0].is_ready())
            assert pair[0].process.poll() is None  # for the call in flight
            let_go.set()
            assert pair[0].process.wait(20) == 0
            assert first.result(30) == 200
            before = len(toy.calls)
            wait_until(lambda: len(toy.calls) > before + 20)
        finally:
            let_go.set()
            over.set()
        assert [set(caller.result(30)) for caller in callers] == [{200}] * 4
    assert "Traceback" not in pair[0].text()


def test_one_that_does_not_listen_is_killed(run: Run) -> None:
    os.kill(run.programs()["nginx"], signal.SIGSTOP)
    run.process.terminate()
    assert run.process.wait(20) == 0
    wait_until(lambda: run.leftovers() == [], 5)


@pytest.mark.parametrize("victim", ["nginx", "uwsgi"])
def test_if_one_ends_the_other_is_stopped_and_it_fails(run: Run, victim: str) -> None:
    os.kill(run.programs()[victim], signal.SIGKILL)
    assert run.process.wait(20) == 1
    wait_until(lambda: run.leftovers() == [], 5)
    assert f"{victim} ended by itself (exit code -9), so the whole gateway stops." in run.text()
    assert "Traceback" not in run.text().partition("ended by itself")[2]


def test_a_program_that_cannot_start_ends_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Run(tmp_path / "second", port=run.port)
    assert second.process.wait(30) == 1
    assert "nginx ended by itself" in second.text()
    assert "Address already in use" in second.text()
    assert second.leftovers() == []


def test_without_nginx_uwsgi_is_the_whole_gateway(tmp_path: Path) -> None:
    run = Run(tmp_path, front="uwsgi")
    try:
        wait_until(run.answers)
        assert set(run.programs()) == {"uwsgi"}
    finally:
        run.process.terminate()
        assert run.process.wait(20) == 0
    assert run.leftovers() == []
