"""What the faults have in common: running code inside a service, the load meanwhile, and the gateway's answers."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import console, sample
from ..errors import EngineError
from ..settings import ROOT, Settings
from ..waiting import wait_until
from .load import Client, Load

_PROGRAMS = Path(__file__).with_name("inside")
_SERVERS = (("tensor_serving", "serve"), ("tensorflow_model_server",))  # words of the model server's command line


@dataclass
class Stage:
    """A running lab into which a fault is injected; `undo` reverts everything in any case."""

    settings: Settings
    engine: str  # auto, docker or local, as chosen for the verb
    undo: ExitStack = field(default_factory=ExitStack)

    def python(self, service: str, program: str, *arguments: str) -> str:
        """Run a program of `inside/` in a service; return its output. Raises EngineError with its last error line."""
        done = subprocess.run(self._command(service, program, *arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise EngineError(f"the fault could not be staged in {service}: {last}")
        return done.stdout.strip()

    def hold(self, service: str, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program of `inside/` in a service; `undo` ends it."""
        command = self._command(service, program, *arguments)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.undo.callback(_end, process)
        return process

    def kill_model_server(self) -> str:
        """Send SIGKILL to the model server; return its process id, empty if there is none."""
        killed = (self.python("tensor-serving", "kill_process", "9", "all", *words) for words in _SERVERS)
        return next((pid for pid in killed if pid), "")

    def kill_worker(self) -> str:
        """Send SIGKILL to a worker of the gateway; return its process id, empty if there is none."""
        return self.python("tensor-rest", "kill_process", "9", "children", "tensor_rest.wsgi:application")

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

    def _command(self, service: str, program: str, *arguments: str) -> list[str]:
        code = (_PROGRAMS / f"{program}.py").read_text(encoding="utf-8")
        run = [str(ROOT / "bin" / "compose.sh"), "--engine", self.engine, "exec", service]
        return [*run, "python3", "-c", code, *arguments]


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
