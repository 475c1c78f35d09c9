"""TensorFlow Serving's output: passed on to this process's log, and parsed for the versions it loads.

The lines are those of 2.x: from loader_harness.cc and retrier.cc on stderr, from main.cc on stdout when a start fails.
"""

import contextlib
import re
import sys
from collections.abc import Callable
from threading import Thread
from typing import IO

_MAX_LINE_BYTES = 256 * 1024
_ID = rb"\{name: ([a-z0-9._-]+) version: ([0-9]+)\}"
_LOADING = re.compile(rb"\] Loading servable version " + _ID)
_LOADED = re.compile(rb"\] Successfully loaded servable version " + _ID)
_FAILED = re.compile(rb"\] Loading servable: " + _ID + rb" failed: (.*)")
_UNAVAILABLE = re.compile(_ID + rb" due to error: (.*?)(?:\}, |$)")  # after "did not become available:", for each model

OnEvent = Callable[[str, str, int, str], None]
"""Takes "loading", "loaded" or "failed", a model's name, a version and, if it failed, the reason."""


class ServerOutput(Thread):
    """Reads the stream to its end, in a thread of its own."""

    def __init__(self, stream: IO[bytes], on_event: OnEvent) -> None:
        super().__init__(name="server output", daemon=True)
        self._stream, self._on_event = stream, on_event
        self.start()

    def run(self) -> None:
        """Pass every line on after handling its event: a version is recorded as loading before the log says so."""
        with self._stream:
            for line in iter(lambda: self._stream.readline(_MAX_LINE_BYTES), b""):
                for event, name, number, reason in events(line):
                    self._on_event(event, name, number, reason)
                with contextlib.suppress(OSError):  # a server whose output is not read would block for ever
                    sys.stderr.buffer.write(line)
                    sys.stderr.buffer.flush()


def events(line: bytes) -> list[tuple[str, str, int, str]]:
    """Return the version events of a line."""
    for event, pattern in (("loading", _LOADING), ("loaded", _LOADED), ("failed", _FAILED)):
        if found := pattern.search(line):
            return [_event(event, *found.groups())]
    return [_event("failed", *found) for found in _UNAVAILABLE.findall(line)]


def _event(event: str, name: bytes, number: bytes, reason: bytes = b"") -> tuple[str, str, int, str]:
    return event, name.decode(), int(number), reason.decode(errors="replace").strip()
