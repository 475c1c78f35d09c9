"""Under constant load at the gateway: models come and go, serving is restarted, and every call is answered."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT, Lab, Traffic, wait_until

# As a trainer does it: beside, on the same volume, and then one rename. Runs where the workbench runs.
PUBLISH = """set -e
cp -r "$LAB_MODELS/mnist-net/1" "$LAB_MODELS/.staging/$1-$2"
mkdir -p "$LAB_MODELS/$1"
if [ "$3" = damaged ]; then
    data="$LAB_MODELS/.staging/$1-$2/variables/variables.data-00000-of-00001"
    printf X | dd of="$data" conv=notrunc seek=99 bs=1 2>/dev/null
fi
mv "$LAB_MODELS/.staging/$1-$2" "$LAB_MODELS/$1/$2"
"""


def publish(lab: Lab, name: str, version: int, how: str = "whole") -> None:
    lab.compose("exec", "tensor-jupyter", "sh", "-c", PUBLISH, "sh", name, str(version), how)


def entry(lab: Lab, name: str) -> dict[str, Any]:
    """What GET /tf/models says of a model."""
    models: list[dict[str, Any]] = lab.get("REST", "/tf/models").json()["models"]
    return next((model for model in models if model["name"] == name), {})


def serve_first_version(lab: Lab, name: str) -> None:
    publish(lab, name, 1)
    wait_until(lambda: lab.get("REST", f"/tf/models/{name}").status == 200, 30, f"{name} to be known")
    with Traffic(lab, name, clients=1) as traffic:
        wait_until(lambda: traffic.answers, 30, f"{name} to answer")


def test_a_new_version_takes_over_without_a_failed_call(lab: Lab) -> None:
    serve_first_version(lab, "swapped")
    with Traffic(lab, "swapped") as traffic:
        traffic.more()
        publish(lab, "swapped", 2)
        wait_until(lambda: "2" in traffic.answers or traffic.failures, 30, "the new version to answer")
        traffic.more()
    assert traffic.failures == []
    assert traffic.answers[-1] == "2"


def test_a_version_that_does_not_load_is_quarantined(lab: Lab) -> None:
    serve_first_version(lab, "damaged")
    with Traffic(lab, "damaged") as traffic:
        publish(lab, "damaged", 2, "damaged")
        held = wait_until(lambda: entry(lab, "damaged").get("quarantined"), 30, "the quarantine")
        lab.compose("restart", "tensor-serving")
        wait_until(lambda: entry(lab, "damaged").get("quarantined"), 30, "the quarantine after the restart")
        traffic.more()
    assert held[0]["version"] == 2
    assert "does not load" in held[0]["reason"]
    assert "Checksum does not match" in held[0]["reason"]
    assert traffic.failures == []
    assert set(traffic.answers) == {"1"}


def test_a_restart_of_serving_answers_late_and_loses_nothing(lab: Lab) -> None:
    with Traffic(lab, "mnist-net") as traffic:
        traffic.more()
        lab.compose("restart", "tensor-serving")
        traffic.more()
        if lab.engine == "docker":  # as the tutorial has it
            subprocess.run(["docker", "restart", lab.container("tensor-serving-cpu")], check=True, capture_output=True)
            traffic.more()
    assert traffic.failures == []


def test_the_benchmark_of_this_runs(lab: Lab, tmp_path: Path) -> None:
    if lab.engine == "docker":
        pytest.skip("it wants the models folder on the host")
    figures = tmp_path / "figures.json"
    where = ("--url", lab.url("REST"), "--models", str(lab.home / "models"))
    command = [sys.executable, str(ROOT / "benchmarks" / "freshness.py"), *where, "--renames", "2", "--no-thresholds"]
    done = subprocess.run([*command, "--json", str(figures)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rename -> first REST answer, 2 versions: median ")
    assert json.loads(figures.read_text())["failed"] == 0
    assert not list((lab.home / "models").glob("*freshness*"))
