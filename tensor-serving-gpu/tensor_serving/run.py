"""The serving container's processes: the watcher in this process and the model server as its child; both end together.

A server that a version has crashed is started again without that version. If the server ends for another reason, this
process ends too.
"""

import logging
import subprocess
import time
from threading import Event

from tensor_serving.server_process import ServerProcess
from tensor_serving.watch import Watcher

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 8.0
"""Seconds the model server gets to stop before it is killed; Docker waits for 10."""


def run(watcher: Watcher, server: ServerProcess, stop: Event, seconds: float) -> int:
    """Watch while the model server runs. Return 0 when stopped by a signal, 1 when it ended by itself."""
    while True:
        code = _run(watcher, server, stop, seconds)
        if stop.is_set():
            server.stopped()
            return 0
        if not server.should_restart(code):
            log.error("the model server ended by itself (exit code %s); the watcher stops too", code)
            return 1
        log.error("the model server ended (exit code %s) because of a version; it is started again", code)
        if not watcher.poll():
            stop.wait(1)  # the config file may still list the version


def _run(watcher: Watcher, server: ServerProcess, stop: Event, seconds: float) -> int:
    """Watch while the model server runs. Return its exit code."""
    started = time.monotonic()
    watcher.server_starts()
    process = server.start(watcher.folder)
    try:
        while not stop.wait(seconds) and process.poll() is None:
            before = watcher.server_answered
            watcher.poll()
            if watcher.server_answered and not before:
                log.info("the model server answers, %.1f s after its start", time.monotonic() - started)
    finally:
        _end(process)
    return process.wait()


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
