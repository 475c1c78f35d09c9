"""The table of docs/reliability.md, made from the records."""

import json
from pathlib import Path
from typing import Any

from tests.chaos.rows import ROWS
from tests.running import ROOT
from tests.tables import write_table

DOCUMENT = ROOT / "docs" / "reliability.md"
_MAX_TEXT = 400
_ONLY_IN_RECORDS = ("p50_ms", "longest_ms", "rate_per_s", "outcomes", "_reason")


def write(results: Path, check: bool) -> int:
    """Write the table into the document; with `check` only compare. Returns the exit code."""
    return write_table(DOCUMENT, "python -m tests.chaos report", table(results), check)


def table(results: Path) -> str:
    """Markdown: one line for each fault, with the figures before the faults were mended and now."""
    lines = ["| command | staged | criterion | before | now |\n|---|---|---|---|---|\n"]
    for row in ROWS.values():
        cells = [
            f"`{row.name}`",
            row.staged,
            row.criterion,
            *(_cell(folder / f"{row.name}.json") for folder in (results / "before", results)),
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    machines = sorted({_machine(json.loads(path.read_text())) for path in results.rglob("*.json")})
    return "".join(lines) + "\nMachine: " + "; ".join(machines) + ".\n"


def _cell(path: Path) -> str:
    if not path.exists():
        return "not run"
    record = json.loads(path.read_text())
    if record["met"] is None:
        return f"skipped: {record['skipped']}"
    outcome = "**met**" if record["met"] else "**missed**"
    shown = {name: value for name, value in record["figures"].items() if not name.endswith(_ONLY_IN_RECORDS)}
    figures = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
    form = f"{record['size']} form, load average {record['machine']['load_average']:.0f}"
    return f"{outcome} ({form}): {_cut(figures)}".replace("|", "/")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _machine(record: dict[str, Any]) -> str:
    machine = record["machine"]
    return (
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}, "
        f"TensorFlow {machine['tensorflow']}"
    )
