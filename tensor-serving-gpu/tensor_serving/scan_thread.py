"""Scans of the models volume in a thread of their own: a disk that hangs blocks that thread and nothing else."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread


class ScanThread:
    """Runs `scan`, one call at a time. `scan` returns whether it succeeded, and must not raise."""

    def __init__(self, scan: Callable[[], bool]) -> None:
        self._scan = scan
        self._wanted: SimpleQueue[None] = SimpleQueue()
        self._done = Event()
        self._done.set()
        self._succeeded = False
        self._thread: Thread | None = None

    def run_once(self, seconds: float | None) -> bool:
        """Run `scan` once; return whether it succeeded, or False if it takes longer than `seconds` (None: no limit).

        A call that takes longer continues in the background. Until it has ended, each further call returns False at
        once.
        """
        if not self._done.is_set():
            return False
        if not self._thread:
            # A daemon, because a thread that waits for a disk cannot be stopped.
            self._thread = Thread(target=self._run, name="scan", daemon=True)
            self._thread.start()
        self._done.clear()
        self._wanted.put(None)
        return self._done.wait(seconds) and self._succeeded

    def _run(self) -> None:
        while True:
            self._wanted.get()
            self._succeeded = False
            try:
                self._succeeded = self._scan()
            finally:
                self._done.set()
