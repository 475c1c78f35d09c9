"""The serving benchmark runs from end to end; its figures are not checked here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "serving.py"


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the benchmarks are not beside this folder")
def test_the_benchmark_measures_all_servers(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--no-thresholds", "--json", str(figures)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    assert "x straightforward" in run.stdout
    found = json.loads(figures.read_text())
    assert {rate["server"] for rate in found["rates"]} == {
        "straightforward",
        "embedded",
        "embedded, unbatched",
        "in process",
    }
    assert all(rate["answers"] > 0 for rate in found["rates"])
    assert len(found["thresholds"]) == 8
