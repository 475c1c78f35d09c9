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
"""Seconds for the requests in flight and the exit of both, after which they are killed; Docker waits for 10."""

_UWSGI_SECONDS = 2.0  # of these are uWSGI's, after nginx
_POLL_SECONDS = 0.05

Programs = dict[str, subprocess.Popen[bytes]]


def run(settings: Settings) -> None:
    """Run both until TERM or Ctrl-C, then drain and return. If one exits by itself, stop the other and exit with 1.

    Draining: /readyz answers 503 while requests are still accepted for `drain_seconds`; then nginx stops listening and
    finishes the requests in flight, and uWSGI ends last. A second signal skips the wait.
    """
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: signals.append(received))
    for left in (settings.draining, settings.socket):
        left.unlink(missing_ok=True)
    programs: Programs = {"uwsgi": _start("uwsgi")}
    try:
        ended = ""
        if settings.front == "nginx":
            # What nginx takes before uWSGI listens is answered 503; what is refused goes to another gateway, if any.
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
    # A process group of its own: workers whose master is gone are found by it.
    return subprocess.Popen([sys.executable, "-m", "tensor_rest", name], start_new_session=True)


def _wait(programs: Programs, signals: list[int], over: Callable[[], bool]) -> str:
    """The name of a program that ended, or "" after a signal, or when it is `over`."""
    while not signals and not over():
        for name, program in programs.items():
            if program.poll() is not None:
                return name
        time.sleep(_POLL_SECONDS)
    return ""


def _stop(programs: Programs, by: signal.Signals) -> None:
    """End nginx, then uWSGI by this signal, and whatever is left of them."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    if nginx := programs.get("nginx"):
        nginx.send_signal(signal.SIGQUIT)  # it finishes what it has accepted; TERM would cut it
        with suppress(subprocess.TimeoutExpired):
            nginx.wait(STOP_TIMEOUT_S - _UWSGI_SECONDS)
    for program in programs.values():
        # After nginx nothing is in flight: INT is quicker, and also ends a worker that is only starting.
        # uWSGI looks for workers that ended once a second, and whenever a signal comes.
        while program.poll() is None and time.monotonic() < deadline:
            program.send_signal(by)
            time.sleep(_POLL_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
