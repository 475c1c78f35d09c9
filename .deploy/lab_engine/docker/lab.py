"""The verbs on the Docker engine."""

import dataclasses
import datetime
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import archive, console, identity, memory, notebooks, ports, report, token
from ..errors import EngineError
from ..lock import exclusive
from ..settings import ROOT, Settings
from ..verbs import NOT_RUNNING, RUNNING, SCALED, chosen, duration
from ..waiting import wait_until
from . import backup, client, images
from .deployment import MORE, Deployment, notebook_user

DEADLINE = 180.0  # seconds
TOO_MANY_RESTARTS = 3
_CLEAR_LINE = "\033[2K"  # Compose 2.26 writes it before every line, even into a file
USERS_GROUP = 100  # the group every container runs in
_STOPPING = ("down", "restart", "up")  # Compose's commands that stop or replace containers


class DockerLab:
    """The lab of one deployment, as containers; see verbs.Lab."""

    def __init__(self, settings: Settings, deployment: Deployment) -> None:
        self._settings = settings
        self._deployment = deployment

    def up(self) -> None:
        self._say_what_was_resolved()
        self._compose("config", "--quiet", quiet=True)  # a file that is wrong is not remembered
        self._settings.make_home()
        with exclusive(self._settings, "up"):
            self._start()
            if older := images.older(self._deployment):
                listed = ", ".join(older)
                console.say(f"not built from this clone's source: {listed}; bin/compose.sh upgrade replaces them")
            self._wait(tuple(self._deployment.counts))
            report.say_how_to_go_on(self._settings)

    def down(self, remove_volumes: bool) -> None:
        with exclusive(self._settings, "down"), console.Progress("stopping the lab"):
            self._compose("down", "--remove-orphans", *(["--volumes"] if remove_volumes else []), quiet=True)
            memory.note(self._settings, "docker", up=False)
            self._remember(1)
            if remove_volumes:
                identity.forget(self._settings.home)
        names = f"{self._deployment.prefix}tensor-models, -logs, -data, -feedback and -serving-state"
        console.say(f"the volumes {names} {'are removed' if remove_volumes else 'stay'}")

    def ps(self) -> None:
        found = self._running()
        if not found:
            report.say_not_running([])
            return
        console.table(["SERVICE", "CONTAINER", "STATE", "PID", "UP", "RESTARTS"], [_line(each) for each in found])

    def status(self) -> int:
        found = self._running()
        if not found:
            report.say_not_running({"running": False})
            return 1
        console.say(f"engine: Docker, project {self._deployment.project}")
        healthy = Counter(_service(each) for each in found if _is_healthy(each))
        servers = healthy[SCALED] + healthy[MORE]
        fine = {name: healthy[name] > 0 for name in self._deployment.containers}
        fine[SCALED] = servers >= self._deployment.replicas
        return report.say_status(self._settings, fine, (servers, self._deployment.replicas))

    def restart(self, services: Sequence[str]) -> None:
        wanted = chosen(services)
        if not self._running():
            raise EngineError(NOT_RUNNING)
        with exclusive(self._settings, "restart"):
            if self._deployment.replicas > 1 and SCALED in wanted:  # the others answer meanwhile
                for service in (SCALED, MORE):
                    self._compose("restart", service, quiet=True)
                    self._wait([service])
                wanted = [service for service in wanted if service != SCALED]
            if wanted:
                self._compose("restart", *wanted, quiet=True)
                self._wait(wanted)

    def scale(self, count: int) -> None:
        if not self._running():
            raise EngineError(NOT_RUNNING)
        with exclusive(self._settings, "scale"):
            self._remember(max(count, self._deployment.replicas))  # so that `down` finds them, whatever happens here
            self._compose("up", "-d", "--no-recreate", "--no-deps", *_scale(count), MORE)
            self._remember(count)
            self._wait(tuple(self._deployment.counts))

    def logs(self, services: Sequence[str], count: int, follow: bool) -> None:
        more = [MORE] if self._deployment.replicas > 1 and SCALED in chosen(services) else []
        options = ["--tail", str(count), *(["--follow"] if follow else [])]
        command = self._command("logs", *options, *chosen(services), *more)
        with subprocess.Popen(command, env=self._environment(), stdout=subprocess.PIPE, text=True) as compose:
            assert compose.stdout is not None
            for line in compose.stdout:
                if not line.startswith("Attaching to "):  # Compose v1's greeting
                    console.say(line.rstrip("\n").replace(_CLEAR_LINE, ""))

    def execute(self, service: str, command: Sequence[str]) -> int:
        container = self._deployment.containers[chosen([service])[0]]
        terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        # What it writes to the volumes belongs to the group, as what the services write does.
        shared = ["sh", "-c", 'umask 002 && exec "$@"', "sh"]
        call = ["docker", "exec", "--interactive", "--env", "LAB_COMMAND", *terminal, container, *shared, *command]
        return subprocess.run(call, check=False).returncode

    def upgrade(self) -> None:
        running = self._deployment.tag
        self._deployment = dataclasses.replace(self._deployment, tag=running.removesuffix(images.BEFORE))
        older = images.older(self._deployment)
        with exclusive(self._settings, "upgrade"):
            if older and running == self._deployment.tag:  # else the kept images are the ones that run or ran last
                images.keep(self._deployment)
            images.renew(self._deployment, older)
        try:
            self.up()
        except EngineError as error:
            if not (kept := images.kept(self._deployment)):
                raise
            raise EngineError(f"{error}\nTo return to the previous images: bin/compose.sh up --tag {kept}") from None

    def backup(self, path: Path) -> None:
        images.ensure(self._deployment)
        with console.Progress(f"writing {path}"):
            backup.write(path, self._settings, self._deployment)

    def restore(self, path: Path) -> None:
        if self.is_running():
            raise EngineError(RUNNING)
        images.ensure(self._deployment)
        with exclusive(self._settings, "restore"), console.Progress(f"reading {path}") as progress:
            described = archive.check(path)
            progress.update("unpacking it")
            backup.restore(path, self._settings, self._deployment)
        console.say(archive.restored(described))

    def version(self) -> None:
        console.table(["SERVICE", "IMAGE", "RELEASE", "COMMIT", "SOURCE"], images.described(self._deployment))

    def is_running(self) -> bool:
        return any(each["State"]["Running"] for each in self._running())

    def _running(self) -> list[dict[str, Any]]:
        more = client.containers_of(self._deployment.project, MORE) if self._deployment.replicas > 1 else []
        found = client.inspect([*self._deployment.containers.values(), *more])
        return [each for each in found if _label(each, "project") == self._deployment.project]

    def _start(self) -> None:
        ours = {port for each in self._running() for port in _published(each)}
        wanted = self._settings.ports.published()
        every = vars(self._settings.ports)
        ports.check({name: port for name, port in wanted.items() if port not in ours}, every.values())
        images.ensure(self._deployment)
        token.make(self._settings)
        for line in notebooks.prepare(self._settings):
            console.say(line)
        _share_with_containers(self._settings)
        identity.make_id(self._settings.home)
        identity.remember_ports(self._settings.home, every)
        self._deployment.save(self._settings)
        memory.note(self._settings, "docker", up=True)
        replicas = self._deployment.replicas
        self._compose("up", "-d", "--remove-orphans", *(_scale(replicas) if replicas > 1 else []))

    def _remember(self, replicas: int) -> None:
        self._deployment = dataclasses.replace(self._deployment, replicas=replicas)
        self._deployment.save(self._settings)

    def _wait(self, services: Sequence[str]) -> None:
        before = {each["Id"]: each["RestartCount"] for each in self._running()}

        def all_healthy() -> bool:
            found = self._running()
            healthy = Counter(_service(each) for each in found if _is_healthy(each))
            waiting = [service for service in services if healthy[service] < self._deployment.counts[service]]
            progress.update(f"waiting for {', '.join(waiting)}")
            for each in (each for each in found if _service(each) in waiting):
                restarts = each["RestartCount"] - before.get(each["Id"], 0)
                if restarts > TOO_MANY_RESTARTS or each["State"]["Status"] == "exited":
                    raise EngineError(_report(each, "cannot start: its container ends by itself"))
            return not waiting

        with console.Progress("starting " + ", ".join(services)) as progress:
            if not wait_until(all_healthy, DEADLINE, pause=0.5):
                ill = [each for each in self._running() if _service(each) in services and not _is_healthy(each)]
                reports = [_report(each, f"is not healthy after {DEADLINE:.0f} s") for each in ill]
                raise EngineError(reports[0] if reports else "containers of the lab were removed while it started")

    def _compose(self, command: str, *arguments: str, quiet: bool = False) -> None:
        timeout = ["--timeout", str(client.stop_seconds(self._running()))] if command in _STOPPING else []
        call = self._command(command, *timeout, *arguments)
        done = subprocess.run(call, env=self._environment(), capture_output=quiet, text=True, check=False)
        if done.returncode:
            raise EngineError(f"compose {command} failed{': ' + done.stderr.strip() if quiet else ''}")

    def _command(self, *arguments: str) -> list[str]:
        compose = client.compose_command()
        assert compose is not None, "checked when the engine was chosen"
        files = [word for file in self._deployment.files for word in ("--file", file)]
        plain = [] if console.is_terminal() else ["--ansi", "never"]
        project = ["--project-name", self._deployment.project, "--project-directory", str(ROOT)]
        return [*compose, *plain, *project, *files, *arguments]

    def _environment(self) -> dict[str, str]:
        return self._deployment.environment(self._settings)

    def _say_what_was_resolved(self) -> None:
        note = [("note", f"SELinux is on: if the workbench is denied access, run {_relabel(self._settings)}")]
        console.rows(
            [
                ("docker", client.engine_version() or "does not answer"),
                ("tensorflow", self._settings.tensorflow),
                ("images", f"{self._deployment.registry}/{self._deployment.group}/*:{self._deployment.tag}"),
                ("serving", self._deployment.serving),
                ("compose", ", ".join(os.path.relpath(file) for file in self._deployment.files)),
                ("ports", report.listed(self._settings, self._settings.ports.published())),
                *(note if "selinux" in client.security_options() else []),
            ]
        )


def _scale(count: int) -> list[str]:
    """Compose's option for so many model servers, the first of which is a service of its own."""
    return ["--scale", f"{MORE}={count - 1}"]


def _relabel(settings: Settings) -> str:
    """The command after which SELinux lets containers use what is mounted from the host."""
    mounted = (settings.token_file, settings.config, settings.notebooks)
    return f"chcon -Rt container_file_t {' '.join(shlex.quote(str(path)) for path in mounted)}"


def _share_with_containers(settings: Settings) -> None:
    """Give the workbench's user the token, and its group the notebooks, unless that user is the caller."""
    if notebook_user() == os.getuid():
        return
    os.chown(settings.token_file, notebook_user(), -1)
    for path in (settings.notebooks, *settings.notebooks.rglob("*")):
        os.chown(path, -1, USERS_GROUP)
        path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o060))


def _published(container: dict[str, Any]) -> list[int]:
    """The host ports a running container holds; none for one that is stopped."""
    bindings = container["NetworkSettings"]["Ports"].values()
    return [int(each["HostPort"]) for binding in bindings for each in binding or []]


def _label(container: dict[str, Any], name: str) -> str:
    return str((container["Config"]["Labels"] or {}).get(f"com.docker.compose.{name}", ""))


def _service(container: dict[str, Any]) -> str:
    return _label(container, "service")


def _is_healthy(container: dict[str, Any]) -> bool:
    return bool(container["State"].get("Health", {}).get("Status") == "healthy")


def _line(container: dict[str, Any]) -> list[str]:
    state = container["State"]
    # Docker writes nanoseconds, which Python 3.10 does not read.
    started = datetime.datetime.fromisoformat(state["StartedAt"][:19] + "+00:00")
    uptime = (datetime.datetime.now(datetime.timezone.utc) - started).total_seconds() if state["Running"] else 0
    health = state.get("Health", {}).get("Status", "")
    word = state["Status"] if health in ("", "healthy") else health
    name = container["Name"].lstrip("/")
    return [
        _service(container),
        name,
        word,
        str(state["Pid"] or "-"),
        duration(int(uptime)),
        str(container["RestartCount"]),
    ]


def _report(container: dict[str, Any], state: str) -> str:
    name = container["Name"].lstrip("/")
    lines = "".join(f"\n    {line}" for line in client.last_lines(name, 15))
    service = _service(container)
    return f"{service} {state}\n  last lines of {name}:{lines}\n  The rest: bin/compose.sh logs {service}"
