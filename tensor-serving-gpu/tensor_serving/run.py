"""One container's worth of serving: the watcher in this process, the model server as its child, and one fate for both.

The model server is TensorFlow Serving's binary where it is installed, else the embedded one; both take the same flags.
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from tensor_serving.watch import Watcher

log = logging.getLogger(__name__)

PATIENCE = 8.0
"""Seconds the model server gets to stop in before it is killed; Docker waits for 10."""

_BINARY = "tensorflow_model_server"
_BOTH = ("--model_config_file_poll_wait_seconds=1", "--file_system_poll_wait_seconds=1")
_BINARY_ONLY = (
    # A label may come with the version it names, before that is loaded.
    "--allow_version_labels_for_unavailable_models=true",
    # Retries, 60 s apart, would hold up all other models; the watcher lists sound versions only.
    "--max_num_load_retries=0",
    # The default, four a core, is used up by a few busy clients; what comes then is refused.
    "--grpc_max_threads=64",
)


def run(watcher: Watcher, command: Sequence[str], stop: Event, seconds: float) -> int:
    """Watch while the model server runs. Return 0 when told to stop, 1 when it ended by itself."""
    with subprocess.Popen(command) as server:
        try:
            while not stop.wait(seconds) and server.poll() is None:
                watcher.poll()
            if not stop.is_set():
                log.error("the model server ended by itself (exit code %s); the watcher stops too", server.returncode)
        finally:
            _end(server)
    return 0 if stop.is_set() else 1


def server_command(host: str, port: int, config: Path, extra: Sequence[str]) -> list[str]:
    """The model server's command line. Of a flag given twice the last counts, so `extra` wins."""
    flags = [f"--port={port}", f"--model_config_file={config}", *_BOTH]
    if binary := shutil.which(_BINARY):
        return [binary, *flags, *_BINARY_ONLY, *extra]  # it listens on all addresses and has no flag for that
    return [sys.executable, "-m", "tensor_serving", "serve", f"--bind_address={host}", *flags, *extra]


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
