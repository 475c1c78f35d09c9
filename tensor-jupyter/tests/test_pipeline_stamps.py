"""A step runs when its stamp does not hold, says why, and is never seen half done."""

import fcntl
import json
import stat
import threading

import numpy as np
import pytest

from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline import execute as execution
from tensor_jupyter.pipeline import stamps
from tensor_jupyter.pipeline.execute import execute, root_of, why_run
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import named

TRAIN = named("train-classifier")

pytestmark = pytest.mark.usefixtures("bodies")


@pytest.fixture
def bodies(monkeypatch):
    """Steps that write their names and parameters; {"fail": True} has them fail half way."""
    told = {"fail": False}

    def body(job):
        for output in ("data.npz", "about.json", "weights.npz", "trained.json"):
            (job.folder / output).write_text(f"{output} {job.parameters.learning_rate}")
            if told["fail"]:
                raise LabError("no room")

    monkeypatch.setattr(execution, "_body", lambda _: body)
    monkeypatch.setattr(execution, "why_lost", lambda *_: "")
    return told


def run(step, settings, again=False, **parameters):
    said = []
    ran = execute(named(step), Parameters(**parameters), settings, said.append, again)
    return ran, said


def test_a_step_whose_stamp_holds_does_not_run_again(settings):
    assert run("gather-mnist", settings) == (True, ["it has not run yet"])
    run("gather-feedback", settings)
    assert run("train-classifier", settings)[0]
    assert run("train-classifier", settings) == (False, [])
    assert run("train-classifier", settings, again=True) == (True, ["it was requested explicitly"])


def test_each_change_is_told_in_words(settings):
    run("gather-mnist", settings)
    run("gather-feedback", settings)
    run("train-classifier", settings, learning_rate=0.01)
    root = root_of(Parameters(), settings)

    def why(**parameters):
        return why_run(TRAIN, Parameters(**{"learning_rate": 0.01, **parameters}), settings)

    assert why() == ""
    assert why(learning_rate=0.001) == "learning_rate changed 0.01 -> 0.001"
    assert why(learning_rate=None, epochs=9) == "epochs changed 8 -> 9, learning_rate changed 0.01 -> default"
    assert why(live_calls=5) == "", "a parameter of another step"
    weights = root / "train-classifier" / "weights.npz"
    kept = weights.read_bytes()
    weights.write_bytes(b"other")
    assert why() == "weights.npz was tampered with"
    weights.unlink()
    assert why() == "weights.npz is missing"
    weights.write_bytes(kept)
    (root / "gather-mnist" / "data.npz").write_text("other")
    assert why() == "gather-mnist/data.npz changed"
    (root / "train-classifier" / "stamp.json").unlink()
    assert why() == "it was interrupted"


def test_a_new_release_runs_every_step_again(settings, monkeypatch):
    run("gather-mnist", settings)
    monkeypatch.setattr(stamps, "__version__", "9.9.9")
    assert "the release changed 0.1.0 -> 9.9.9" in why_run(named("gather-mnist"), Parameters(), settings)


def test_a_step_that_fails_leaves_what_was_there(bodies, settings):
    run("gather-mnist", settings)
    root = root_of(Parameters(), settings)
    before = {path.name: path.read_bytes() for path in (root / "gather-mnist").iterdir()}
    bodies["fail"] = True
    with pytest.raises(LabError, match="no room"):
        run("gather-mnist", settings, again=True)
    assert {path.name: path.read_bytes() for path in (root / "gather-mnist").iterdir()} == before
    assert not [*(root / ".staging").iterdir()]


def test_what_a_killed_run_left_is_removed(settings):
    root = root_of(Parameters(), settings)
    (root / ".staging" / "gather-mnist.dead").mkdir(parents=True)
    (root / ".staging" / "train-classifier.busy").mkdir()
    run("gather-mnist", settings)
    assert [path.name for path in (root / ".staging").iterdir()] == ["train-classifier.busy"]


def test_a_missing_input_is_named(settings):
    with pytest.raises(LabError, match=r"train-classifier needs gather-mnist/data.npz.*--only gather-mnist"):
        run("train-classifier", settings)


def test_a_step_waits_for_another_process_that_runs_it(settings):
    locks = root_of(Parameters(), settings) / ".locks"
    locks.mkdir(parents=True)
    waits, said = threading.Event(), []

    def say(line):
        said.append(line)
        waits.set()

    with (locks / "gather-mnist").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        step = threading.Thread(target=lambda: execute(named("gather-mnist"), Parameters(), settings, say))
        step.start()
        assert waits.wait(30)
        assert said == ["another process runs this step: waiting for it"]
    step.join(30)
    assert (root_of(Parameters(), settings) / "gather-mnist" / "stamp.json").is_file()


def test_a_step_can_be_repeated_by_another_user_of_the_group(settings):
    settings.data.mkdir()
    settings.data.chmod(0o2775)
    run("gather-mnist", settings)
    found = [path for path in settings.data.rglob("*") if path.parent.name != ".staging"]
    assert {"gather-mnist", "stamp.json"} <= {path.name for path in found}
    assert [path for path in found if not path.stat().st_mode & stat.S_IWGRP] == []


def test_the_key_names_inputs_and_parameters_and_not_outputs(settings):
    run("gather-mnist", settings)
    run("gather-feedback", settings)
    run("train-classifier", settings)
    path = root_of(Parameters(), settings) / "train-classifier"
    first = stamps.read(path)
    assert json.loads((path / "stamp.json").read_text())["key"] == first.key
    run("train-classifier", settings, learning_rate=0.5)
    assert stamps.read(path).key != first.key


def test_a_folder_given_as_a_parameter_is_an_input(settings, tmp_path):
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "a.npy", np.zeros(3))
    run("gather-mnist", settings, mnist_data_dir=str(tmp_path / "set"))
    np.save(tmp_path / "set" / "a.npy", np.ones(3))
    reason = why_run(named("gather-mnist"), Parameters(mnist_data_dir=str(tmp_path / "set")), settings)
    assert reason == "mnist_data_dir changed"
