"""The docker command: asked with a deadline, so that an engine that hangs is one that does not answer."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from ..errors import EngineError

_SECONDS = 15


def engine_version() -> str | None:
    """The engine's version; None if there is no docker command or no engine answers it within five seconds."""
    if shutil.which("docker") is None:
        return None
    return _ask(["docker", "version", "--format", "{{.Server.Version}}"], 5)


def compose_command() -> list[str] | None:
    """Compose as this machine has it: the plugin (v2), or docker-compose (v1.29 or later); None if neither is there."""
    if shutil.which("docker") and _ask(["docker", "compose", "version"], _SECONDS):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def has_image(reference: str) -> bool:
    """True if the engine has the image."""
    return _ask(["docker", "image", "inspect", "--format", "{{.Id}}", reference], _SECONDS) is not None


def can_pull(reference: str) -> bool:
    """True if the image's registry answers and has it; nothing is downloaded."""
    return _ask(["docker", "manifest", "inspect", "--insecure", reference], _SECONDS) is not None


def inspect(containers: Sequence[str]) -> list[dict[str, Any]]:
    """What the engine knows of the containers; those that do not exist are left out."""
    found: list[dict[str, Any]] = json.loads(_output(["docker", "container", "inspect", *containers]) or "[]")
    return found


def last_lines(container: str, count: int) -> list[str]:
    """The last lines a container wrote."""
    return _output(["docker", "logs", "--tail", str(count), container], stderr=subprocess.STDOUT).splitlines()


def _output(command: list[str], stderr: int = subprocess.DEVNULL) -> str:
    """What the command printed, whatever its exit code; raises EngineError if it takes too long."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise EngineError(f"the Docker engine did not answer {' '.join(command[:3])} within {_SECONDS} s") from None
    return done.stdout


def _ask(command: list[str], seconds: float) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        raise EngineError(f"{command[0]} cannot be run: {error.strerror}") from None
    return done.stdout.strip() if done.returncode == 0 else None
