"""nginx and uWSGI as one: they start together, stop together, and neither goes on without the other."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

from ..settings import Settings

PATIENCE = 8.0
"""Seconds the two get to stop in before they are killed; Docker waits for 10."""

Programs = dict[str, subprocess.Popen[bytes]]


def run(settings: Settings) -> None:
    """Run both until TERM or Ctrl-C, then return. If one ends by itself stop the other, and leave with 1."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: told.append(received))
    programs: Programs = {}
    try:
        for name in ("uwsgi",) if settings.front == "uwsgi" else ("uwsgi", "nginx"):
            # A process group of its own each: workers whose master is gone are found by it.
            command = [sys.executable, "-m", "tensor_rest", name]
            programs[name] = subprocess.Popen(command, start_new_session=True)
        ended = _wait(programs, told)
    finally:
        _stop(programs)
    if ended:
        sys.exit(f"{ended} ended by itself (exit code {programs[ended].returncode}), so the whole gateway stops.")


def _wait(programs: Programs, told: list[int]) -> str:
    """The name of the program that ended, or nothing once the gateway is told to stop."""
    while not told:
        for name, program in programs.items():
            if program.poll() is not None:
                return name
        time.sleep(0.1)
    return ""


def _stop(programs: Programs) -> None:
    for program in programs.values():
        program.terminate()
    deadline = time.monotonic() + PATIENCE
    for program in programs.values():
        with suppress(subprocess.TimeoutExpired):
            program.wait(max(0.0, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
