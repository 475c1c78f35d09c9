"""The load counts what a stall costs, the table is the records', and faults staged on a live lab are put back."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab_engine.chaos.load import Load
from tests.chaos import __main__, limits
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


def test_staged_processor_count_is_what_python_sees(tmp_path: Path) -> None:
    path, code = limits.staged_cpus(tmp_path, 130), "import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("130 130\n", "")


def test_reliability_table_is_made_from_the_records() -> None:
    done = chaos("report", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("ending", "code"), [("kill -KILL $$", 1), ("exit 1", 1), ("exit 0", 0)])
def test_several_faults_with_one_that_fails_return_one(
    ending: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n[ $3 = uploads ] || exit 0\n{ending}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(sys, "argv", ["chaos", "uploads", "cpus"])
    assert __main__.main() == code


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
