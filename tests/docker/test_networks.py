"""The networks of the lab in Docker: what the workbench reaches of the model server, and what it does not."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.running import Lab

PROGRAM = Path(__file__).parent / "programs" / "reach_services.py"

in_docker = pytest.mark.parametrize("lab", ["docker"], indirect=True)


def in_workbench(lab: Lab, *command: str) -> str:
    called = ["docker", "exec", lab.container("tensor-jupyter"), *command]
    return subprocess.run(called, capture_output=True, text=True, check=False, timeout=120).stdout


@in_docker
def test_the_workbench_reaches_predictions_and_not_the_reload_call(lab: Lab) -> None:
    output = in_workbench(lab, "python3", "-W", "ignore", "-c", PROGRAM.read_text()).splitlines()
    assert output == ["9000 is not", "8501 is not", "8502 is not", "['scores']", "PERMISSION_DENIED", "200"]


@in_docker
def test_the_doctor_sees_every_service_from_the_workbench(lab: Lab) -> None:
    output = in_workbench(lab, "lab", "doctor")
    for check in ("gateway", "model server", "watcher", "TensorBoard"):
        assert re.search(rf"^ok +{check}: ", output, re.MULTILINE), output
