"""kubectl: the user's own if it is new enough, else the pinned one, installed once into the state folder."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import console
from ..errors import EngineError
from ..settings import ROOT, Settings

LOCK = ROOT / ".deploy" / "kubernetes" / "requirements.txt"
_OLDEST = (1, 32)  # the oldest version whose kustomize is known to render every combination
_SECONDS = 30  # for one request to the cluster


@dataclass(frozen=True)
class Kubectl:
    """A kubectl, with the context of the user's kubeconfig ("" for none) and the namespace of its commands."""

    program: str
    context: str = ""
    namespace: str = ""

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command line."""
        context = ["--context", self.context] if self.context else []
        namespace = ["--namespace", self.namespace] if self.namespace else []
        return [self.program, *context, *namespace, *arguments]

    def output(self, *arguments: str, given: str | None = None) -> str:
        """Run it, and return what it printed. Raises EngineError with kubectl's error output."""
        code, printed, errors = self.try_run(*arguments, given=given)
        if code:
            raise EngineError(f"kubectl {arguments[0]} failed: {errors or f'exit code {code}'}")
        return printed

    def try_run(self, *arguments: str, given: str | None = None) -> tuple[int, str, str]:
        """Run it, and return the exit code, what it printed, and its errors. Raises EngineError after 30 seconds."""
        command = self.command(*arguments)
        try:
            done = subprocess.run(
                command, input=given or "", capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"kubectl {arguments[0]} got no answer from the cluster in {_SECONDS} s") from None
        return done.returncode, done.stdout, done.stderr.strip()

    def show(self, *arguments: str) -> int:
        """Run it on the user's terminal; return the exit code."""
        sys.stdout.flush()
        return subprocess.run(self.command(*arguments), check=False).returncode


def find(settings: Settings) -> Kubectl:
    """Return the kubectl to use. Raises EngineError if there is none and the pinned one cannot be installed."""
    own = shutil.which("kubectl")
    if own and version(own) >= _OLDEST:
        return Kubectl(own)
    return Kubectl(str(_pinned(settings)))


def version(program: str) -> tuple[int, int]:
    """Return its major and minor version; (0, 0) if they cannot be determined."""
    try:
        command = [program, "version", "--client", "--output", "json"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        found = json.loads(done.stdout)["clientVersion"]
        return int(found["major"]), int(found["minor"].rstrip("+"))
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return 0, 0


def _pinned(settings: Settings) -> Path:
    folder = settings.home / "kubectl"
    program, stamp = folder / "bin" / "kubectl", folder / "installed"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if program.exists() and stamp.exists() and stamp.read_text() == wanted:
        return program
    settings.make_home()
    shutil.rmtree(folder, ignore_errors=True)
    with console.Progress("installing kubectl"):
        _run([sys.executable, "-m", "venv", str(folder)])
        options = [
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--disable-pip-version-check",
            "--no-input",
        ]
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", *options, "--requirement", str(LOCK)])
    stamp.write_text(wanted)
    return program


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).strip().splitlines()[-6:])
        raise EngineError(f"kubectl could not be installed; any kubectl from 1.32 on, on the PATH, will do\n{last}")
