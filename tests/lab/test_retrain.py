"""The tutorial: change the name and the network in the notebook, run it, and that network is served and watched."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, SAMPLES, Lab, wait_until

NOTEBOOK = ROOT / "tensor-jupyter" / "notebook" / "MNIST" / "MnistNet.ipynb"
MODEL = "mnist-tutorial"
EDITS = {"Context('mnist-net')": f"Context('{MODEL}')", "layers.Conv2D(32, 5,": "layers.Conv2D(24, 3,"}

PROGRAM = Path(__file__).parent / "programs" / "compare_served_scores.py"


@pytest.fixture(scope="module")
def retrained(lab: Lab) -> Iterator[Path]:
    """The notebook with the edits, written on the host and executed inside the workbench; the executed file."""
    notebook = json.loads(NOTEBOOK.read_text())
    for before, after in EDITS.items():
        cells = [
            cell for cell in notebook["cells"] if cell["cell_type"] == "code" and before in "".join(cell["source"])
        ]
        assert len(cells) == 1, f"one cell holds {before}"
        cells[0]["source"] = "".join(cells[0]["source"]).replace(before, after)
    copy = lab.notebooks / "MNIST" / f"renamed-by-a-test-{os.getpid()}.ipynb"
    copy.write_text(json.dumps(notebook))
    copy.chmod(0o666)
    try:
        command = ["python", "-m", "jupyter", "execute", "--inplace", "--timeout=300", lab.notebook(copy)]
        lab.compose("exec", "tensor-jupyter", *command)
        yield copy
    finally:
        copy.unlink()


def test_the_notebook_runs_and_its_last_cells_see_the_model_served(retrained: Path) -> None:
    cells = [cell for cell in json.loads(retrained.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    outputs = json.dumps([cell["outputs"] for cell in cells[-2:]])
    assert MODEL in outputs
    assert "version 1 answers" in outputs
    assert "it is the default" in outputs


def test_the_new_model_answers_without_and_with_a_restart(lab: Lab, retrained: Path) -> None:
    assert retrained.exists()
    answer = lab.post_image(f"/tf/mnist/{MODEL}", SAMPLES[0])
    assert answer.status == 200
    assert answer.headers["X-Model-Name"] == MODEL
    assert answer.headers["X-Model-Version"] == "1"
    assert MODEL in lab.compose("status")

    lab.compose("restart", "tensor-serving")
    assert lab.post_image(f"/tf/mnist/{MODEL}", SAMPLES[0]).status == 200


def test_the_network_edited_in_the_notebook_is_the_one_served(lab: Lab, retrained: Path) -> None:
    assert retrained.exists()
    output = lab.compose("exec", "tensor-jupyter", "python", "-c", PROGRAM.read_text(), MODEL)
    assert "(3, 3, 1, 24)" in output, output
    assert "equal True" in output


def test_tensorboard_shows_the_new_run_without_a_restart(lab: Lab, retrained: Path) -> None:
    assert retrained.exists()

    def runs() -> list[str]:
        return [run for run in lab.get("BOARD", "/data/runs").json() if run.startswith(f"{MODEL}/1")]

    assert wait_until(runs, 30, "the run to be listed")
    tags = lab.get("BOARD", "/data/plugin/scalars/tags").json()
    assert any("accuracy" in tag for run in runs() for tag in tags.get(run, {}))


def test_the_notebook_in_the_repository_holds_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)


def test_lab_runs_where_the_workbench_runs(lab: Lab) -> None:
    command = [str(ROOT / "bin" / "lab"), "--help"]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=60, check=True)
    assert "train" in done.stdout
