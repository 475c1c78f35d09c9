"""The monitor beside a real supervisord: what hangs is ended, what was given up on is started again."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab_engine import memory, settings
from lab_engine.local.manager import Manager, Process
from lab_engine.local.monitor import Limits, Monitor, _is_stopped
from lab_engine.local.services import Program, Service
from lab_engine.settings import ROOT
from lab_engine.waiting import wait_until

PROGRAM = Path(__file__).parent / "programs" / "answer_or_hang.py"
CONFIG = """
[supervisord]
logfile={run}/supervisord.log
pidfile={run}/supervisord.pid
childlogdir={run}
[unix_http_server]
file={run}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[group:service]
programs=answers,fails
[program:answers]
command={python} {program} {port}
startsecs=0
[program:fails]
command=cat {run}/later -
startretries=0
"""
QUICK = Limits(pause=0.05, probe=0.2, silence=0.2, start=60, retry=0.2)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[settings.Settings]:
    """Two programs: `answers` does, and `fails` until the file `later` is there."""
    found = settings.load({"LAB_HOME": str(tmp_path)})
    found.run.mkdir()
    (found.run / "log").mkdir()
    found.venv.symlink_to(ROOT / ".lab" / "venv")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = CONFIG.format(run=found.run, python=sys.executable, program=PROGRAM, port=port)
    (found.run / "port").write_text(str(port))
    manager = Manager(found)
    manager.start(config, {**os.environ, "TENSOR_LAB_SUPERVISED": str(found.home)})
    memory.note(found, "local", up=True)
    yield found
    manager.stop()


def test_what_hangs_fails_or_lost_its_manager_runs_again(lab: settings.Settings) -> None:
    manager, port = Manager(lab), (lab.run / "port").read_text()
    watch = monitor(lab)

    def process(name: str) -> Process | None:
        return next((each for each in manager.processes() if each.program == name), None)

    def runs(name: str, *, other_than: int = 0) -> Callable[[], bool]:
        def condition() -> bool:
            watch.look()
            found = process(name)
            return found is not None and found.state == "RUNNING" and found.pid != other_than

        return condition

    assert wait_until(runs("answers"), 20)
    assert wait_until(lambda: watch._records["answers"].answered or not watch.look(), 20)
    before = process("answers")
    assert before
    with socket.create_connection(("127.0.0.1", int(port))) as client:
        client.sendall(b"GET /hang HTTP/1.0\r\n\r\n")
        assert wait_until(runs("answers", other_than=before.pid), 20)

    (lab.run / "later").touch()
    assert wait_until(runs("fails"), 20)

    supervisord = int((lab.run / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    assert wait_until(lambda: not watch.look(), 20)  # it has started another, and is to end with the old one
    assert wait_until(runs("answers", other_than=before.pid), 20)
    assert int((lab.run / "supervisord.pid").read_text()) != supervisord


@pytest.mark.parametrize("name", ["answers", "supervisord"])
def test_what_is_stopped_is_continued(lab: settings.Settings, name: str) -> None:
    manager, watch = Manager(lab), monitor(lab)
    assert wait_until(lambda: watch.look() and watch._records["answers"].answered, 20)
    processes = {process.program: process.pid for process in manager.processes()} | {"supervisord": manager.pid}
    os.kill(processes[name], signal.SIGSTOP)
    assert wait_until(lambda: _is_stopped(processes[name]), 20)
    assert wait_until(lambda: watch.look() and not _is_stopped(processes[name]), 20)
    assert wait_until(lambda: watch.look() and watch._records["answers"].failures == 0, 20)
    assert {process.program: process.pid for process in manager.processes()}["answers"] == processes["answers"]
    assert manager.pid == processes["supervisord"]


def test_restarts_are_counted_across_a_rotation_of_the_log(lab: settings.Settings) -> None:
    manager, log = Manager(lab), lab.run / "supervisord.log"

    def program() -> Process:
        return next(each for each in manager.processes() if each.program == "answers")

    assert wait_until(lambda: program().pid > 0, 20)
    os.kill(program().pid, signal.SIGKILL)
    assert wait_until(lambda: program().restarts == 1, 20)
    log.rename(log.with_name("supervisord.log.1"))
    os.kill(manager.pid, signal.SIGUSR2)  # supervisord opens its log anew
    assert wait_until(log.exists, 20)
    assert program().restarts == 1


def monitor(lab: settings.Settings) -> Monitor:
    program = Program("answers", (), probe=f"http://127.0.0.1:{(lab.run / 'port').read_text()}/")
    return Monitor(lab, [Service("service", (program,))], QUICK)
