"""A lab of the tests' own, on free ports: as local processes that share the clone's environment, or in Docker."""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((ROOT / "tensor-rest" / "data" / "mnist").glob("mnist_*.jpg"))
_NUMBERS = itertools.count()
PORT_NAMES = tuple(re.findall(r"^LAB_(\w+)_PORT=", (ROOT / "versions.env").read_text(), re.MULTILINE))
UNPUBLISHED = ("SERVING_REST", "INVENTORY")  # in Docker

# Loopback never goes through a proxy.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Lab:
    """bin/compose.sh with the environment of one lab, and its addresses."""

    engine: str  # local or docker
    home: Path
    ports: dict[str, int]
    output: str = ""  # what the `up` that started it printed
    project: str = field(default_factory=lambda: f"lab-test-{os.getpid()}-{next(_NUMBERS)}")  # in Docker

    @property
    def environment(self) -> dict[str, str]:
        ports = {f"LAB_{name}_PORT": str(port) for name, port in self.ports.items()}
        own = {"LAB_HOME": str(self.home), "LAB_ENGINE": self.engine, "LAB_OFFLINE": "1"}
        own["LAB_MODEL_SERVERS"] = "1"  # on a machine of many cores too
        if self.engine == "docker":  # a project of the tests' own: no user's containers and volumes are touched
            own |= {"LAB_PROJECT": self.project, "LAB_SERVING": "embedded"}
        return {**os.environ, **own, **ports}

    def command(self, *arguments: str) -> list[str]:
        return [str(ROOT / "bin" / "compose.sh"), *arguments]

    def compose(self, *arguments: str, code: int | None = 0, **changes: str) -> str:
        """Run bin/compose.sh, check its exit code, and return what it printed on both streams."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment | changes,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
        )
        assert code is None or done.returncode == code, f"exit code {done.returncode}, wanted {code}:\n{done.stdout}"
        return done.stdout

    def url(self, port: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def get(self, port: str, path: str = "/", **headers: str) -> Answer:
        return request(urllib.request.Request(self.url(port, path), headers=headers))

    def post_image(self, path: str, image: bytes | Path) -> Answer:
        return request(urllib.request.Request(self.url("REST", path), image_form(image), FORM))

    def processes(self) -> dict[str, tuple[str, int, int]]:
        """What `ps` shows: process -> (state, pid, restarts)."""
        lines = [line.split() for line in self.compose("ps").splitlines()[1:]]
        return {line[1]: (line[2], int(line[3].replace("-", "0")), int(line[5])) for line in lines}

    def leftovers(self) -> list[str]:
        """What is still there: processes of the lab's state folder, containers, volumes."""
        mark, found = str(self.home).encode(), []
        if self.engine == "docker":
            commands = (["ps", "--all", "--format", "{{.Names}}"], ["volume", "ls", "--format", "{{.Name}}"])
            listed = [
                subprocess.run(["docker", *words], capture_output=True, text=True, check=True) for words in commands
            ]
            found = [name for done in listed for name in done.stdout.split() if name.startswith(self.project)]
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                cwd = os.fsencode((folder / "cwd").readlink())  # of nginx, which writes over its environment
                if mark in (folder / "environ").read_bytes() or mark in cwd:
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found

    def container(self, name: str) -> str:
        """The name of a container, or volume, of this lab."""
        return f"{self.project}-{name}"

    def stop_model_server(self) -> None:
        """Stop the model server as no verb does; `up` starts it again."""
        if self.engine == "docker":
            command = ["docker", "stop", self.container("tensor-serving-cpu")]
        else:
            address = f"unix://{self.home}/run/supervisor.sock"
            control = [str(self.home / "venv" / "bin" / "python"), "-m", "supervisor.supervisorctl", "-s", address]
            command = [*control, "stop", "tensor-serving:model-server"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    @property
    def notebooks(self) -> Path:
        """The folder of the notebooks that people edit, on the host."""
        return self.home / "workspace" / "notebook"

    def notebook(self, host_path: Path) -> str:
        """The path of one of them as the workbench sees it."""
        if self.engine == "local":
            return str(host_path)
        return f"/opt/tensor-jupyter/notebook/{host_path.relative_to(self.notebooks)}"


@contextmanager
def new_lab(engine: str = "local") -> Iterator[Lab]:
    """A lab that is not started; whatever of it runs at the end is ended, and its folder and volumes removed."""
    home = Path(tempfile.mkdtemp(prefix="lab-"))
    (home / "venv").symlink_to(ROOT / ".lab" / "venv")
    lab = Lab(engine, home, dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True)))
    try:
        yield lab
    finally:
        lab.compose("down", "--volumes", "--yes", code=None)
        left = lab.leftovers()
        shutil.rmtree(home, ignore_errors=True)
        assert not left, f"left behind: {left}"


class Traffic:
    """Images posted to one model without a pause, by several clients at once, until the block ends."""

    def __init__(self, lab: Lab, model: str, clients: int = 4) -> None:
        self.answers: list[str] = []  # the versions that answered, in the order of their answers
        self.failures: list[str] = []
        self._lab, self._path, self._stop = lab, f"/tf/mnist/{model}", threading.Event()
        self._clients = [threading.Thread(target=self._post) for _ in range(clients)]

    def __enter__(self) -> "Traffic":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.join()

    def more(self, count: int = 20) -> None:
        """Wait for so many more answers, or for the first failure."""
        wanted = len(self.answers) + count
        wait_until(lambda: self.failures or len(self.answers) >= wanted, 60, f"{count} more answers")

    def _post(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._lab.post_image(self._path, SAMPLES[0])
            except OSError as error:
                self.failures.append(str(error))
                continue
            if answer.status == 200:
                self.answers.append(answer.headers["X-Model-Version"])
            else:
                self.failures.append(f"{answer.status} {answer.body[:200]!r}")


FORM = {"Content-Type": "multipart/form-data; boundary=b"}
"""The header of a request with an `image_form`."""


def image_form(image: bytes | Path) -> bytes:
    """The body of a form with the one field `image`."""
    content = image.read_bytes() if isinstance(image, Path) else image
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'
    return head + content + b"\r\n--b--\r\n"


def free_ports(count: int) -> list[int]:
    """Ports that were all free at one moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def request(prepared: urllib.request.Request, timeout: float = 60) -> Answer:
    """Send a request; an error status is an answer too. Raises OSError when there is no answer."""
    try:
        with _open(prepared, timeout=timeout) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until the condition gives something true, and return that; fails with `what` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.1)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
