"""`python -m tests.kubernetes.report`: the table of docs/kubernetes.md, made from the record of the last run."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.running import ROOT
from tests.tables import write_table

LOADS = (
    "nothing happens",
    "model servers are scaled from 2 to 3 and back",
    "the autoscaler adds a gateway",
    "a pod of tensor-rest is deleted",
    "a pod of tensor-serving is deleted",
    "a model version is published, and taken away",
    "every image is replaced",
    "a version cannot be loaded by one of two model servers, which is then replaced",
    "the kubelet of one node is stopped, and started again",
    "the component modern is applied",
    "network policies are enforced",
)
"""What is staged, in the order of the table."""

RECORD = Path(__file__).with_name("record.json")
DOCUMENT = ROOT / "docs" / "kubernetes.md"


def main() -> int:
    return write_table(DOCUMENT, "python -m tests.kubernetes.report", table(json.loads(RECORD.read_text())),
                       "--check" in sys.argv)  # fmt: skip


def table(record: dict[str, Any]) -> str:
    """Markdown: a line for each load."""
    lines = ["| while | requests | failed | p50 | p99 | longest |\n| --- | --- | --- | --- | --- | --- |\n"]
    for staged in LOADS:
        found = record["loads"][staged]
        times = " | ".join(f"{found[name]:,.0f} ms" for name in ("p50", "p99", "longest"))
        lines.append(f"| {staged} | {found['calls']:,} at {found['rate']:.0f}/s | {found['failed']} | {times} |\n")
    machine = record["machine"]
    return "".join(lines) + (
        f"\nKubernetes {record['kubernetes']}, {record['nodes']} nodes on one machine of {machine['cores']} cores and "
        f"{machine['memory_gib']} GiB, {record['date']}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
