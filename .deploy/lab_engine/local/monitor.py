"""The monitor of the lab's other local processes: ends those that hang, so that they are started again.

supervisord restarts a program that has ended, but does not notice one that hangs. The monitor is one of its programs:

    a program whose probe is not answered          -> its processes are ended; supervisord starts them again
    a program that supervisord gave up on (FATAL)  -> is started again, every 30 s
    supervisord has ended, or hangs                -> everything is ended and started again with the same configuration
    any of these processes is stopped (SIGSTOP)    -> is sent SIGCONT; if it still does not answer, as above
    the monitor hangs                              -> its guard, a child process, ends it; a lost guard is replaced

A program that hangs must work again within 30 s. A start takes 3 s on an idle machine and 16 s where four runnable
processes share each core, which leaves twelve seconds without an answer. Less would end programs that are only slow,
and restarts make a busy machine even slower. Load alone never puts a process into the stopped state, so three checks
are enough there.

    python -m lab_engine.local.monitor
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .. import memory, settings, web
from ..errors import EngineError
from ..lock import RECOVERY, exclusive
from .manager import Manager, Process
from .services import Program, Service, all_services


@dataclass(frozen=True)
class Limits:
    """Time-outs and intervals of the monitor, in seconds."""

    pause: float = 1.0  # between two rounds of checks
    probe: float = 4.0  # for one answer; on a machine that trains a healthy program answers late
    silence: float = 12.0  # after which a program counts as hanging, if three probes in a row were not answered
    start: float = 120.0  # for the first answer; TensorFlow alone takes up to 20 to import from a cold disk
    retry: float = 30.0  # between two starts of programs that supervisord gave up on


_PROBES = 3  # a single one proves little on a machine that is busy or was suspended
_GUARD_SECONDS = 15.0  # a round may take 14 s: supervisord answers two calls in 3 s each, a service two probes in 4 s
_GRACE_SECONDS = 2.0  # for programs without a supervisord: gateway and model server finish calls, others need no time


def main() -> None:
    """Run until TERM, or until the monitor of a new supervisord takes over."""
    found = settings.load(running=True)
    watch = Monitor(found, all_services(found))
    guard = _Guard()
    while watch.look():
        guard.beat()
        time.sleep(watch.limits.pause)


@dataclass
class _Record:
    """The monitor's state of one program's process."""

    pid: int
    answered: bool = False  # since it was started
    failures: int = 0  # unanswered probes in a row
    stopped: int = 0  # checks in a row that found it stopped
    since: float = 0.0  # time of the first of the failures


class Monitor:
    """Monitors one lab."""

    def __init__(self, found: settings.Settings, services: Sequence[Service], limits: Limits = Limits()) -> None:
        self.limits = limits
        self._settings, self._manager, self._services = found, Manager(found), services
        self._records: dict[str, _Record] = {}
        self._pool = ThreadPoolExecutor(len(services))
        self._silent = 0  # calls in a row that supervisord did not answer
        self._retried = time.monotonic()

    def look(self) -> bool:
        """Check everything once, and act on it; return False when another supervisord has taken over."""
        pid = self._manager.pid
        stopped = _is_stopped(pid)
        if stopped or not self._manager.is_running():
            self._silent += 1
            if stopped and self._silent == _PROBES:
                _continue("supervisord", pid)
                return True
            return self._silent < _PROBES or not self._recovered(pid)
        self._silent = 0
        processes = {process.program: process for process in self._manager.processes()}
        list(self._pool.map(lambda service: self._check(service, processes), self._services))
        if time.monotonic() - self._retried > self.limits.retry:
            self._retried = time.monotonic()
            with contextlib.suppress(OSError, xmlrpc.client.Fault):  # a program that fails again stays FATAL
                self._manager.start_again("FATAL")
        return True

    def _check(self, service: Service, processes: Mapping[str, Process]) -> None:
        works: dict[str, bool] = {}
        for program in service.programs:
            process = processes.get(program.name)
            if process and process.state == "RUNNING" and works.get(program.behind, not program.behind):
                works[program.name] = self._works(program, process, service.lab_id)

    def _works(self, program: Program, process: Process, lab_id: str) -> bool:
        record = self._records.get(program.name)
        if record is None or record.pid != process.pid:
            record = self._records[program.name] = _Record(process.pid)
        began, stopped = time.monotonic(), _is_stopped(process.pid)
        record.stopped = record.stopped + 1 if stopped else 0
        if not stopped and web.answers(program.probe, lab_id, self.limits.probe):
            record.answered, record.failures = True, 0
            return True
        record.since = record.since if record.failures else began
        record.failures += 1
        silence = time.monotonic() - record.since
        started = record.answered or process.uptime > self.limits.start
        if record.stopped == _PROBES:
            _continue(program.name, process.pid)
        elif started and record.failures >= _PROBES and silence >= self.limits.silence:
            _say(f"{program.name}, process {process.pid}, has not answered {program.probe} for {silence:.0f} s: ended")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # each of supervisord's programs has a process group of its own
        return False

    def _recovered(self, pid: int) -> bool:
        """Restart supervisord, whose process id was `pid`, and all programs; return False if that failed.

        Returns True without a restart if another command has started or stopped the lab meanwhile.
        """
        try:
            with exclusive(self._settings, RECOVERY):
                last = memory.recall(self._settings)
                if self._manager.pid != pid or last != memory.Memory("local", up=True):
                    return True
                run = self._settings.run
                with (run / "log" / "monitor.log").open("a") as log:  # supervisord no longer writes it
                    log.write(f"{_now()} supervisord has ended or hangs: everything is started again\n")
                config = (run / "supervisord.conf").read_text()
                self._manager.end_left(_GRACE_SECONDS)
                self._manager.start(config, {**os.environ, "PYTHONPATH": ""})  # it is set only for the monitor
        except (EngineError, OSError) as error:  # tried again in the next round
            _say(f"supervisord was not restarted: {error}")
            return False
        return True


class _Guard:
    """A child process that ends this process when its beats stop for too long; a lost child is replaced."""

    def __init__(self) -> None:
        self._start()

    def beat(self) -> None:
        if self._child.poll() is not None or _is_stopped(self._child.pid):
            self._child.kill()
            self._child.wait()
            self._start()
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # replaced at the next beat
            os.write(self._child.stdin.fileno(), b".")

    def _start(self) -> None:
        command = [sys.executable, "-B", "-m", __spec__.name, "guard"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE)


def guard(parent: int) -> None:
    """End the parent process when it sends nothing for too long; return when it has ended."""
    while select.select([0], [], [], _GUARD_SECONDS)[0]:
        if not os.read(0, 4096):
            return
    _say(f"the monitor, process {parent}, hangs: ended")
    os.kill(parent, signal.SIGKILL)


def _is_stopped(pid: int) -> bool:
    """Return whether SIGSTOP stopped a process, which a probe of its workers may not notice. Linux only."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def _continue(name: str, pid: int) -> None:
    _say(f"{name}, process {pid}, is stopped: continued")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # stdout is a pipe to supervisord, which may have ended
        print(_now(), text, flush=True)  # noqa: T201 - the program's log


def _now() -> str:
    return time.strftime("%F %T")


if __name__ == "__main__":
    if sys.argv[1:] == ["guard"]:
        guard(os.getppid())
    else:
        main()
