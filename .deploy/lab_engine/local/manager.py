"""Client of the process manager, supervisord, which restarts programs that end and limits the size of their logs."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError
from ..settings import Settings
from ..waiting import wait_until


@dataclass(frozen=True)
class Process:
    """One supervised program as the manager sees it now."""

    service: str
    program: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, FATAL ...
    pid: int
    uptime: int  # seconds
    restarts: int  # how often it ended by itself since the lab was started, as far back as the last 10 to 20 MB of log
    why: str  # supervisord's reason if it is not running


class Manager:
    """The supervisord of one lab, called over its Unix socket in the run folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._config = settings.run / "supervisord.conf"
        self._call = _proxy(settings, seconds=60)  # stopping a group takes as long as its slowest program
        self._look = _proxy(settings, seconds=3)

    def is_running(self) -> bool:
        """Return whether supervisord answers. Raises EngineError if this user may not call it."""
        try:
            self._look.getState()
        except xmlrpc.client.Fault:  # it is about to end, and refuses calls
            return True
        except PermissionError:
            raise EngineError(
                f"the lab in {self._settings.home} belongs to another user, and only that user can control it"
            ) from None
        except (OSError, http.client.HTTPException):
            return False
        return True

    def is_running_with(self, config: str) -> bool:
        """Return whether it runs and was started with exactly this configuration."""
        return self.is_running() and self._config.exists() and self._config.read_text() == config

    def start(self, config: str, environment: Mapping[str, str]) -> None:
        """Start supervisord and with it every program; raises EngineError with its error output."""
        self._config.write_text(config)
        for log in self._logs:  # restarts are counted from here
            log.unlink(missing_ok=True)
        command = [str(self._settings.python), "-m", "supervisor.supervisord", "-c", str(self._config)]
        started = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if started.returncode or not wait_until(self.is_running, 20):
            raise EngineError(f"the process manager did not start: {(started.stderr or started.stdout).strip()}")

    def stop(self) -> None:
        """Stop every program and supervisord, and processes that they left behind."""
        if self.is_running():
            with contextlib.suppress(xmlrpc.client.Fault):  # it is shutting down already
                self._call.shutdown()
            wait_until(lambda: not self.is_running(), 60)
            end_processes(self._settings)
        else:
            self.end_left()

    def end_left(self, grace: float = 10.0) -> None:
        """End a supervisord that does not answer, and its programs; after `grace` seconds kill what still runs."""
        self._kill_hung()  # first, as it would restart the programs
        end_processes(self._settings, grace)

    def restart(self, group: str) -> None:
        self._call.stopProcessGroup(group, True)
        self._call.startProcessGroup(group, False)

    def change_groups(self, stopped: Sequence[str], started: Sequence[str]) -> None:
        """Stop and start groups of programs, according to the changed configuration."""
        for group in stopped:
            self._call.stopProcessGroup(group, True)
            self._call.removeProcessGroup(group)
        self._call.reloadConfig()
        for group in started:
            self._call.addProcessGroup(group)

    def start_again(self, *states: str) -> None:
        """Start the programs that are in one of these states, such as STOPPED or FATAL."""
        for process in self.processes():
            if process.state in states:
                self._call.startProcess(f"{process.service}:{process.program}", False)

    def processes(self) -> list[Process]:
        """Return every program; an empty list when the lab is not running."""
        try:
            found = self._look.getAllProcessInfo()
        except (OSError, http.client.HTTPException, xmlrpc.client.Fault):
            return []
        log = "".join(map(_text, self._logs))
        return [_process(info, log) for info in found]

    @property
    def pid(self) -> int:
        """The process id of supervisord; 0 if it has ended, or has not written its pid file."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self._settings.run / "supervisord.pid").read_text())
            if _is_of(Path("/proc", str(pid)), self._settings):  # else the id belongs to another program by now
                return pid
        return 0

    def _kill_hung(self) -> None:
        if pid := self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def _logs(self) -> tuple[Path, Path]:
        """supervisord's log before its last rotation, and since."""
        return self._settings.run / "supervisord.log.1", self._settings.run / "supervisord.log"


def end_processes(settings: Settings, grace: float = 10.0) -> None:
    """End this lab's remaining processes: children that a killed supervisord left behind."""

    def end_with(number: signal.Signals) -> None:
        for pid in _processes_of(settings):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    end_with(signal.SIGTERM)
    if not wait_until(lambda: not _processes_of(settings), grace):
        end_with(signal.SIGKILL)
        wait_until(lambda: not _processes_of(settings), 5)


def _processes_of(settings: Settings) -> list[int]:
    # Linux only; elsewhere supervisord's own stop must suffice. `exec` and `lab` commands have no
    # TENSOR_LAB_SUPERVISED.
    found, own = [], str(os.getpid())  # this command may be typed in the lab's own JupyterLab
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.name != own and (_is_of(folder, settings) or _is_nginx(folder, settings)):
                found.append(int(folder.name))
    return found


def _is_of(process: Path, settings: Settings) -> bool:
    mark = f"TENSOR_LAB_SUPERVISED={settings.home}".encode()
    return mark in (process / "environ").read_bytes().split(b"\0")


def _is_nginx(process: Path, settings: Settings) -> bool:
    """Return whether it is this lab's nginx or a worker, known by its folder: nginx overwrites its environment."""
    folder = (settings.run / "rest").resolve()
    return (process / "comm").read_text() == "nginx\n" and (process / "cwd").resolve() == folder


def _text(path: Path) -> str:
    """Return what a file contains; "" if it does not exist, or is being rotated."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _process(info: Mapping[str, Any], log: str) -> Process:
    running = info["statename"] in ("RUNNING", "STARTING", "STOPPING")
    return Process(
        info["group"],
        info["name"],
        info["statename"],
        info["pid"],
        info["now"] - info["start"] if running else 0,
        log.count(f" exited: {info['name']} ("),
        "" if running else info["spawnerr"] or info["description"],
    )


def _proxy(settings: Settings, seconds: float) -> Any:
    """Return supervisord's API; a call without an answer in time raises TimeoutError."""
    transport = _UnixTransport(settings.run / "supervisor.sock", seconds)
    return xmlrpc.client.ServerProxy("http://supervisor/RPC2", transport=transport).supervisor


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket, as supervisord offers it."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__()
        self._path, self._seconds = path, seconds

    def request(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().request(*arguments, **options)
        finally:
            self.close()

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("supervisor")
        self._connection = host, connection  # which close() closes
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(self._seconds)
        connection.sock.connect(str(self._path))
        return connection
