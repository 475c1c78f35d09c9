"""The docker command, with a deadline: an engine that hangs counts as one that does not answer."""

import contextlib
import json
import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from ..errors import EngineError

_SECONDS = 15
_STOP_SECONDS = 10  # until Docker kills a container that it stops: its default
_DRAIN = "TENSOR_REST_DRAIN_SECONDS="
_ABSENT = (
    "manifest unknown",
    "name unknown",
    "not found",
    "repository does not exist",
)  # said by a registry that answers
LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?(/|$)")


def engine_version() -> str | None:
    """The engine's version; None if there is no docker command or no engine answers it within five seconds."""
    if shutil.which("docker") is None:
        return None
    return _ask(["docker", "version", "--format", "{{.Server.Version}}"], 5)


def engine_obstacle() -> str | None:
    """Why no Docker engine of this machine can be used, or None."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    code, printed, errors = _run(["docker", "version", "--format", "{{.Server.Version}}"], 5)
    if code or not printed:
        if "permission denied" in errors:
            return "this user may not use the Docker engine: sudo usermod -aG docker $USER, then log in anew"
        return f"no Docker engine answers ({errors.splitlines()[-1]})" if errors else "no Docker engine answers"
    host = _ask(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], 5) or ""
    if not re.match(r"(unix|npipe|fd):|tcp://(localhost|127\.)", host or "unix:"):
        return f"Docker's engine is on another machine ({host}), without this clone's notebooks: run the lab there"
    options = security_options()
    mapped = [name for name in ("rootless", "userns") if name in options]
    if mapped:
        return (
            f"this Docker engine maps user ids ({mapped[0]}): the workbench could not read its token or write notebooks"
        )
    return None


def cores() -> int:
    """The cores that the engine's containers share; 1 if it does not say."""
    return int(_ask(["docker", "info", "--format", "{{.NCPU}}"], _SECONDS) or 1)


def security_options() -> list[str]:
    """The names of the engine's security options: seccomp, rootless, userns, selinux and others."""
    found = _ask(["docker", "info", "--format", "{{json .SecurityOptions}}"], _SECONDS)
    return re.findall(r"name=(\w+)", found or "")


def compose_command() -> list[str] | None:
    """Compose as this machine has it: the plugin (v2), or docker-compose (v1.29 or later); None if neither is there."""
    if shutil.which("docker") and _ask(["docker", "compose", "version"], _SECONDS):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def has_image(reference: str) -> bool:
    """True if the engine has the image."""
    return _ask(["docker", "image", "inspect", "--format", "{{.Id}}", reference], _SECONDS) is not None


def image_labels(reference: str) -> dict[str, str] | None:
    """The image's labels; None if the engine does not have it."""
    found = _ask(["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", reference], _SECONDS)
    return None if found is None else json.loads(found) or {}


def can_pull(reference: str) -> bool:
    """Return whether the image's registry answers and has it; nothing is downloaded. Only loopback may lack TLS."""
    insecure = ["--insecure"] if LOOPBACK.match(reference) else []
    return _ask(["docker", "manifest", "inspect", *insecure, reference], _SECONDS) is not None


def pull(reference: str, seconds: float | None = None) -> bool:
    """Pull an image; return False if its registry does not have it, or is on this machine and does not run.

    Raises EngineError with the registry's reason, such as a missing login, and TimeoutError after `seconds`.
    """
    try:
        code, _, errors = _run(["docker", "pull", "--quiet", reference], seconds)
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    if code == 0:
        return True
    if any(word in errors for word in _ABSENT) or (LOOPBACK.match(reference) and "connection refused" in errors):
        return False
    registry = reference.partition("/")[0]
    reason = errors.splitlines()[-1] if errors else "no reason given"
    raise EngineError(f"{reference} cannot be pulled ({reason}); if {registry} wants a login: docker login {registry}")


def inspect(containers: Sequence[str]) -> list[dict[str, Any]]:
    """What the engine knows of the containers; those that do not exist are left out."""
    found: list[dict[str, Any]] = json.loads(_output(["docker", "container", "inspect", *containers]) or "[]")
    return found


def stop_seconds(containers: Sequence[dict[str, Any]]) -> int:
    """How long containers may take to stop: as Docker's default, after the longest drain in their environment.

    It is not in the compose file, as `stop_grace_period`, because Compose v1 writes 10.0, which Docker refuses.
    """
    longest = 0.0
    for each in (variable for found in containers for variable in found["Config"].get("Env") or ()):
        if each.startswith(_DRAIN):
            with contextlib.suppress(ValueError):  # the gateway does not start with it, and can be stopped all the same
                drain = float(each.removeprefix(_DRAIN))
                longest = max(longest, drain) if math.isfinite(drain) else longest
    return math.ceil(_STOP_SECONDS + longest)


def containers_of(project: str, service: str) -> list[str]:
    """The ids of all containers of a service of Compose's."""
    labels = (f"label=com.docker.compose.project={project}", f"label=com.docker.compose.service={service}")
    return _output(["docker", "ps", "--all", "--quiet", *(f"--filter={label}" for label in labels)]).split()


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
        code, printed, _ = _run(command, seconds)
    except subprocess.TimeoutExpired:
        return None
    return printed if code == 0 else None


def _run(command: list[str], seconds: float | None) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except OSError as error:
        raise EngineError(f"{command[0]} cannot be run: {error.strerror}") from None
    return done.returncode, done.stdout.strip(), done.stderr.strip()
