"""A program with all its processes: started, waited for, ended; what they cost."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil  # type: ignore[import-untyped]

PATIENCE = 120.0
"""Seconds a program gets to answer in: several load TensorFlow at the same time."""


class StartError(Exception):
    """A program did not start; the text says why."""


class Program:
    """Started with the object, ended with the block. `environment` adds to this process's."""

    def __init__(self, command: Sequence[object], log: Path, folder: Path, environment: Mapping[str, object]) -> None:
        self._log = log
        added = {name: str(value) for name, value in environment.items()}
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*map(str, command)], stdout=file, stderr=file, cwd=folder, env={**os.environ, **added},
                start_new_session=True,
            )  # fmt: skip

    def wait(self, answers: Callable[[], None]) -> None:
        """Call `answers` until it returns. Raises StartError with what was wrong last if it does not in time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return answers()
            except Exception as error:
                ended = self._process.poll()
                if ended is not None or time.monotonic() > deadline:
                    why = f"ended with {ended}" if ended is not None else f"no answer in {PATIENCE:.0f} s ({error!r})"
                    raise StartError(f"{why}; {self._log.read_text(errors='replace').strip()[-300:]}") from error
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """Return its living processes, the first one first."""
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu(self) -> dict[str, float]:
        """Return the seconds of processor time its processes have used, nginx's and that of all others."""
        found: dict[str, float] = {}
        for process in self.processes():
            times = process.cpu_times()
            role = "nginx" if process.name() == "nginx" else "workers"
            found[role] = found.get(role, 0.0) + times.user + times.system
        return found

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = self.processes()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        _, left = psutil.wait_procs(processes, 10)
        for process in left:
            process.kill()
        self._process.wait()


def pss(processes: Sequence[psutil.Process]) -> float:
    """Return the memory of processes in MB (1,000,000 bytes), shared pages counted once."""
    return sum(process.memory_full_info().pss for process in processes) / 1e6
