"""Corrections from the page: gathered, trained with, waited for; and what of them cannot be used is left out."""

import numpy as np
import pytest
from PIL import Image
from pipeline_kit import run_steps, small, write_sources
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.pipeline import corrections, runner
from tensor_jupyter.pipeline.bodies import gather
from tensor_jupyter.pipeline.execute import execute, root_of
from tensor_jupyter.pipeline.steps import named

GATHERED = ("gather-mnist", "gather-feedback")


@pytest.fixture
def parameters(tmp_path, write_idx):
    return small(write_sources(tmp_path, write_idx))


def correct(settings, label, *levels):
    """Keep images of these levels as the gateway does."""
    folder = settings.feedback / "bars" / label
    folder.mkdir(parents=True, exist_ok=True)
    for level in levels:
        image = np.zeros((28, 28), np.uint8)
        image[6:22, 12:16] = level
        Image.fromarray(image).save(folder / f"{level:064x}.png")


def test_corrections_join_what_the_classifier_learns_and_not_the_concept_model(parameters, settings):
    correct(settings, "1", *range(200, 210))
    run_steps(parameters, settings, GATHERED)
    root = root_of(parameters, settings)
    digits, everything = gather.read(root / "gather-mnist"), gather.read_all(root)
    assert len(everything.train) + len(everything.test) == len(digits.train) + len(digits.test) + 10
    assert everything.labels == digits.labels
    assert set(everything.train.labels[len(digits.train) :]) == {digits.labels.index("1")}


def test_without_corrections_the_digits_are_all(parameters, settings):
    run_steps(parameters, settings, GATHERED)
    root = root_of(parameters, settings)
    assert gather.read_all(root).hash == gather.read(root / "gather-mnist").hash


def test_labels_that_the_digits_do_not_have_are_left_out(parameters, settings):
    correct(settings, "seven", *range(200, 210))
    correct(settings, "0", 150)
    said: list[str] = []
    run_steps(parameters, settings, ("gather-mnist",))
    execute(named("gather-feedback"), parameters, settings, said.append)
    assert "10 with other labels are left out." in said[-1]
    found = gather.read(root_of(parameters, settings) / "gather-feedback")
    assert len(found.train) + len(found.test) == 1


def test_only_new_corrections_make_the_step_run_again(parameters, settings):
    correct(settings, "1", 200, 201)
    assert run_steps(parameters, settings, GATHERED) == dict.fromkeys(GATHERED, True)
    assert run_steps(parameters, settings, GATHERED) == dict.fromkeys(GATHERED, False)
    correct(settings, "1", 202)
    plan = runner.explain(runner.Plan(), parameters, settings)
    assert plan["gather-feedback"] == "1 corrections were added or removed"
    assert not plan["train-concept"].startswith("gather")
    ignoring = parameters.model_copy(update={"feedback": "ignore"})
    assert run_steps(ignoring, settings, GATHERED)["gather-feedback"]
    found = gather.read(root_of(parameters, settings) / "gather-feedback")
    assert not len(found.train)
    assert not len(found.test)


def test_an_image_with_a_new_label_waits_once(parameters, settings):
    correct(settings, "1", 200, 201)
    run_steps(parameters, settings, GATHERED)
    root = root_of(parameters, settings)
    assert corrections.waiting(root, parameters, settings) == 0
    (settings.feedback / "bars" / "0").mkdir()
    (settings.feedback / "bars" / "1" / f"{200:064x}.png").rename(settings.feedback / "bars" / "0" / f"{200:064x}.png")
    assert corrections.waiting(root, parameters, settings) == 1


def test_watch_says_how_many_wait_and_runs_only_from_the_count_on(parameters, settings, monkeypatch):
    for name, value in {**runner.environment(settings, {}), **parameters.environment()}.items():
        monkeypatch.setenv(name, value)
    correct(settings, "1", 200, 201)
    few = CliRunner().invoke(app, ["pipeline", "watch", "--corrections", "3", "--once"])
    assert few.exit_code == 0, few.output
    assert "2 of 3 corrections wait" in few.output
    correct(settings, "1", 202)
    monkeypatch.setenv("LAB_REST_URL", "http://127.0.0.1:9")  # the run starts, and finds no lab
    enough = CliRunner().invoke(app, ["pipeline", "watch", "--corrections", "3", "--once"])
    assert enough.exit_code == 1
    assert "3 of 3 corrections wait: running" in enough.output
