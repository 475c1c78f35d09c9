"""What the faults have in common: running code inside a service, the load meanwhile, and the gateway's answers."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from .. import console, sample
from ..errors import EngineError
from ..settings import ROOT, Settings
from ..waiting import wait_until
from .load import Client, Load

# Runs inside the service whose process it ends: only processes with the same lab id.
_KILL = """
import os, pathlib, sys

def read(pid, name):
    try:
        return pathlib.Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""

mark = b"LAB_ID=" + os.environ.get("LAB_ID", "").encode()
def matches(pid):
    words = read(pid, "cmdline").split(b"\\0")
    ours = mark in read(pid, "environ").split(b"\\0") or mark == b"LAB_ID="
    return ours and all(word.encode() in (*words, words[0].rpartition(b"/")[2]) for word in sys.argv[3:])

pids = [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")]
found = [pid for pid in pids if pid != os.getpid() and matches(pid)]
def parent(pid):
    return int((read(pid, "stat").rpartition(b")")[2].split() or [0, 0])[1])
if sys.argv[2] == "children":
    found = [pid for pid in found if parent(pid) in found]
for pid in sorted(found)[:1]:
    os.kill(pid, int(sys.argv[1]))
    print(pid)
"""
_SERVERS = (("tensor_serving", "serve"), ("tensorflow_model_server",))  # words of the model server's command line


@dataclass
class Stage:
    """A running lab into which a fault is injected; `undo` reverts everything in any case."""

    settings: Settings
    undo: ExitStack = field(default_factory=ExitStack)

    def python(self, service: str, code: str, *arguments: str) -> str:
        """Run Python code inside a service; return what it printed. Raises EngineError with its last error line."""
        done = subprocess.run(self._command(service, code, *arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise EngineError(f"the fault could not be staged in {service}: {last}")
        return done.stdout.strip()

    def hold(self, service: str, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Start Python code inside a service; `undo` ends it."""
        command = self._command(service, code, *arguments)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.undo.callback(_end, process)
        return process

    def kill_model_server(self) -> str:
        """Send SIGKILL to the model server; return its process id, empty if there is none."""
        killed = (self.python("tensor-serving", _KILL, "9", "all", *words) for words in _SERVERS)
        return next((pid for pid in killed if pid), "")

    def kill_worker(self) -> str:
        """Send SIGKILL to a worker of the gateway; return its process id, empty if there is none."""
        return self.python("tensor-rest", _KILL, "9", "children", "tensor_rest.wsgi:application")

    @contextmanager
    def load(self, rate: float) -> Iterator[Load]:
        """Send sample images to the shipped model, at `rate` per second, while the block runs."""
        prepared = sample.request(self.settings)
        assert isinstance(prepared.data, bytes)
        headers = {name.title(): value for name, value in prepared.header_items()}
        with Load(Client(prepared.full_url, prepared.data, headers), rate) as running:
            yield running

    def model(self, name: str) -> dict[str, Any]:
        """Return a model's entry in GET /tf/models; empty if there is none, or no answer."""
        try:
            found = sample.models(self.settings)
        except OSError:
            return {}
        return next((model for model in found if model["name"] == name), {})

    def quarantine(self, name: str, seconds: float) -> str:
        """Wait until a model is quarantined and return the reason; empty if it is not within this time."""
        found: list[dict[str, Any]] = []

        def held() -> bool:
            found[:] = self.model(name).get("quarantined") or []
            return bool(found)

        wait_until(held, seconds)
        return str(found[0]["reason"]) if found else ""

    def answers_again(self, seconds: float) -> float:
        """Wait until the shipped model answers; return the seconds that took, infinity if it does not in time."""
        begin = time.monotonic()
        with contextlib.suppress(EngineError):
            sample.classify(self.settings, seconds)
            return time.monotonic() - begin
        return float("inf")

    def pause(self, seconds: float) -> None:
        """Wait while the load continues; Ctrl-C interrupts it."""
        threading.Event().wait(seconds)

    def say(self, text: str) -> None:
        console.say(f"  {text}")

    @staticmethod
    def _command(service: str, code: str, *arguments: str) -> list[str]:
        return [str(ROOT / "bin" / "compose.sh"), "exec", service, "python3", "-c", code, *arguments]


def _end(process: subprocess.Popen[str]) -> None:
    """End a process by closing its input, as signals to `docker exec` do not reach the process in the container."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def parse(text: str) -> Any:
    """Return the JSON that a script printed last."""
    return json.loads(text.splitlines()[-1])


def confirm(sure: bool, what: str) -> None:
    """Raise EngineError unless the user agrees to `what`."""
    if sure:
        return
    if not sys.stdin.isatty():
        raise EngineError(f"this {what}: add --yes if that is meant")
    console.say(f"This {what}. Everything is put back at the end.")
    if input("Type yes to go on: ").strip() != "yes":
        raise EngineError("nothing was done")
