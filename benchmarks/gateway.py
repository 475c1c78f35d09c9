"""How fast the gateway is: absolute figures, and ratios with their thresholds, all measured in one run.

Everything is started here, on free ports: the lab's gateway, a straightforward one, and peers that have the model in
their own process. First every sample is sent to each of them; then short rounds alternate between them, and the medians
count. See README.md beside this file.
"""

import argparse
import json
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from peers import make
from rig import gateways, report, scaling
from rig.digits import Digits
from rig.gateways import Contestant
from rig.programs import StartError
from rig.servers import MODEL
from rig.workers import Worker
from rig.wrk import Wrk

OURS, SIMPLE, DIRECT = "gateway", "straightforward", "direct gRPC"
GIVEN, GIVEN_REST = "gateway, given server", "given server's REST"
CLIENTS = (1, 8, 32)
_ALONE, _BUSY = CLIENTS[0], CLIENTS[-1]

# The close thresholds.
_BEST, _FASTAPI = "32 clients, x the best peer", "one client, x FastAPI"
_OVER = "one client, p50 over a direct gRPC call, ms"

Found = dict[str, float]
Pairs = dict[str, tuple[str, list[float]]]  # by threshold: the contestant compared with, and the result of each pair
Failed = dict[str, str]


def main(arguments: list[str]) -> int:
    """Measure, print, and return the exit code: 1 when a threshold was missed."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # or what is started here would keep running
    seconds, rounds = (1, 1) if given.quick else (given.seconds, given.rounds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        reference = stack.enter_context(Worker("reference", folder / "truth.npz"))
        reference.ask(rows=1, seconds=0)
        direct = stack.enter_context(Worker("rig.direct", folder / "truth.npz"))
        digits = Digits(folder / "truth.npz")
        wrk = Wrk(digits, folder)
        contestants, failed = _start(stack, folder, digits, given)
        ours = contestants[0]
        medians = _medians(_measure(contestants, wrk, direct, seconds, rounds))
        pairs = _pairs(contestants, medians, wrk, direct, seconds, 1 if given.quick else given.pairs)
        many = _many(ours, wrk, digits, reference, seconds, rounds)
        many["uWSGI with its workers, MB"] = scaling.memory(ours)
        rows, many["worker start, s"] = _scale(stack, folder, digits, wrk, ours, given.quick, seconds)
    thresholds = _thresholds(medians, pairs, many)
    about = {name: make.version(name) for name in make.NAMES if (name, _BUSY) in medians}
    about |= {name: f"not measured: {why}" for name, why in failed.items()}
    sys.stdout.write(
        _table(medians)
        + _spread(pairs)
        + _lines(many)
        + _about(about)
        + scaling.text(rows)
        + report.results(thresholds)
    )
    if given.json:
        cells = [{"server": name, "clients": clients, **found} for (name, clients), found in medians.items()]
        document = {
            "rates": cells,
            "pairs": pairs,
            "single": many,
            "peers": about,
            "scaling": rows,
            "thresholds": thresholds,
        }
        given.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if given.no_thresholds or all(threshold["passed"] for threshold in thresholds) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of all measurements (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=9, help="of each close comparison (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round, one size: to see that it works")
    parser.add_argument(
        "--peers", nargs="*", choices=make.NAMES, default=make.NAMES, help="to measure (default: all); no name: none"
    )
    parser.add_argument("--no-thresholds", action="store_true", help="exit with 0 though a threshold is missed")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--server", metavar="HOST:PORT", help="also measure with a model server that runs there (gRPC)")
    parser.add_argument("--server-rest", metavar="HOST:PORT", help="also measure that server's own JSON REST API")
    parser.add_argument("--model", default=MODEL, help="the shipped model's name there (default: %(default)s)")
    return parser


def _start(
    stack: ExitStack, folder: Path, digits: Digits, given: argparse.Namespace
) -> tuple[list[Contestant], Failed]:
    """Start all contestants at the same time and check each with every sample.

    Returns those that run, and for each peer that cannot run the reason.
    """
    server = gateways.shipped_server(folder / "server.log")
    starting = [stack.enter_context(gateways.ours(OURS, folder / "ours", digits, [server]))]
    starting.append(stack.enter_context(gateways.simple(SIMPLE, folder / "simple", digits)))
    if given.server:
        inner = gateways.before(GIVEN, folder / "given", digits, given.server, given.model)
        starting.append(stack.enter_context(inner))
    if given.server_rest:
        starting.append(gateways.rest(GIVEN_REST, given.server_rest, given.model, digits))
    failed: Failed = {}
    for name in given.peers:
        try:
            starting.append(stack.enter_context(gateways.peer(name, folder / name, digits)))
        except make.PeerError as error:
            failed[name] = str(error)
    running = []
    for contestant in starting:
        try:
            contestant.wait(digits)
            with contestant.awake():
                digits.check(contestant.target, contestant.asking, range(len(contestant.asking.requests)))
            running.append(contestant)
        except StartError as error:
            if contestant.name not in make.NAMES:
                raise
            failed[contestant.name] = str(error)
    return running, failed


def _measure(
    contestants: list[Contestant], wrk: Wrk, direct: Worker, seconds: int, rounds: int
) -> dict[tuple[str, int], list[Found]]:
    rates: dict[tuple[str, int], list[Found]] = defaultdict(list)
    for number in range(rounds):
        for clients in CLIENTS:
            for contestant in contestants if number % 2 == 0 else contestants[::-1]:
                rates[contestant.name, clients].append(_load(contestant, wrk, clients, seconds))
                if contestant.name == OURS and clients == _ALONE:  # what is compared is measured side by side
                    rates[DIRECT, clients].append(_call(contestant, direct, seconds))
    return rates


def _load(contestant: Contestant, wrk: Wrk, clients: int, seconds: int) -> Found:
    with contestant.awake():
        wrk.warm(contestant.target, contestant.asking, clients)
        before = sum(contestant.cpu().values())
        found = wrk.load(contestant.target, contestant.asking, clients, seconds)
        found["cpu us"] = (sum(contestant.cpu().values()) - before) / found["requests"] * 1e6
    return found


def _call(ours: Contestant, direct: Worker, seconds: int) -> Found:
    """Measure calls of the same model server without the gateway."""
    return {"p50": direct.ask(target=ours.servers[0].target, model=MODEL, seconds=seconds)}


def _pairs(
    contestants: list[Contestant], medians: dict[tuple[str, int], Found], wrk: Wrk, direct: Worker, seconds: int, n: int
) -> Pairs:
    """Measure `n` pairs, one right after the other, for each comparison close to its threshold.

    A shared machine can change its speed twofold within seconds, so figures of different rounds are not comparable.
    """
    by_name = {contestant.name: contestant for contestant in contestants}
    ours, peers = by_name[OURS], [name for name in make.NAMES if name in by_name]

    def beside(name: str, clients: int) -> list[float]:
        both = _alternate(
            lambda: _load(ours, wrk, clients, seconds), lambda: _load(by_name[name], wrk, clients, seconds), n
        )
        return [mine["rate"] / its["rate"] for mine, its in both]

    pairs: Pairs = {}
    if peers:
        best = max(peers, key=lambda name: medians[name, _BUSY]["rate"])
        pairs[_BEST] = best, beside(best, _BUSY)
    if "fastapi" in peers:
        pairs[_FASTAPI] = "fastapi", beside("fastapi", _ALONE)
    both = _alternate(lambda: _load(ours, wrk, _ALONE, seconds), lambda: _call(ours, direct, seconds), n)
    pairs[_OVER] = DIRECT, [mine["p50"] - its["p50"] for mine, its in both]
    return pairs


def _alternate(one: Callable[[], Found], other: Callable[[], Found], times: int) -> list[tuple[Found, Found]]:
    """Run both, `times` times, and return the pairs of results; each runs first in every second pair."""
    found = []
    for number in range(times):
        if number % 2:
            second, first = other(), one()
        else:
            first, second = one(), other()
        found.append((first, second))
    return found


def _medians(rates: dict[tuple[str, int], list[Found]]) -> dict[tuple[str, int], Found]:
    return {cell: {key: statistics.median(f[key] for f in found) for key in found[0]} for cell, found in rates.items()}


def _many(ours: Contestant, wrk: Wrk, digits: Digits, reference: Worker, seconds: int, rounds: int) -> Found:
    """Measure 100 images in one request, and the model alone in process."""
    asking = digits.many(f"/tf/models/{MODEL}/classify")
    images = len(asking.samples[0])
    found, alone = [], []
    wrk.warm(ours.target, asking, 1)
    for _ in range(rounds):
        found.append(wrk.load(ours.target, asking, 1, seconds)["rate"] * images)
        alone.append(reference.ask(rows=images, seconds=seconds))
    names = f"{images} images in a request, images/s", f"{images} in a batch in process, images/s"
    return dict(zip(names, (statistics.median(found), statistics.median(alone)), strict=True))


def _scale(
    stack: ExitStack, folder: Path, digits: Digits, wrk: Wrk, ours: Contestant, quick: bool, seconds: int
) -> tuple[list[dict[str, Any]], float]:
    servers = list(ours.servers)
    if not quick:
        servers.append(stack.enter_context(gateways.shipped_server(folder / "second.log")))
        servers[1].first_answer()
    return scaling.table(digits, wrk, folder, servers, (1,) if quick else (1, 2, 4), seconds)


def _thresholds(medians: dict[tuple[str, int], Found], pairs: Pairs, many: Found) -> list[report.Threshold]:
    def rate(name: str, clients: int) -> float:
        return medians[name, clients]["rate"]

    ours = medians[OURS, _BUSY]
    peers = [name for name in make.NAMES if (name, _BUSY) in medians]
    thresholds = [report.at_least("32 clients, x straightforward", ours["rate"] / rate(SIMPLE, _BUSY), 2.5)]
    if peers:
        steadiest = min(medians[name, _BUSY]["p99"] for name in peers)
        thresholds.append(report.at_least(_BEST, statistics.median(pairs[_BEST][1]), 2.0))
        thresholds.append(report.at_most("32 clients, p99, x the best peer's", ours["p99"] / steadiest, 1.0))
    if _FASTAPI in pairs:
        thresholds.append(report.at_least(_FASTAPI, statistics.median(pairs[_FASTAPI][1]), 1.0))
    thresholds.append(report.at_most(_OVER, statistics.median(pairs[_OVER][1]), 0.5))
    (_, images), (_, alone), (_, memory), (_, start) = many.items()
    thresholds.append(report.at_least("100 images in a request, x in process", images / alone, 0.6))
    thresholds.append(report.at_most("uWSGI with its workers, MB", memory, 120.0))
    thresholds.append(report.at_most("worker start, s", start, 0.3))
    if (GIVEN, _BUSY) in medians and (GIVEN_REST, _BUSY) in medians:
        thresholds.append(
            report.at_least("given server, x its REST", rate(GIVEN, _BUSY) / rate(GIVEN_REST, _BUSY), 0.9)
        )
    return thresholds


def _table(medians: dict[tuple[str, int], Found]) -> str:
    lines = ["", f"{'':<24}{'clients':>7}{'answers/s':>11}{'x gateway':>11}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>8}"]
    for clients in CLIENTS:
        for (name, at), found in medians.items():
            if at != clients:
                continue
            if "rate" not in found:
                lines.append(f"{name:<24}{clients:>7}{'':>22}{found['p50']:>9.2f}")
                continue
            ratio = found["rate"] / medians[OURS, clients]["rate"]
            times = f"{found['p50']:>9.2f}{found['p99']:>9.2f}"
            cpu = f"{found['cpu us']:>8.0f}" if found["cpu us"] else ""
            lines.append(f"{name:<24}{clients:>7}{found['rate']:>11,.0f}{ratio:>11.2f}{times}{cpu}")
    return "\n".join([*lines, "", ""])


def _spread(pairs: Pairs) -> str:
    lines = [f"{'one right after the other':<46}{'beside':<16}{'least':>8}{'median':>8}{'most':>8}"]
    for what, (name, found) in pairs.items():
        lines.append(f"{what:<46}{name:<16}{min(found):>8.2f}{statistics.median(found):>8.2f}{max(found):>8.2f}")
    return "\n".join([*lines, "", ""])


def _lines(many: Found) -> str:
    return "\n".join([*(f"{what:<46}{value:>10,.2f}" for what, value in many.items()), "", ""])


def _about(peers: dict[str, str]) -> str:
    return "".join(f"{name}: {what}\n" for name, what in peers.items()) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
