"""Estimate the pods, cores and memory on Kubernetes for a rate of requests, from the figures of benchmarks/README.md.

    python benchmarks/capacity.py                    # the table of docs/kubernetes.md
    python benchmarks/capacity.py --write            # into the document; --check compares

The figures are of the shipped model and sample digits, at 32 clients; a pod is counted with 70 % of its rate there, the
target of the autoscalers. No cluster was loaded like this.
"""

import argparse
import math
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "benchmarks" / "README.md"
DOCUMENT = ROOT / "docs" / "kubernetes.md"
MANIFESTS = ROOT / ".deploy" / "kubernetes" / "base"
BEGIN, END = "<!-- begin: python benchmarks/capacity.py -->\n", "<!-- end -->\n"

RATES = (1, 100, 10_000)
USED = 0.7  # of the rate that a pod reaches, as in the autoscalers
REQUEST_BYTES, CALL_BYTES = 855, 28 * 28 + 100  # a sample digit as JPEG in a form; its pixels in a gRPC call
FIRST = {
    1: "nothing: five and two pods are there so that a node may fail",
    100: "nothing: a pod does twenty times that",
    10_000: "the model servers, then the Ingress controller: about 70 Mbit/s and 10,000 requests pass it",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table into docs/kubernetes.md")
    parser.add_argument("--check", action="store_true", help="exit code 1 if the document has another table")
    given = parser.parse_args()
    found = table()
    if not (given.write or given.check):
        sys.stdout.write(found)
        return 0
    before, begin, rest = DOCUMENT.read_text().partition(BEGIN)
    if not begin:
        sys.exit(f"docs/kubernetes.md lacks the line {BEGIN.strip()}, after which the table stands")
    text = f"{before}{BEGIN}{found}{END}{rest.partition(END)[2]}"
    if given.write:
        DOCUMENT.write_text(text)
    elif text != DOCUMENT.read_text():
        sys.stderr.write("docs/kubernetes.md has another table: python benchmarks/capacity.py --write\n")
        return 1
    return 0


def table() -> str:
    """Return the table as Markdown, with a column for each rate."""
    rate, worker, nginx, server = _measured()
    smallest = {name: _smallest(name) for name in ("tensor-rest", "tensor-serving")}
    memory = {name: _memory(name) for name in smallest}
    per_pod = {"tensor-rest": USED * rate, "tensor-serving": USED * rate / server}
    rows: dict[str, list[str]] = {}
    for wanted in RATES:
        pods = {name: max(smallest[name], math.ceil(wanted / per_pod[name])) for name in per_pod}
        column = {
            f"gateways (each {per_pod['tensor-rest']:,.0f}/s)": f"{pods['tensor-rest']}",
            f"model servers (each {per_pod['tensor-serving']:,.0f}/s)": f"{pods['tensor-serving']}",
            "cores busy: gateways": f"{wanted * (worker + nginx) / rate:.2g}",
            "cores busy: model servers": f"{wanted * server / rate:.2g}",
            "memory requested, GiB": f"{sum(pods[name] * memory[name] for name in pods):.1f}",
            "from clients, Mbit/s": f"{wanted * REQUEST_BYTES * 8e-6:.2g}",
            "to model servers, Mbit/s": f"{wanted * CALL_BYTES * 8e-6:.2g}",
            "what is short first": FIRST[wanted],
        }
        for name, value in column.items():
            rows.setdefault(name, []).append(value)
    lines = [
        "| requests a second | " + " | ".join(f"{each:,}" for each in RATES) + " |",
        "| --- |" + " --- |" * len(RATES),
    ]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items())]) + "\n"


def _measured() -> tuple[float, float, float, float]:
    """Return answers a second of one worker with one model server, and the cores of worker, nginx and model server."""
    (row,) = re.findall(
        r"^\| 1 x 1 \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", FIGURES.read_text(), re.MULTILINE
    )
    rate, *cores = (float(text.replace(",", "")) for text in row)
    return rate, cores[0], cores[1], cores[2]


def _smallest(name: str) -> int:
    return int(
        next(each for each in _objects(name) if each["kind"] == "HorizontalPodAutoscaler")["spec"]["minReplicas"]
    )


def _memory(name: str) -> float:
    """Return the memory that a pod requests, in GiB."""
    pod = next(each for each in _objects(name) if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    text = str(pod["containers"][0]["resources"]["requests"]["memory"])
    return float(text[:-2]) / {"Mi": 1024, "Gi": 1}[text[-2:]]


def _objects(name: str) -> list[dict]:
    return list(yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()))


if __name__ == "__main__":
    sys.exit(main())
