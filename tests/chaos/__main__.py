"""`python -m tests.chaos FAULT [--long]`: stage faults, print figures and criteria, keep a record of each."""

import argparse
import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos import report
from tests.chaos.rows import ROWS, Row
from tests.chaos.scene import Scene, SkippedError, dump, machine
from tests.running import Lab

RESULTS = Path(__file__).with_name("results")
_INSIDE = "TENSOR_LAB_CHAOS_NAMESPACE"


def main() -> int:
    options = _parse()
    if "report" in options.fault:
        return report.write(RESULTS, check=options.check)
    names = list(ROWS) if "all" in options.fault else options.fault
    if len(names) > 1:
        command = [sys.executable, "-m", "tests.chaos"]
        codes = [subprocess.run([*command, name, *_flags(options)]).returncode for name in names]
        return int(any(codes))  # a code is negative where a signal ended the process
    row = ROWS[names[0]]
    if row.namespaces and not os.environ.get(_INSIDE) and os.getuid() == 0 and shutil.which("unshare"):
        # Mounts and addresses of its own: nothing of it is left when it ends.
        command = ["unshare", *row.namespaces, "--propagation", "private", sys.executable, "-m", "tests.chaos"]
        os.environ[_INSIDE] = "1"
        os.execvp("unshare", [*command, row.name, *_flags(options)])
    return _run(row, options)


def _run(row: Row, options: argparse.Namespace) -> int:
    print(f"{row.name}: {row.staged}", flush=True)  # noqa: T201
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the lab is taken down then too
    begin = time.monotonic()
    scene = Scene(options.long, _given(options.lab))
    met: bool | None = None
    skipped = ""
    try:
        if row.namespaces and not os.environ.get(_INSIDE):
            raise SkippedError("it takes root and unshare")
        with scene.undo:
            met = row.play(scene)
    except SkippedError as error:
        skipped = str(error)
    document = {
        "name": row.name,
        "size": "long" if options.long else "short",
        "met": met,
        "skipped": skipped,
        "figures": scene.figures,
        "seconds": round(time.monotonic() - begin),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"{row.name}.json").write_text(dump(document))
    outcome = f"skipped: {skipped}" if met is None else "met" if met else "missed"
    print(f"criterion: {row.criterion}: {outcome}", flush=True)  # noqa: T201
    return int(met is False)


def _given(home: Path | None) -> Lab | None:
    """The running lab of a state folder."""
    if home is None:
        return None
    from lab_engine import settings

    found = settings.load({**os.environ, "LAB_HOME": str(home)}, running=True)
    return Lab("local", found.home, {name.upper(): port for name, port in vars(found.ports).items()})


def _flags(options: argparse.Namespace) -> list[str]:
    lab = ["--lab", str(options.lab)] if options.lab else []
    return [*(["--long"] if options.long else []), *lab, "--results", str(options.results)]


def _parse() -> argparse.Namespace:
    listed = "\n".join(f"  {row.name:16} {row.staged}; criterion: {row.criterion}" for row in ROWS.values())
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Stage faults on a lab of their own, and show what they cost under an open-loop load.",
        epilog=f"faults:\n{listed}\n\nreport writes the table of docs/reliability.md from the kept records.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "fault", nargs="+", choices=[*ROWS, "all", "report"], metavar="FAULT", help="a fault, all, or report"
    )
    parser.add_argument("--long", action="store_true", help="the form whose figures are published (minutes)")
    parser.add_argument("--lab", type=Path, metavar="LAB_HOME", help="a running lab to use; else one is started")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the records are kept")
    parser.add_argument("--check", action="store_true", help="report: fail if the table is not the records'")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
