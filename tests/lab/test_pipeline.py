"""`lab pipeline run` against a started lab: promoted, unchanged, and refused where the data is poisoned."""

import json
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bars import bars, flags, parameters, png, write, write_idx
from tests.lab.executing import execute, printed
from tests.running import Lab, wait_until

MODEL = "bars"
pytestmark = pytest.mark.timeout(1200)  # each of the eleven steps is a process that imports TensorFlow
COMMAND = ("exec", "tensor-jupyter", "python", "-m", "tensor_jupyter", "pipeline")


@pytest.fixture(scope="module")
def local(lab: Lab) -> Lab:
    """Steps read folders of the host here."""
    if lab.engine != "local":
        pytest.skip("on the local engine; in Docker the dry run is tested")
    return lab


@pytest.fixture(scope="module")
def sources(local: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Bars in place of digits, noise in place of letters."""
    folder = tmp_path_factory.mktemp("sources")
    write(folder)
    yield folder
    for name in (MODEL, f"{MODEL}-concept"):
        local.compose(*COMMAND[:-1], "models", "delete", name, "--all", "--yes", code=None)


def run(lab: Lab, sources: Path, code: int) -> str:
    command = lab.command(*COMMAND, "run", "--model", MODEL, *flags(sources))
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def served(lab: Lab, name: str) -> dict[str, Any]:
    models = lab.get("REST", "/tf/models").json()["models"]
    return next(model for model in models if model["name"] == name)


def test_one_command_trains_tests_and_promotes(local: Lab, sources: Path) -> None:
    output = run(local, sources, 0)
    assert f"Promoted: {MODEL} 1 and {MODEL}-concept 1 are stable." in output
    assert served(local, MODEL)["labels"] == served(local, f"{MODEL}-concept")["labels"] == {"stable": 1}
    card = local.get("REST", f"/tf/models/{MODEL}").json()["default"]["card"]
    stamp = local.home / "data" / "pipeline" / MODEL / "export-classifier" / "stamp.json"
    assert card["run"] == json.loads(stamp.read_text())["key"]
    page = Path(output.partition("Page of the run: ")[2].splitlines()[0])
    assert page.name.startswith(card["run"][:8])
    assert "live latency" in page.read_text()


def test_the_same_command_again_runs_nothing(local: Lab, sources: Path) -> None:
    lines = run(local, sources, 0).splitlines()
    assert sum("unchanged" in line for line in lines) == 11
    assert not any(" done " in line for line in lines)


def test_the_notebook_shows_the_run(local: Lab, sources: Path) -> None:
    """With the parameters of the run above, so that nothing is left to do."""
    given = ", ".join(f"{name}={value!r}" for name, value in {"model": MODEL, **parameters(sources)}.items())
    notebook = local.notebooks / "Pipeline" / "Pipeline.ipynb"
    output = printed(execute(local, notebook, changed=("model='pipeline-digits', live_calls=200", given)))
    assert output.count("unchanged") >= 22, output  # each step before the run and after it
    for wanted in ("passed all 8 golden samples", "promoted", "'label':", "the same: nothing would run"):
        assert wanted in output, output


@pytest.mark.usefixtures("sources")
def test_an_answer_says_how_foreign_the_image_is(local: Lab) -> None:
    cross = np.zeros((28, 28), np.uint8)
    for place in range(4, 24):
        cross[place, place - 1 : place + 2] = cross[place, 26 - place : 29 - place] = 255

    def concept(image: np.ndarray) -> dict[str, Any]:
        answer = local.post_image(f"/tf/models/{MODEL}/classify", png(image))
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()["results"][0].get("concept")
        return found

    # The first calls read the companion's card, which an answer does not wait for.
    bar, foreign = (wait_until(partial(concept, image), 60, "a score") for image in (bars(1, 5)[0], cross))
    assert bar["score"] < foreign["score"]
    assert bar["threshold"] == foreign["threshold"]
    assert not foreign["in_distribution"]


@pytest.mark.skipif(not os.environ.get("LAB_LONG_TESTS"), reason="two minutes; set LAB_LONG_TESTS=1")
def test_poisoned_labels_are_refused_and_the_served_version_stays(local: Lab, sources: Path) -> None:
    labels = sources / "digits" / "train-labels-idx1-ubyte"
    write_idx(labels, np.random.default_rng(0).permutation(np.arange(400) % 2))
    output = run(local, sources, 3)
    assert "mnist_data_dir changed" in output
    assert "missed" in output
    assert f"Refused: {MODEL} 2 and {MODEL}-concept 2 are not promoted" in output
    for name in (MODEL, f"{MODEL}-concept"):
        found = served(local, name)
        assert found["labels"] == {"stable": 1}
        assert found["default_version"] == 1
    assert sorted(path.name for path in (local.home / "models" / MODEL).glob("[0-9]*")) == ["1"]
    assert run(local, sources, 3).count("unchanged") == 11, "the decision stands until something changes"


def test_a_dry_run_works_on_every_engine(lab: Lab) -> None:
    output = lab.compose(*COMMAND, "run", "--dry-run", "--model", "never-run")
    assert output.count("would run: it has not run yet") == 11
