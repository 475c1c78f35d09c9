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
_BOTH = (
    "--model_config_file_poll_wait_seconds=1",
    "--file_system_poll_wait_seconds=1",
    # What fails once is quarantined by the watcher; retries, 60 s apart, would hold up the C++ server's other models.
    "--max_num_load_retries=0",
)
_BINARY_ONLY = (
    # A label may come with the version it names, before that is loaded.
    "--allow_version_labels_for_unavailable_models=true",
    # The default, four a core, is used up by a few busy clients; what comes then is refused.
    "--grpc_max_threads=64",
)
EMBEDDED_FLAGS = (
    "--enable_batching=true",
    f"--batching_parameters_file={Path(__file__).parent / 'batching_parameters.pbtxt'}",
    # The cores are shared out by the batcher; TensorFlow's own sharing costs a small model more than its run.
    "--tensorflow_intra_op_parallelism=1",
)
"""How the embedded server is run for small models. A lab with slow ones may say --tensorflow_intra_op_parallelism=0.

The C++ server is left without batching: it would fail calls whose shapes differ, and signatures without a batch axis.
"""

_COULD_NOT_START = 255  # the binary's exit code, whatever the reason


def run(watcher: Watcher, command: Sequence[str], stop: Event, seconds: float) -> int:
    """Watch while the model server runs. Return 0 when told to stop, 1 when it ended by itself."""
    code = _run(watcher, command, stop, seconds)
    # A model whose only version does not load ends the binary at its start. Given its models later it goes on without.
    if code == _COULD_NOT_START and not stop.is_set() and watcher.list_nothing_yet():
        log.error("the model server could not start; once more, with no model listed until it answers")
        code = _run(watcher, command, stop, seconds)
    if stop.is_set():
        return 0
    log.error("the model server ended by itself (exit code %s); the watcher stops too", code)
    return 1


def _run(watcher: Watcher, command: Sequence[str], stop: Event, seconds: float) -> int:
    """Watch while the model server runs. Return its exit code."""
    with subprocess.Popen(command) as server:
        try:
            while not stop.wait(seconds) and server.poll() is None:
                watcher.poll()
        finally:
            _end(server)
    return server.returncode


def server_command(host: str, port: int, rest_port: int, config: Path, extra: Sequence[str]) -> list[str]:
    """The model server's command line. Of a flag given twice the last counts, so `extra` wins."""
    flags = [f"--port={port}", f"--rest_api_port={rest_port}", f"--model_config_file={config}", *_BOTH]
    if binary := shutil.which(_BINARY):
        return [binary, *flags, *_BINARY_ONLY, *extra]  # it listens on all addresses and has no flag for that
    return [sys.executable, "-m", "tensor_serving", "serve", f"--bind_address={host}", *flags, *EMBEDDED_FLAGS, *extra]


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
