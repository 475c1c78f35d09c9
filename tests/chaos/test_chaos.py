"""The load counts what a stall costs, the table is the records', and faults staged on a live lab are put back."""

import subprocess
import sys
import threading

import pytest

from lab_engine.chaos.load import Load
from tests.running import ROOT, Lab, wait_until


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_load_counts_latency_from_the_due_time() -> None:
    let_go = threading.Event()

    def answer() -> str:
        let_go.wait(30)
        return "200"

    with Load(answer, rate=200) as load:
        wait_until(lambda: load.in_flight() > 40, 30, "calls that go on starting while none is answered")
        let_go.set()
    found = load.summary()
    assert found.failed == 0
    assert found.calls > 40
    assert found.longest >= 200  # milliseconds: the first of them waited while 40 more became due


def test_reliability_table_is_made_from_the_records() -> None:
    done = chaos("report", "--check")
    assert done.returncode == 0, done.stderr


def test_live_fault_on_a_lab_is_put_back(lab: Lab) -> None:
    output = lab.compose("chaos", "corrupt-model")
    assert "0 failed" in output
    assert "does not load" in output
    assert "forgotten" in output
    assert "add --yes" in lab.compose("chaos", "kill-serving", code=1)


def test_short_soak_of_a_lab_fails_nothing(lab: Lab, tmp_path: object) -> None:
    if lab.engine == "docker":
        pytest.skip("its processes are another user's")
    done = chaos("soak", "--lab", str(lab.home), "--results", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
