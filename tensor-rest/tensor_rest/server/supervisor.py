"""Start and stop nginx and uWSGI together; when one of them exits, the other is stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from tensor_rest.settings import Settings

STOP_TIMEOUT_S = 8.0
"""Seconds in which both must finish their requests and exit before they are killed; Docker waits for 10."""

_UWSGI_SECONDS = 2.0  # of these, reserved for uWSGI after nginx
_POLL_SECONDS = 0.05

Programs = dict[str, subprocess.Popen[bytes]]


def run(settings: Settings) -> None:
    """Run uWSGI, and nginx if it is in front, until TERM or Ctrl-C, then drain and return.

    If one of the two exits by itself, the other is stopped and this process exits with 1.

    Draining: /readyz answers 503 while requests are still accepted for `drain_seconds`; then nginx stops listening and
    finishes the requests in flight, and uWSGI ends last. A second signal skips the wait.
    """
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: signals.append(received))
    for stale in (settings.draining, settings.socket):
        stale.unlink(missing_ok=True)
    programs: Programs = {"uwsgi": _start("uwsgi")}
    try:
        ended = ""
        if settings.front == "nginx":
            # Before uWSGI listens, nginx would answer 503; a refused connection can go to another gateway instead.
            ended = _wait(programs, signals, settings.socket.exists)
            if not ended and not signals:
                programs["nginx"] = _start("nginx")
        ended = ended or _wait(programs, signals, lambda: False)
        if not ended and settings.front in programs:
            with suppress(OSError):  # a full disk must not keep it from stopping
                settings.draining.touch()
            signals.clear()
            deadline = time.monotonic() + settings.drain_seconds
            ended = _wait(programs, signals, lambda: time.monotonic() >= deadline)
    finally:
        _stop(programs, signal.SIGINT if settings.front == "nginx" else signal.SIGTERM)
        settings.draining.unlink(missing_ok=True)
    if ended:
        sys.exit(f"{ended} ended by itself (exit code {programs[ended].returncode}), so the whole gateway stops.")


def _start(name: str) -> subprocess.Popen[bytes]:
    # In its own process group, so that workers whose master has ended can be killed.
    return subprocess.Popen([sys.executable, "-m", "tensor_rest", name], start_new_session=True)


def _wait(programs: Programs, signals: list[int], over: Callable[[], bool]) -> str:
    """Return the name of a program that ended, or "" after a signal, or once `over` returns true."""
    while not signals and not over():
        for name, program in programs.items():
            if program.poll() is not None:
                return name
        time.sleep(_POLL_SECONDS)
    return ""


def _stop(programs: Programs, by: signal.Signals) -> None:
    """Stop nginx, then uWSGI with the signal `by`; then kill what is left of both."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    if nginx := programs.get("nginx"):
        nginx.send_signal(signal.SIGQUIT)  # it finishes the accepted requests; TERM would cut them off
        with suppress(subprocess.TimeoutExpired):
            nginx.wait(STOP_TIMEOUT_S - _UWSGI_SECONDS)
    for program in programs.values():
        # After nginx has ended nothing is in flight: INT is quicker, and also ends a worker that is still starting.
        # It is repeated because uWSGI looks for ended workers only once a second, and at each signal.
        while program.poll() is None and time.monotonic() < deadline:
            program.send_signal(by)
            time.sleep(_POLL_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
