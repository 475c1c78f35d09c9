"""`lab pipeline run --engine docker`: a step in a container of its image."""

import os
import subprocess
import sys
from pathlib import Path

from tests.running import ROOT

IMAGE = "tensor-jupyter"


def pipeline(folder: Path, *words: str) -> str:
    """What `lab pipeline` prints, run by a Python of the host on folders of its own."""
    folders = {f"LAB_{name.upper()}": str(folder / name) for name in ("models", "logs", "data", "feedback")}
    environment = {**os.environ, **folders, "LAB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "tensor-jupyter")}
    command = [sys.executable, "-m", "tensor_jupyter", "pipeline", *words]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_step_that_ran_in_its_image_need_not_run_in_a_process(images: dict[str, str], tmp_path: Path) -> None:
    image, _, tag = images[IMAGE].rpartition(":")
    where = ("--engine", "docker", "--images", image.removesuffix(f"/{IMAGE}"), "--tag", tag)
    assert "done" in pipeline(tmp_path, "run", "--only", "gather-mnist", *where)
    assert pipeline(tmp_path, "step", "gather-mnist") == "unchanged\n"
