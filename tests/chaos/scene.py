"""What every fault is staged with: a lab, loads at it, figures, and programs of the lab by themselves."""

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lab_engine.chaos.load import Client, Load, Summary
from tests.chaos.processes import tree
from tests.running import ROOT, SAMPLES, Answer, Lab, free_ports, new_lab, wait_until

CRASH_MODEL = ROOT / ".deploy" / "lab_engine" / "chaos" / "inside" / "crash_model.py"
_BOUNDARY = "tensor-lab-chaos"
FORM = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


class SkippedError(Exception):
    """The fault cannot be staged on this machine, for this reason."""


def form(image: bytes) -> bytes:
    """An image as a body of FORM."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'
    return head.encode() + image + f"\r\n--{_BOUNDARY}--\r\n".encode()


IMAGE = form(SAMPLES[0].read_bytes())


@dataclass
class Scene:
    """One run of a fault. `long` is the form whose figures are published; the other takes seconds."""

    long: bool
    given: Lab | None = None  # a running lab to use; else one is started when first used
    undo: ExitStack = field(default_factory=ExitStack)
    figures: dict[str, object] = field(default_factory=dict)

    @cached_property
    def lab(self) -> Lab:
        """A started lab."""
        if self.given:
            return self.given
        lab = self.undo.enter_context(new_lab())
        lab.compose("up")
        return lab

    @cached_property
    def folder(self) -> Path:
        """A folder for this run."""
        found = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.undo.callback(shutil.rmtree, found, ignore_errors=True)
        return found

    def say(self, text: str) -> None:
        sys.stdout.write(f"  {text}\n")
        sys.stdout.flush()

    def note(self, **figures: object) -> None:
        """Keep figures for the record, and print them."""
        rounded = {name: round(value, 1) if isinstance(value, float) else value for name, value in figures.items()}
        self.figures |= rounded
        self.say(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in rounded.items()))

    def note_load(self, summary: Summary, name: str = "") -> Summary:
        """Keep the figures of a load."""
        prefix = f"{name}_" if name else ""
        self.say(f"{name + ': ' if name else ''}{summary}")
        keys = ("calls", "failed", "rate", "p50", "p99", "longest", "outcomes")
        for key in keys:
            value = getattr(summary, key)
            unit = "_ms" if key in ("p50", "p99", "longest") else "_per_s" if key == "rate" else ""
            self.figures[prefix + key + unit] = round(value, 1) if isinstance(value, float) else value
        return summary

    def client(self, path: str = "/tf/mnist/mnist-net", body: bytes | None = IMAGE, **headers: str) -> Client:
        """A request to the lab's gateway; images unless another body is given."""
        return Client(self.lab.url("REST", path), body, FORM | headers)

    @contextmanager
    def load(self, rate: float, client: Callable[[], str] | None = None) -> Iterator[Load]:
        """The load, while the block runs; images to the shipped model unless another client is given."""
        with Load(client or self.client(), rate) as running:
            yield running

    def pause(self, seconds: float) -> None:
        """Let a load go on for a while: what is measured is a span of time."""
        time.sleep(seconds)

    def python(self, *arguments: object, **environment: str) -> str:
        """Run the lab's Python; returns what it printed."""
        command = [sys.executable, *map(str, arguments)]
        paths = os.pathsep.join(str(ROOT / name) for name in ("tensor-rest", "tensor-serving-gpu"))
        variables = {**os.environ, "PYTHONPATH": paths, **environment}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def crash_model(self, when: str, seconds: float = 0.0) -> Path:
        """Export the model that ends its server, into this run's folder."""
        folder = self.folder / f"crash-{when}-{seconds:g}"
        if not folder.exists():
            self.python(CRASH_MODEL, folder / "1", when, seconds)
        return folder

    def publish(self, export: Path, name: str) -> Path:
        """Put a model with its versions into the models folder, by one rename; removed at the end."""
        staged = self.lab.home / "models" / ".staging" / name
        shutil.copytree(export, staged)
        target = staged.rename(self.lab.home / "models" / name)
        self.undo.callback(shutil.rmtree, target, ignore_errors=True)
        return target

    def model(self, name: str) -> dict[str, Any]:
        """What GET /tf/models has of a model; empty while there is none, or no answer."""
        with contextlib.suppress(OSError, ValueError):
            answer = self.lab.get("REST", "/tf/models")
            found = answer.json()["models"] if answer.status == 200 else []
            return next((model for model in found if model["name"] == name), {})
        return {}

    def answers(self) -> bool:
        """Whether the shipped model answers now."""
        with contextlib.suppress(OSError):
            return self.post(SAMPLES[0].read_bytes()).status == 200
        return False

    def post(self, image: bytes, path: str = "/tf/mnist/mnist-net") -> Answer:
        return self.lab.post_image(path, image)

    def seconds_until(self, condition: Callable[[], Any], seconds: float) -> float:
        """How long until the condition holds; infinity if it does not within the time."""
        begin = time.monotonic()
        try:
            wait_until(condition, seconds, "")
        except AssertionError:
            return float("inf")
        return time.monotonic() - begin

    def program(self, *arguments: object, inside: Sequence[str] = (), **environment: str) -> "Program":
        """`python -m` one of the lab's packages, in a process group of its own; ended at the end.

        inside: a command that is put before the program and runs it, such as `sh -c 'exec "$@"' sh`.
        """
        program = Program(self.folder, [*inside, sys.executable, "-m", *map(str, arguments)], environment)
        self.undo.callback(program.kill)
        return program

    def gateway(self, server: str, inventory: str, inside: Sequence[str] = (), **environment: str) -> "Gateway":
        """A gateway of its own, with nginx and uWSGI; ended at the end."""
        port = free_ports(1)[0]
        variables = {
            "TENSOR_REST_PORT": str(port),
            "TENSOR_REST_RUN_DIR": tempfile.mkdtemp(prefix="gateway-", dir=self.folder),
            "TF_SERVER_HOST_PORT": server,
            "TF_SERVER_INVENTORY_URL": inventory,
            **environment,
        }
        program = self.program("tensor_rest", "run", inside=inside, **variables)
        return Gateway(program, f"http://127.0.0.1:{port}")

    def serving(self) -> tuple[str, str]:
        """Where the lab's model server and its inventory are."""
        return f"127.0.0.1:{self.lab.ports['SERVING']}", self.lab.url("INVENTORY")


class Program:
    """A running program with its log."""

    def __init__(self, folder: Path, command: list[str], environment: dict[str, str]) -> None:
        self.log = Path(tempfile.mkstemp(prefix="log-", dir=folder)[1])
        paths = [
            environment.pop("PYTHONPATH", ""),
            *(str(ROOT / name) for name in ("tensor-rest", "tensor-serving-gpu")),
        ]
        variables = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        """End it and what it started, whatever state it is in."""
        for pid in tree(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Gateway:
    """A gateway of its own."""

    program: Program
    url: str

    def client(self, path: str = "/tf/mnist/mnist-net", body: bytes | None = IMAGE, timeout: float = 60) -> Client:
        return Client(self.url + path, body, FORM | {"Connection": "close"}, timeout)

    def wait(self, path: str = "/readyz", seconds: float = 60) -> None:
        """Until it answers."""
        probe = self.client(path, None, timeout=2)
        try:
            wait_until(lambda: probe() == "200", seconds, path)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.program.log.read_text()[-2000:]}") from None


def machine() -> dict[str, object]:
    """The machine in general terms."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / (1 << 30)),
        "python": platform.python_version(),
        "tensorflow": importlib.metadata.version("tensorflow-cpu"),
        "load_average": round(os.getloadavg()[0], 1),
    }


def dump(document: object) -> str:
    return json.dumps(document, indent=1) + "\n"
