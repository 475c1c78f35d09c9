"""The program that watches over the lab's other local processes: what does not work is ended, and started again.

supervisord starts a program again when it has ended, but does not see that it hangs. This program is one of its own:

    a program whose probe is not answered          -> its processes are ended; supervisord starts them again
    a program that supervisord gave up on (FATAL)  -> is started again, every 30 s
    supervisord ended, or hangs                    -> everything is ended and started again as it was
    any of these is stopped, as by SIGSTOP         -> is continued; if that does not help, as above
    this program hangs                             -> its guard, a child, ends it; and the other way round

What hangs is to work again within 30 s. A start takes 3 s on an idle machine and 16 s where four runnable processes
share each core; twelve seconds of silence are what that leaves. Less would end programs that are only slow, and a
restart is work that makes a busy machine slower still. Load never stops a process, so three looks are enough there.

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
    """Seconds."""

    pause: float = 1.0  # between two looks
    probe: float = 4.0  # for one answer; on a machine that trains a healthy program answers late
    silence: float = 12.0  # after which a program hangs, if three probes in a row went unanswered
    start: float = 120.0  # for the first answer; TensorFlow alone takes up to 20 to import from a cold disk
    retry: float = 30.0  # between two starts of what supervisord gave up on


_PROBES = 3  # on a machine that is busy, or was suspended, a single one says little
_GUARD_SECONDS = 15.0  # a round of this program takes half of them at most
_GRACE_SECONDS = 2.0  # for programs without a supervisord: gateway and model server finish calls, others lose nothing


def main() -> None:
    """Watch until TERM, or until another monitor of a new supervisord takes over."""
    found = settings.load(running=True)
    watch = Monitor(found, all_services(found))
    guard = _Guard()
    while watch.look():
        guard.beat()
        time.sleep(watch.limits.pause)


@dataclass
class _Record:
    """What is known of one process of a program."""

    pid: int
    answered: bool = False  # since it was started
    failures: int = 0  # probes in a row
    stopped: int = 0  # looks in a row
    since: float = 0.0  # of the first of them


class Monitor:
    """The watch over one lab."""

    def __init__(self, found: settings.Settings, services: Sequence[Service], limits: Limits = Limits()) -> None:
        self.limits = limits
        self._settings, self._manager, self._services = found, Manager(found), services
        self._records: dict[str, _Record] = {}
        self._pool = ThreadPoolExecutor(len(services))
        self._silent = 0  # calls in a row that supervisord did not answer
        self._retried = time.monotonic()

    def look(self) -> bool:
        """Look once at everything, and do what has to be done; False when another supervisord has taken over."""
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
            with contextlib.suppress(OSError, xmlrpc.client.Fault):  # what fails again stays FATAL
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
                os.killpg(process.pid, signal.SIGKILL)  # supervisord makes each program a group of its own
        return False

    def _recovered(self, pid: int) -> bool:
        """Start supervisord, which had this process id, and with it everything, again; False if that did not work."""
        try:
            with exclusive(self._settings, RECOVERY):
                last = memory.recall(self._settings)
                if self._manager.pid != pid or last != memory.Memory("local", up=True):
                    return True
                run = self._settings.run
                with (run / "log" / "monitor.log").open("a") as log:  # which supervisord no longer writes
                    log.write(f"{_now()} supervisord has ended or hangs: everything is started again\n")
                config = (run / "supervisord.conf").read_text()
                self._manager.end_left(_GRACE_SECONDS)
                self._manager.start(config, {**os.environ, "PYTHONPATH": ""})  # set for this program alone
        except (EngineError, OSError) as error:  # tried again at the next look
            _say(f"nothing was started: {error}")
            return False
        return True


class _Guard:
    """A child that ends this process when it misses beats for too long; a child that is lost is replaced."""

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
    """End the parent process when nothing comes from it for too long; returns when it has ended."""
    while select.select([0], [], [], _GUARD_SECONDS)[0]:
        if not os.read(0, 4096):
            return
    _say(f"the monitor, process {parent}, hangs: ended")
    os.kill(parent, signal.SIGKILL)


def _is_stopped(pid: int) -> bool:
    """True for a process that SIGSTOP stopped, which a probe of its workers may not notice. Linux only."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def _continue(name: str, pid: int) -> None:
    _say(f"{name}, process {pid}, is stopped: continued")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the log is supervisord's, which may have ended
        print(_now(), text, flush=True)  # noqa: T201 - into its log


def _now() -> str:
    return time.strftime("%F %T")


if __name__ == "__main__":
    if sys.argv[1:] == ["guard"]:
        guard(os.getppid())
    else:
        main()
