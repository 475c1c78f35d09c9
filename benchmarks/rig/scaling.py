"""The gateway's throughput by number of workers and model servers, its memory, and how fast a worker starts."""

import http.client
import os
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from rig import gateways
from rig.digits import Digits
from rig.programs import pss
from rig.servers import Server
from rig.wrk import Wrk

Row = dict[str, Any]

_CLIENTS = 32
_MIN_LIFETIME_S = 2.0  # of a worker, else uWSGI delays the start of the next one


def table(
    digits: Digits, wrk: Wrk, folder: Path, servers: list[Server], workers: tuple[int, ...], seconds: int
) -> tuple[list[Row], float]:
    """Return a row for each number of workers and of model servers, and the seconds that a worker's start takes."""
    rows, start = [], 0.0
    for count in workers:
        for number in range(1, len(servers) + 1):
            here = folder / f"{count}x{number}"
            contestant = gateways.ours(here.name, here, digits, servers[:number], processes=count)
            with contestant.programs[0]:  # not the servers: the next ones need them
                contestant.wait(digits)
                rows.append({"workers": count, "model servers": number, **_busy(contestant, wrk, seconds)})
                start = start or worker_start(contestant)
    return rows, start


def _busy(contestant: gateways.Contestant, wrk: Wrk, seconds: int) -> Row:
    wrk.warm(contestant.target, contestant.asking, _CLIENTS)
    before, started = contestant.cpu(), time.perf_counter()
    found = wrk.load(contestant.target, contestant.asking, _CLIENTS, seconds)
    elapsed = time.perf_counter() - started
    busy = {role: (used - before.get(role, 0.0)) / elapsed for role, used in contestant.cpu().items()}
    return {"rate": found["rate"], "cores": {**busy, "wrk": found["cpu"] / elapsed}}


def text(rows: list[Row]) -> str:
    """Return the table as text."""
    roles = list(rows[0]["cores"])
    head = f"{'workers':>7}{'model servers':>15}{'answers/s':>11}" + "".join(f"{role:>14}" for role in roles)
    lines = ["Cores each keeps busy at 32 clients:", f"{head}{'all':>7}"]
    for row in rows:
        cores = row["cores"].values()
        busy = "".join(f"{used:>14.2f}" for used in cores) + f"{sum(cores):>7.2f}"
        lines.append(f"{row['workers']:>7}{row['model servers']:>15}{row['rate']:>11,.0f}{busy}")
    return "\n".join([*lines, ""])


def memory(contestant: gateways.Contestant) -> float:
    """Return the memory of uWSGI with all its workers, MB."""
    return pss(_uwsgi(contestant))


def worker_start(contestant: gateways.Contestant) -> float:
    """Kill the only worker, and return the seconds from the fork of the next one to its first answer."""
    _, worker = _uwsgi(contestant)
    time.sleep(max(0.0, _forked_at(worker.pid) + _MIN_LIFETIME_S - time.clock_gettime(time.CLOCK_BOOTTIME)))
    worker.kill()
    host, _, port = contestant.target.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("GET", "/healthz")  # it waits in the socket's backlog
    status = connection.getresponse().status
    answered = time.clock_gettime(time.CLOCK_BOOTTIME)
    connection.close()
    if status != http.client.OK:
        raise RuntimeError(f"/healthz answered {status} after the worker was killed")
    return answered - _forked_at(_uwsgi(contestant)[1].pid)


def _forked_at(pid: int) -> float:
    """Return when a process was forked, in seconds since the machine's start; psutil is off by half a second."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return int(ticks) / os.sysconf("SC_CLK_TCK")


def _uwsgi(contestant: gateways.Contestant) -> list[psutil.Process]:
    """Return the master and its workers."""
    return [process for process in contestant.programs[0].processes() if "pyuwsgi" in " ".join(process.cmdline())]
