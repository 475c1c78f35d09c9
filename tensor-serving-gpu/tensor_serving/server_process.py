"""The model server as a child process: its command line, and whether to start it again when it has ended.

It is TensorFlow Serving's binary where that is installed, else the embedded server; both take the same flags.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tensor_serving import running_versions
from tensor_serving.load_record import LoadRecord
from tensor_serving.server_output import ServerOutput

_BINARY = "tensorflow_model_server"
_BOTH = (
    "--model_config_file_poll_wait_seconds=1",
    "--file_system_poll_wait_seconds=1",
    # The watcher quarantines what fails once; retries, 60 s apart, would delay the C++ server's other models.
    "--max_num_load_retries=0",
)
_BINARY_ONLY = (
    # A label may be listed together with its version, before that is loaded.
    "--allow_version_labels_for_unavailable_models=true",
    # More than eight gateway workers together have in flight, at 128 calls each; further calls are refused.
    # The default is 4 a core.
    "--grpc_max_threads=1088",
    # Only the watcher uses REST. The default, 4 a core, may exceed a container's limit on processes.
    "--rest_api_num_threads=8",
)
EMBEDDED_FLAGS = (
    "--enable_batching=true",
    f"--batching_parameters_file={Path(__file__).parent / 'batching_parameters.pbtxt'}",
    # The batcher distributes work over the cores; TensorFlow's own distribution costs a small model more than its run.
    "--tensorflow_intra_op_parallelism=1",
)
"""Flags of the embedded server, for small models. A lab with slow ones may set --tensorflow_intra_op_parallelism=0.

The C++ server runs without batching: it would fail calls whose shapes differ, and signatures without a batch axis.
"""

_COULD_NOT_START = 255  # the binary's exit code, whatever the reason
_KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # sent by another process
_LAST_LINES = 5.0  # seconds to wait for the remaining output of a server that has ended

FindFolder = Callable[[str, int], Path | None]
"""Returns the folder of a model's version, or None when it does not exist."""


class ServerProcess(Protocol):
    """A way to run a model server; one process at a time."""

    record: LoadRecord
    """The versions that did not load, for the watcher."""

    def start(self, find: FindFolder) -> "subprocess.Popen[bytes]":
        """Start the server."""

    def stopped(self) -> None:
        """Record that the server was stopped on purpose."""

    def should_restart(self, code: int) -> bool:
        """Return whether to start the server again after it has ended with this exit code.

        True when a version that was being loaded or called may be the cause: it is left out, at once or after more
        crashes.
        """


class Embedded:
    """The embedded server. It keeps the record of loads in the file itself."""

    def __init__(self, command: Sequence[str], record_file: Path) -> None:
        self._command, self._file = (*command, f"--load_record_file={record_file}"), record_file
        self.record = LoadRecord()  # the server reports what it holds back as failed loads

    def start(self, _find: FindFolder) -> "subprocess.Popen[bytes]":
        """See ServerProcess.start."""
        return subprocess.Popen(self._command)

    def stopped(self) -> None:
        """See ServerProcess.stopped."""

    def should_restart(self, code: int) -> bool:
        """See ServerProcess.should_restart."""
        if code >= 0:
            return False
        running = -code not in _KILLS and running_versions.read(self._file.with_suffix(".running"))
        return bool(running or LoadRecord(self._file).loading())


class Binary:
    """TensorFlow Serving's binary. What it loads is read from its output and written to the record."""

    def __init__(self, command: Sequence[str], record_file: Path) -> None:
        self._command = command
        self.record = LoadRecord(record_file)
        self.record.server_crashed("killed", by_itself=False)  # if a version was still loading
        self._output: ServerOutput | None = None
        self._failed = False

    def start(self, find: FindFolder) -> "subprocess.Popen[bytes]":
        """See ServerProcess.start."""
        self._failed = False

        def on_event(event: str, name: str, number: int, reason: str) -> None:
            folder = find(name, number)
            if folder and event == "loading":
                with contextlib.suppress(OSError):  # it is being deleted
                    self.record.begin(folder)
            elif folder and event == "loaded":
                self.record.loaded(folder)
            elif folder:
                self.record.failed(folder, reason)
                self._failed = True

        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}  # loads are logged at this level
        server = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        assert server.stdout
        self._output = ServerOutput(server.stdout, on_event)
        return server

    def stopped(self) -> None:
        """See ServerProcess.stopped."""
        self.record.server_stopped()

    def should_restart(self, code: int) -> bool:
        """See ServerProcess.should_restart."""
        if self._output:
            self._output.join(_LAST_LINES)
        if code == _COULD_NOT_START:
            self.record.server_stopped()
            return self._failed
        if code >= 0:
            return False
        how = signal.strsignal(-code) or f"signal {-code}"
        return bool(self.record.server_crashed(how, by_itself=-code not in _KILLS))


def server_command(host: str, port: int, rest_port: int, config: Path, extra: Sequence[str]) -> list[str]:
    """Return the model server's command line. The last of repeated flags counts, so `extra` wins."""
    flags = [f"--port={port}", f"--rest_api_port={rest_port}", f"--model_config_file={config}", *_BOTH]
    if binary := shutil.which(_BINARY):
        return [binary, *flags, *_BINARY_ONLY, *extra]  # it listens on all addresses and has no flag for that
    return [sys.executable, "-m", "tensor_serving", "serve", f"--bind_address={host}", *flags, *EMBEDDED_FLAGS, *extra]


def model_server(command: Sequence[str], record_file: Path) -> ServerProcess:
    """Return the server of this command line, with its record of loads in this file."""
    return Embedded(command, record_file) if command[0] == sys.executable else Binary(command, record_file)
