"""`lab pipeline run --engine docker`: a step in a container of its image."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.running import ROOT

IMAGE = "tensor-jupyter"


def gathered(data: Path, *flags: str) -> dict[str, Any]:
    """The stamp of gather-mnist, run by a Python of the host with this data folder."""
    folders = {f"LAB_{name.upper()}": str(data / name) for name in ("models", "logs", "data", "feedback")}
    command = [sys.executable, "-m", "tensor_jupyter", "pipeline", "run", "--only", "gather-mnist", *flags]
    environment = {**os.environ, **folders, "LAB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "tensor-jupyter")}
    done = subprocess.run(command, env=environment, cwd=data, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((data / "data/pipeline/mnist-net/gather-mnist/stamp.json").read_text())
    return found


def test_a_step_in_its_image_leaves_the_stamp_of_one_in_a_process(images: dict[str, str], tmp_path: Path) -> None:
    image, _, tag = images[IMAGE].rpartition(":")
    for name in ("process", "container"):
        (tmp_path / name).mkdir()
    where = ("--engine", "docker", "--images", image.removesuffix(f"/{IMAGE}"), "--tag", tag)
    assert gathered(tmp_path / "container", *where) == gathered(tmp_path / "process")
