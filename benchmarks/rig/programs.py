"""A program with all its processes: starting it, waiting for it, ending it, and its processor time and memory."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil  # type: ignore[import-untyped]

ANSWER_TIMEOUT_S = 120.0
"""Seconds for a program's first answer, as several programs load TensorFlow at the same time."""


class StartError(Exception):
    """A program did not start. The text has the reason."""


class Program:
    """A program, started by the constructor and ended with the block. `environment` is added to this process's."""

    def __init__(self, command: Sequence[object], log: Path, folder: Path, environment: Mapping[str, object]) -> None:
        self._log = log
        added = {name: str(value) for name, value in environment.items()}
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*map(str, command)], stdout=file, stderr=file, cwd=folder, env={**os.environ, **added},
                start_new_session=True,
            )  # fmt: skip

    def wait(self, answers: Callable[[], None]) -> None:
        """Call `answers` until it returns. Raises StartError, with its last error, if it does not return in time."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                return answers()
            except Exception as error:
                ended = self._process.poll()
                if ended is not None or time.monotonic() > deadline:
                    late = f"no answer in {ANSWER_TIMEOUT_S:.0f} s ({error!r})"
                    why = late if ended is None else f"ended with {ended}"
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
