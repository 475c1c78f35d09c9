"""The gateway's benchmark runs from end to end, without its peers; its figures are not checked here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gateway.py"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the benchmarks are not beside this folder")
@pytest.mark.skipif(not (shutil.which("wrk") and NGINX), reason="wrk or nginx is not installed")
def test_the_benchmark_measures_both_gateways(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--no-thresholds", "--json", str(figures), "--peers"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    assert "x straightforward" in run.stdout
    found = json.loads(figures.read_text())
    assert {(rate["server"], rate["clients"]) for rate in found["rates"]} == {
        ("direct gRPC", 1),
        *((name, clients) for name in ("gateway", "straightforward") for clients in (1, 8, 32)),
    }
    assert all(rate["rate"] > 0 for rate in found["rates"] if "rate" in rate)
    assert [(row["workers"], row["model servers"]) for row in found["scaling"]] == [(1, 1)]
    assert len(found["thresholds"]) == 5
