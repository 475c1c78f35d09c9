"""What the faults have in common: code run inside a service, the load beside them, and what the gateway says."""

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

# Runs inside a service, next to the processes it ends: only those of the same lab, known by its id.
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
_SERVERS = (("tensor_serving", "serve"), ("tensorflow_model_server",))  # words of its command line


@dataclass
class Stage:
    """A running lab on which a fault is staged; `undo` puts everything back, whatever happens."""

    settings: Settings
    undo: ExitStack = field(default_factory=ExitStack)

    def python(self, service: str, code: str, *arguments: str) -> str:
        """Run Python code inside a service; returns what it printed. Raises EngineError with its last words."""
        done = subprocess.run(self._command(service, code, *arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise EngineError(f"the fault could not be staged in {service}: {last}")
        return done.stdout.strip()

    def hold(self, service: str, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Start Python code inside a service; it is ended with the stage."""
        command = self._command(service, code, *arguments)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.undo.callback(_end, process)
        return process

    def kill_model_server(self) -> str:
        """KILL it; returns its process id, or nothing if there is none."""
        killed = (self.python("tensor-serving", _KILL, "9", "all", *words) for words in _SERVERS)
        return next((pid for pid in killed if pid), "")

    def kill_worker(self) -> str:
        """KILL a worker of the gateway; returns its process id, or nothing if there is none."""
        return self.python("tensor-rest", _KILL, "9", "children", "tensor_rest.wsgi:application")

    @contextmanager
    def load(self, rate: float) -> Iterator[Load]:
        """Sample pictures to the shipped model, at so many a second, while the block runs."""
        prepared = sample.request(self.settings)
        assert isinstance(prepared.data, bytes)
        headers = {name.title(): value for name, value in prepared.header_items()}
        with Load(Client(prepared.full_url, prepared.data, headers), rate) as running:
            yield running

    def model(self, name: str) -> dict[str, Any]:
        """What GET /tf/models has of a model; empty while there is none, or no answer."""
        try:
            found = sample.models(self.settings)
        except OSError:
            return {}
        return next((model for model in found if model["name"] == name), {})

    def quarantine(self, name: str, seconds: float) -> str:
        """Wait for the reason why a model is held back; empty if it is not within the time."""
        found: list[dict[str, Any]] = []

        def held() -> bool:
            found[:] = self.model(name).get("quarantined") or []
            return bool(found)

        wait_until(held, seconds)
        return str(found[0]["reason"]) if found else ""

    def answers_again(self, seconds: float) -> float:
        """Wait until the shipped model answers; returns after how many seconds, infinity if not in time."""
        begin = time.monotonic()
        with contextlib.suppress(EngineError):
            sample.classify(self.settings, seconds)
            return time.monotonic() - begin
        return float("inf")

    def pause(self, seconds: float) -> None:
        """Let the load go on; Ctrl-C ends it."""
        threading.Event().wait(seconds)

    def say(self, text: str) -> None:
        console.say(f"  {text}")

    @staticmethod
    def _command(service: str, code: str, *arguments: str) -> list[str]:
        return [str(ROOT / "bin" / "compose.sh"), "exec", service, "python3", "-c", code, *arguments]


def _end(process: subprocess.Popen[str]) -> None:
    """End it by closing its input: signals sent to `docker exec` do not reach the process in the container."""
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
    """The JSON a script printed last."""
    return json.loads(text.splitlines()[-1])


def confirm(sure: bool, what: str) -> None:
    """Raises EngineError unless the user agrees to `what`."""
    if sure:
        return
    if not sys.stdin.isatty():
        raise EngineError(f"this {what}: add --yes if that is meant")
    console.say(f"This {what}. Everything is put back at the end.")
    if input("Type yes to go on: ").strip() != "yes":
        raise EngineError("nothing was done")
