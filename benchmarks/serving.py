"""How fast the embedded model server is: absolute figures, and ratios with their thresholds, all measured in one run.

Everything is started here, on free ports. First the answers are checked; then short rounds alternate between the
servers, so that a busy moment of the machine hits all of them, and the medians count. See README.md beside this file.
"""

import argparse
import json
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rig import report, servers, stages
from rig.workers import Worker

STRAIGHTFORWARD, UNBATCHED, EMBEDDED = "straightforward", "embedded, unbatched", "embedded"
IN_PROCESS, REAL = "in process", "given server"

# Clients, rows in each request.
SINGLE, MANY, LARGE, SEVERAL_LARGE = (1, 1), (32, 1), (1, 32), (4, 32)

Rates = dict[tuple[str, str, tuple[int, int]], list[dict[str, float]]]


def main(arguments: list[str]) -> int:
    """Measure, print, and return the exit code: 1 when a threshold was missed."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # or what is started here would keep running
    if given.stages:
        stages.main()
        return 0
    seconds, rounds = (0.4, 1) if given.quick else (given.seconds, given.rounds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        truth = folder / "truth.npz"
        reference = stack.enter_context(Worker("reference", truth))
        reference.ask(rows=1, seconds=0)
        load = stack.enter_context(Worker("rig.load", truth))
        start = _start(folder, 1 if given.quick else 5)
        running = {
            STRAIGHTFORWARD: servers.straightforward(folder / "straightforward.log"),
            UNBATCHED: servers.embedded(folder / "unbatched.log", batching=False),
            EMBEDDED: servers.embedded(folder / "embedded.log", batching=True),
        }
        for server in running.values():
            stack.enter_context(server)
            server.first_answer()
        cells = _cells(running, given.server, given.model)
        rates = _measure(cells, load, reference, seconds, rounds, running)
    medians = {
        cell: {key: statistics.median(r[key] for r in found) for key in found[0]} for cell, found in rates.items()
    }
    thresholds = _thresholds(start, medians)
    sys.stdout.write(_table(medians, start) + report.results(thresholds))
    if given.json:
        document = {
            "rates": [{"server": s, "api": a, "clients": c, "rows": r, **m} for (s, a, (c, r)), m in medians.items()],
            "start": start,
            "thresholds": thresholds,
        }
        given.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if given.no_thresholds or all(threshold["passed"] for threshold in thresholds) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of all measurements (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round: to see that it works")
    parser.add_argument("--stages", action="store_true", help="only print where the time of one call is spent")
    parser.add_argument("--no-thresholds", action="store_true", help="exit with 0 though a threshold is missed")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument(
        "--server", metavar="HOST:PORT", help="also measure a server that runs there already, over gRPC"
    )
    parser.add_argument("--model", default=servers.MODEL, help="the shipped model's name there (default: %(default)s)")
    return parser


def _start(folder: Path, times: int) -> dict[str, float]:
    """Return seconds to the first answer, memory after it, and seconds from a rename to the first answer: medians."""
    firsts, memories = [], []
    for number in range(times):
        with servers.embedded(folder / f"start-{number}.log", batching=True) as server:
            firsts.append(server.first_answer())
            memories.append(server.memory())
    published = servers.Published(folder / "published")
    with published.server as server:
        server.first_answer()
        fresh = [published.fresh() for _ in range(times)]
    return {
        "first answer, s": statistics.median(firsts),
        "memory, MB": statistics.median(memories),
        "rename to first answer, s": statistics.median(fresh),
    }


def _cells(running: dict[str, Any], given: str | None, model: str) -> list[tuple[str, str, str, str, tuple[int, int]]]:
    """Return what to measure: server, kind of call, where, model, shape of the load."""
    shapes = (SINGLE, MANY, LARGE, SEVERAL_LARGE)
    cells = [
        (name, "grpc", server.target, servers.MODEL, shape) for shape in shapes for name, server in running.items()
    ]
    cells += [(EMBEDDED, "rest", running[EMBEDDED].rest_target, servers.MODEL, shape) for shape in (SINGLE, MANY)]
    if given:
        cells += [(REAL, "grpc", given, model, shape) for shape in shapes]
    return sorted(cells, key=lambda cell: shapes.index(cell[4]))  # what is compared is measured side by side


def _measure(
    cells: list[Any], load: Worker, reference: Worker, seconds: float, rounds: int, running: dict[str, Any]
) -> Rates:
    rates: Rates = defaultdict(list)
    for number in range(rounds):
        for name, kind, target, model, (clients, rows) in cells if number % 2 == 0 else cells[::-1]:
            server = running.get(name)
            before = (server.cpu(), server.loop_cpu()) if server else (0.0, 0.0)
            found = load.ask(kind=kind, target=target, model=model, clients=clients, rows=rows, seconds=seconds)
            if server:  # the warm-up's share is in both
                total = found.pop("total")
                found["cpu"] = (server.cpu() - before[0]) / total * 1e6
                found["loop"] = (server.loop_cpu() - before[1]) / total * 1e6
            else:
                found.pop("total")
            rates[name, kind, (clients, rows)].append(found)
            if name == EMBEDDED and (clients, rows) == LARGE:
                images = reference.ask(rows=rows, seconds=seconds)
                rates[IN_PROCESS, "-", LARGE].append({"answers": images / rows, "images": images})
    return rates


def _thresholds(start: dict[str, float], medians: dict[Any, dict[str, float]]) -> list[report.Threshold]:
    def ratio(shape: tuple[int, int], over: str, under: str, kinds: tuple[str, str] = ("grpc", "grpc")) -> float:
        return medians[over, kinds[0], shape]["images"] / medians[under, kinds[1], shape]["images"]

    at_least = (
        ("one client, x straightforward", ratio(SINGLE, EMBEDDED, STRAIGHTFORWARD), 1.5),
        ("32 clients, x straightforward", ratio(MANY, EMBEDDED, STRAIGHTFORWARD), 2.4),
        ("one client, x unbatched", ratio(SINGLE, EMBEDDED, UNBATCHED), 0.95),
        ("32 images in one request, x in process", ratio(LARGE, EMBEDDED, IN_PROCESS, ("grpc", "-")), 0.8),
        ("REST JSON at 32 clients, x gRPC", ratio(MANY, EMBEDDED, EMBEDDED, ("rest", "grpc")), 0.6),
    )
    at_most = (("first answer, s", 1.0), ("memory, MB", 420.0), ("rename to first answer, s", 2.0))
    return [
        *(report.at_least(what, found, limit) for what, found, limit in at_least),
        *(report.at_most(what, start[what], limit) for what, limit in at_most),
    ]


def _table(medians: dict[Any, dict[str, float]], start: dict[str, float]) -> str:
    lines = [
        "",
        f"{'server':<22}{'API':<6}{'clients':>7}{'rows':>6}{'answers/s':>11}{'images/s':>10}"
        f"{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>8}{'loop us':>9}",
    ]
    for (server, api, (clients, rows)), found in sorted(medians.items(), key=lambda item: (item[0][2][::-1], item[0])):
        times = "".join(f"{found[key]:>9.2f}" if key in found else f"{'':>9}" for key in ("p50", "p99"))
        cpu = f"{found['cpu']:>8.0f}{found['loop']:>9.0f}" if "cpu" in found else ""
        lines.append(
            f"{server:<22}{api:<6}{clients:>7}{rows:>6}{found['answers']:>11,.0f}{found['images']:>10,.0f}{times}{cpu}"
        )
    return "\n".join([*lines, "", *(f"{what:<40}{value:>8.2f}" for what, value in start.items()), ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
