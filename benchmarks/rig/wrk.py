"""The load on a gateway: wrk, with a few answers compared with the truth while it runs."""

import json
import random
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from rig.digits import Asking, Digits, WrongAnswerError

_SCRIPT = Path(__file__).parent / "requests.lua"
_WARM_UP = 1  # seconds; wrk accepts only whole ones
_SAMPLE_EACH = 0.1  # seconds for each image; each comparison adds a request that wrk does not count


class Wrk:
    """Loads gateways with requests; `folder` is for files. Exits with a message if wrk is not installed."""

    def __init__(self, digits: Digits, folder: Path) -> None:
        if not shutil.which("wrk"):
            sys.exit("wrk is not installed; it makes the load: apt-get install wrk")
        self._digits, self._folder = digits, folder
        self._warm: set[tuple[str, int]] = set()

    def load(self, target: str, asking: Asking, clients: int, seconds: int) -> dict[str, float]:
        """Return requests, answers a second, p50 and p99 in ms, wrk's own seconds of CPU. Raises WrongAnswerError.

        Every client sends its next request when it has its answer. wrk counts refused requests and broken connections,
        which fail the measurement; ten images a second are compared here.
        """
        file = asking.write(self._folder / "requests")
        before = _cpu()
        wrk = self._run(target, file, clients, seconds)
        try:
            while wrk.poll() is None:
                number = random.randrange(len(asking.requests))
                self._digits.check(target, asking, [number])
                with suppress(subprocess.TimeoutExpired):
                    wrk.wait(_SAMPLE_EACH * len(asking.samples[number]))
            output = wrk.communicate()[0]
        finally:
            wrk.kill()
        if not output.strip():
            raise WrongAnswerError(f"{target} under {clients} clients: wrk made no requests; its message is above")
        found = json.loads(output.strip().splitlines()[-1])
        if found["refused"] or found["broken"] or not found["requests"]:
            raise WrongAnswerError(f"{target} under {clients} clients: {found}")
        rate = found["requests"] / found["microseconds"] * 1e6
        times = {"p50": found["p50"], "p99": found["p99"]}
        return {"requests": found["requests"], "rate": rate, **times, "cpu": _cpu() - before}

    def warm(self, target: str, asking: Asking, clients: int) -> None:
        """Send load before the first measurement: some servers first adapt how long they wait for a batch."""
        if (target, clients) not in self._warm:
            self._run(target, asking.write(self._folder / "requests"), clients, _WARM_UP).communicate()
            self._warm.add((target, clients))

    def _run(self, target: str, file: Path, clients: int, seconds: int) -> "subprocess.Popen[str]":
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "20s"]
        return subprocess.Popen(
            [*command, "-s", str(_SCRIPT), f"http://{target}/", "--", str(file)], stdout=subprocess.PIPE, text=True
        )


def _cpu() -> float:
    """Return the processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
