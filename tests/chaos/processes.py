"""The processes of a lab by their names, and what they hold: memory and open files, from /proc."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lab_engine import settings
from lab_engine.local.manager import Manager
from tests.running import Lab

MIB = 1 << 20


def manager(lab: Lab) -> Manager:
    """The process manager of a running lab."""
    return Manager(settings.load(lab.environment, running=True))


def pid_of(lab: Lab, program: str) -> int:
    """The process id of a program; 0 while it does not run."""
    return next((each.pid for each in manager(lab).processes() if each.program == program), 0)


def restarts_of(lab: Lab, program: str) -> int:
    """How often a program ended by itself."""
    return next(each.restarts for each in manager(lab).processes() if each.program == program)


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    return [pid, *(each for child in children(pid) for each in tree(child))]


def rss(pids: list[int]) -> float:
    """Resident memory of these processes, in MiB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return total / MIB


def pss(pids: list[int]) -> float:
    """Memory of these processes in MiB, in which a page that several share counts once, as in a control group."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
    return total / MIB


def threads(pids: list[int]) -> int:
    """How many threads these processes have."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += len(list(Path(f"/proc/{pid}/task").iterdir()))
    return total


def files(pids: list[int]) -> int:
    """How many files these processes have open."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return total


class Recorder:
    """Samples a figure in the background until the block ends."""

    def __init__(self, read: Callable[[], float], interval: float = 0.2) -> None:
        self.samples: list[tuple[float, float]] = []  # time.monotonic(), figure
        self._read, self._interval = read, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._record)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak(self) -> float:
        return max(value for _, value in self.samples)

    def slope(self) -> float:
        """Growth per 10 minutes, by least squares over the second half: the first fills caches."""
        half = self.samples[len(self.samples) // 2 :]
        mean_time = sum(when for when, _ in half) / len(half)
        mean = sum(value for _, value in half) / len(half)
        spread = sum((when - mean_time) ** 2 for when, _ in half)
        return 600 * sum((when - mean_time) * (value - mean) for when, value in half) / spread if spread else 0.0

    def _record(self) -> None:
        self.samples.append((time.monotonic(), self._read()))
        while not self._stop.wait(self._interval):
            self.samples.append((time.monotonic(), self._read()))
