"""Talking to the process manager: supervisord, which keeps the programs alive and their logs in bounds."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import xmlrpc.client
from collections.abc import Mapping
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
    restarts: int  # how often it ended by itself since the lab was started
    why: str  # supervisord's word when it is not running


class Manager:
    """supervisord of one lab, reached over its Unix socket in the run folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._config = settings.run / "supervisord.conf"
        transport = _UnixTransport(settings.run / "supervisor.sock")
        self._call: Any = xmlrpc.client.ServerProxy("http://supervisor/RPC2", transport=transport).supervisor

    def is_running(self) -> bool:
        try:
            self._call.getState()
        except xmlrpc.client.Fault:  # it is about to end, and refuses to be asked
            return True
        except OSError:
            return False
        return True

    def is_running_with(self, config: str) -> bool:
        """True if it runs, and was started with just this configuration."""
        return self.is_running() and self._config.exists() and self._config.read_text() == config

    def start(self, config: str, environment: Mapping[str, str]) -> None:
        """Start supervisord and with it every program; raises EngineError with its own words."""
        self._config.write_text(config)
        self._log.unlink(missing_ok=True)  # restarts are counted from here
        command = [str(self._settings.python), "-m", "supervisor.supervisord", "-c", str(self._config)]
        started = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if started.returncode or not wait_until(self.is_running, 20):
            raise EngineError(f"the process manager did not start: {(started.stderr or started.stdout).strip()}")

    def stop(self) -> None:
        """Stop every program and supervisord, and what either may have left behind."""
        if self.is_running():
            with contextlib.suppress(xmlrpc.client.Fault):  # it is shutting down already
                self._call.shutdown()
            wait_until(lambda: not self.is_running(), 60)
        end_processes(self._settings)

    def restart(self, service: str) -> None:
        self._call.stopProcessGroup(service, True)
        self._call.startProcessGroup(service, False)

    def start_stopped(self) -> None:
        """Start again what was stopped or given up on."""
        for process in self.processes():
            if process.state in ("STOPPED", "EXITED", "FATAL"):
                self._call.startProcess(f"{process.service}:{process.program}", False)

    def processes(self) -> list[Process]:
        """Every program; an empty list when the lab is not running."""
        try:
            found = self._call.getAllProcessInfo()
        except (OSError, xmlrpc.client.Fault):
            return []
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        return [_process(info, log) for info in found]

    @property
    def _log(self) -> Path:
        return self._settings.run / "supervisord.log"


def end_processes(settings: Settings) -> None:
    """End what still runs with this lab's state folder in its environment: children a killed manager left behind."""

    def end_with(number: signal.Signals) -> None:
        for pid in _processes_of(settings):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    end_with(signal.SIGTERM)
    if not wait_until(lambda: not _processes_of(settings), 10):
        end_with(signal.SIGKILL)
        wait_until(lambda: not _processes_of(settings), 5)


def _processes_of(settings: Settings) -> list[int]:
    # Linux only; elsewhere supervisord's own stop has to do. `exec` and `lab` commands carry no TENSOR_LAB_SUPERVISED.
    mark = f"TENSOR_LAB_SUPERVISED={settings.home}".encode()
    found, own = [], str(os.getpid())  # this command may be typed in the lab's own JupyterLab
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.name != own and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


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


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket, as supervisord speaks it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        del host
        connection = http.client.HTTPConnection("supervisor", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self._path))
        return connection
