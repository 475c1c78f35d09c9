"""A helper process that does one job after another; jobs and results are lines of JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rig import BENCHMARKS, PROJECT


class JobError(Exception):
    """A job failed in its process. The text is the error it reported."""


def environment() -> dict[str, str]:
    """Return an environment in which both the benchmark's modules and the serving package are found."""
    path = os.pathsep.join((str(BENCHMARKS), str(PROJECT)))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Worker:
    """`python -m MODULE` as a process, ended with the block; `ask` gives it a job and waits for the result."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    def ask(self, **job: Any) -> Any:
        """Send a job and return its result. Raises JobError when the job failed or the process ended."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"the process ended (exit code {self._process.wait()})"}
        if "error" in answer:
            raise JobError(answer["error"])
        return answer["result"]

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


def work(do: Callable[..., Any]) -> None:
    """Do each job that stdin has, until it ends: the main loop of a helper process."""
    for line in sys.stdin:
        try:
            answer = {"result": do(**json.loads(line))}
        except Exception as error:  # noqa: BLE001 - Worker.ask raises it again
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
