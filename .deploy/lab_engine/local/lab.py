"""The verbs on the local engine."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import archive, console, identity, memory, model_servers, notebooks, ports, report
from ..errors import EngineError
from ..lock import INSTALL, exclusive
from ..settings import ROOT, Settings
from ..verbs import NOT_RUNNING, RUNNING, SCALED, chosen, duration
from . import environment, health, logs, preflight, scaling, services, volumes
from .manager import Manager
from .services import Service, find_nginx, monitor


class LocalLab:
    """The lab of one state folder, as supervised processes; see verbs.Lab."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._manager = Manager(settings)

    def install(self, tests: bool) -> None:
        """Make the Python environment; with `tests`, add what bin/test.sh needs."""
        self._check_disk()
        with exclusive(self._settings, INSTALL):
            self._ensure_environment()
            if tests:
                lock = ROOT / "tests" / "requirements.txt"
                environment.install(self._settings, lock, "installing the test tools")

    def is_running(self) -> bool:
        return self._manager.is_running()

    def up(self) -> None:
        self._say_what_was_resolved()
        self._check_disk()
        with exclusive(self._settings, "up"):
            identity.make_id(self._settings.home)
            if not environment.is_current(self._settings):
                self._manager.stop()
                ports.check(vars(self._settings.ports))  # again at the start, minutes later
            self._ensure_environment()
            self._start()
            memory.note(self._settings, "local", up=True)
            health.wait_for(self._settings, self._manager, services.all_services(self._settings))
            report.say_how_to_go_on(self._settings)

    def down(self, remove_volumes: bool) -> None:
        if not self._settings.home.exists():
            console.say("there is no lab here: nothing to stop")
            return
        with exclusive(self._settings, "down"):
            with console.Progress("stopping the lab"):
                self._manager.stop()
            memory.note(self._settings, "local", up=False)
            identity.forget_replicas(self._settings.home)
            if remove_volumes:
                volumes.remove(self._settings)
        kept = "are removed from" if remove_volumes else "stay in"
        console.say(f"models, logs, data and feedback {kept} {self._settings.home}")

    def ps(self) -> None:
        lines = [
            [p.service, p.program, p.state.lower(), str(p.pid or "-"), duration(p.uptime), str(p.restarts), p.why]
            for p in self._manager.processes()
        ]
        if lines:
            console.table(["SERVICE", "PROCESS", "STATE", "PID", "UP", "RESTARTS", ""], lines)
        else:
            report.say_not_running([])

    def status(self) -> int:
        if not self._manager.is_running():
            report.say_not_running({"running": False})
            return 1
        console.say(f"engine: local processes, state in {self._settings.home}")
        found = services.all_services(self._settings)
        healthy = [(service.name, health.is_healthy(service)) for service in found]
        servers = [fine for name, fine in healthy if name == SCALED]
        by_name = {name: all(fine for other, fine in healthy if other == name) for name, _ in healthy}
        return report.say_status(self._settings, by_name, (sum(servers), len(servers)))

    def restart(self, services: Sequence[str]) -> None:
        wanted = self._services(services)
        if not self._manager.is_running():
            raise EngineError(NOT_RUNNING)
        with exclusive(self._settings, "restart"):
            for service in wanted:
                self._manager.restart(service.group)
                if service.name == SCALED and self._settings.replicas:  # the others answer meanwhile
                    health.wait_for(self._settings, self._manager, [service])
            health.wait_for(self._settings, self._manager, wanted)

    def scale(self, count: int) -> None:
        if not self._manager.is_running():
            raise EngineError(NOT_RUNNING)
        with exclusive(self._settings, "scale"):
            self._settings = scaling.scale(self._settings, self._manager, count)

    def logs(self, services: Sequence[str], count: int, follow: bool) -> None:
        shown = self._services(services)
        logs.show(self._settings, shown if services else [*shown, monitor(self._settings)], count, follow)

    def upgrade(self) -> None:
        if self._manager.is_running():
            with exclusive(self._settings, "upgrade"), console.Progress("stopping the release before"):
                self._manager.stop()
        self.up()

    def backup(self, path: Path) -> None:
        if not any((self._settings.home / name).is_dir() for name in archive.VOLUMES):
            raise EngineError(f"there is no lab in {self._settings.home}: nothing to back up")
        with console.Progress(f"writing {path}"):
            described = archive.about(self._settings, "local")
            archive.write(path, described, [archive.folders_command(self._settings.home)])

    def restore(self, path: Path) -> None:
        if self._manager.is_running():
            raise EngineError(RUNNING)
        self._settings.make_home()
        with exclusive(self._settings, "restore"), console.Progress(f"reading {path}") as progress:
            described = archive.check(path)
            progress.update("unpacking it")
            archive.replace(path, self._settings.home, archive.FOLDERS)
        console.say(archive.restored(described))

    def version(self) -> None:
        current = environment.is_current(self._settings)
        console.rows([("packages", "as locked by this clone" if current else "not installed: bin/compose.sh upgrade")])

    def execute(self, service: str, command: Sequence[str]) -> int:
        chosen([service])
        if not environment.is_current(self._settings):
            raise EngineError("the lab's environment is not made yet: run bin/compose.sh up first")
        volumes.prepare(self._settings)
        try:
            return subprocess.run(command, env=services.environment(self._settings), check=False).returncode
        except OSError as error:
            raise EngineError(f"{command[0]} cannot be run: {error.strerror}") from None

    def _services(self, names: Sequence[str]) -> list[Service]:
        wanted = chosen(names)
        return [service for service in services.all_services(self._settings) if service.name in wanted]

    def _check_disk(self) -> None:
        current = environment.is_current(self._settings)
        needed = preflight.SPACE_TO_RUN if current else preflight.SPACE_FOR_ENVIRONMENT
        preflight.check_folder(self._settings, needed)

    def _ensure_environment(self) -> None:
        if not environment.is_current(self._settings):
            self._manager.stop()  # a running lab runs from the environment that is about to be replaced
        environment.ensure(self._settings)

    def _start(self) -> None:
        settings, manager = self._settings, self._manager
        servers = self._model_servers()
        config = services.supervisor_config(settings)
        variables = services.environment(settings) | {"TENSOR_LAB_SUPERVISED": str(settings.home)}
        if manager.is_running_with(config):
            manager.start_again("STOPPED", "EXITED", "FATAL")
            return
        if manager.is_running():
            console.say("the settings have changed since the lab was started: starting it anew")
        manager.stop()
        ports.check(vars(settings.ports))
        identity.remember_ports(settings.home, vars(settings.ports))
        self._settings = settings = scaling.with_free_ports(settings, servers)
        for line in notebooks.prepare(settings):
            console.say(line)
        for name in volumes.prepare(settings):
            console.say(f"put the shipped model {name} into {settings.models}")
        scaling.write(settings)
        manager.start(config, variables)

    def _model_servers(self) -> int:
        if identity.replicas(self._settings.home) is not None:
            return 1 + len(self._settings.replicas)
        return model_servers.at_start(self._settings, "embedded", model_servers.cores())

    def _say_what_was_resolved(self) -> None:
        nginx = find_nginx()
        front = f"nginx ({nginx}) and uWSGI" if nginx else "uWSGI's own HTTP (nginx is not installed)"
        console.rows(
            [
                ("python", f"{sys.version.split()[0]} ({sys.executable})"),
                ("tensorflow", self._settings.tensorflow),
                ("gateway", front),
                ("state", str(self._settings.home)),
                ("ports", report.listed(self._settings, vars(self._settings.ports))),
            ]
        )
