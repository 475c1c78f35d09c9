"""The pipeline's measurements on bars, poisoned in each way that a data set or a model can be wrong."""

import dataclasses
import json
import os

import numpy as np
import pytest
from pipeline_kit import MEASURED, noisy, run_steps, small, write_digits, write_sources
from training_kit import bars

from tensor_jupyter.context import Context
from tensor_jupyter.pipeline import checks, external
from tensor_jupyter.pipeline.bodies import deploy, gather, promote, train
from tensor_jupyter.pipeline.execute import Job, execute, root_of, why_run
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import named
from tensor_jupyter.publishing import export
from tensor_jupyter.publishing.registry import CANDIDATE, Registry
from tensor_jupyter.publishing.replay import replay
from tensor_jupyter.publishing.serving_settings import STABLE

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def failed(parameters, settings):
    """The names of the checks of the step evaluate that did not pass."""
    document = json.loads((root_of(parameters, settings) / "evaluate" / "evaluation.json").read_text())
    return {check["name"] for check in document["checks"] if check["passed"] is False}


def test_clean_data_passes_a_dropped_scaling_does_not(settings, tmp_path, write_idx, monkeypatch):
    parameters = small(write_sources(tmp_path, write_idx))
    assert all(run_steps(parameters, settings).values())
    assert failed(parameters, settings) == set()
    assert not any(run_steps(parameters, settings).values()), "nothing has changed"
    # Scaling, a layer of the model, is dropped when it is exported.
    read = train.read

    def without_scaling(*given):
        model = read(*given)
        model.get_layer("scale").scale = 1.0
        return model

    monkeypatch.setattr(train, "read", without_scaling)
    execute(named("export-concept"), parameters, settings, lambda _: None, again=True)
    run_steps(parameters, settings, ("evaluate",))
    assert failed(parameters, settings) == {"false alarms offline"}
    # A change of the concept model's parameters leaves the classifier's branch alone.
    changed = small(write_sources(tmp_path, write_idx), concept_epochs=3)
    reasons = {name: why_run(named(name), changed, settings) for name in MEASURED}
    assert {name for name, reason in reasons.items() if reason} == {"train-concept"}


def poisoned(kind, folder, write_idx):
    """Overwrite the digits' files."""
    clean_train, clean_test = bars(count=400).train.images, bars(count=120).train.images
    train_images, test_images = noisy(clean_train, 11), noisy(clean_test, 12)
    train_labels, test_labels = np.arange(400) % 2, np.arange(120) % 2
    if kind == "labels":
        train_labels = np.random.default_rng(0).permutation(train_labels)
    elif kind == "polarity":
        train_images = 255 - train_images
    else:
        train_images[:100] = test_images[:100]
    write_digits(folder, write_idx, train_images, train_labels, test_images, test_labels)


long = pytest.mark.skipif(not os.environ.get("LAB_LONG_TESTS"), reason="half a minute; set LAB_LONG_TESTS=1")


@pytest.mark.parametrize(
    ("kind", "caught"), [("labels", "accuracy"), pytest.param("polarity", "false alarms offline", marks=long)]
)
def test_poisoned_data_is_caught(kind, caught, settings, tmp_path, write_idx):
    sources = write_sources(tmp_path, write_idx)
    poisoned(kind, tmp_path / "digits", write_idx)
    parameters = small(sources)
    run_steps(parameters, settings)
    assert caught in failed(parameters, settings)


def test_test_images_in_the_training_set_are_caught(settings, tmp_path, write_idx):
    sources = write_sources(tmp_path, write_idx)
    parameters, folder = small(sources), root_of(small(sources), settings) / "gather-mnist"
    run_steps(parameters, settings, ("gather-mnist",))
    assert checks.leak(gather.read(folder)).passed
    poisoned("leak", tmp_path / "digits", write_idx)
    run_steps(parameters, settings, ("gather-mnist",))
    found = checks.leak(gather.read(folder))
    assert found.passed is False
    assert found.message == "83.33% of the test images are in the training set; at most 0.10% may be"


def test_a_stand_in_does_not_replace_real_data(brightness_data):
    stand_in = dataclasses.replace(brightness_data, stand_in_for="mnist")
    assert checks.stand_in(stand_in, {"name": "mnist"}).passed is False
    assert checks.stand_in(stand_in, {"name": "sklearn-digits", "stand_in_for": "mnist"}).passed
    assert checks.stand_in(stand_in, None).passed
    assert checks.stand_in(brightness_data, {"name": "mnist"}).passed


def test_a_call_that_failed_counts_as_wrong():
    assert checks.live_accuracy(98, 98, 2, Parameters()).passed
    found = checks.live_accuracy(97, 97, 3, Parameters())
    assert found.passed is False
    assert found.message == "97.00% of 100 live calls are answered right; at least 98.00% is wanted (3 calls failed)"


def test_a_stand_in_is_looked_for_again_once_there_may_be_a_better_source(settings, monkeypatch, brightness_data):
    data = dataclasses.replace(brightness_data, stand_in_for="mnist")
    monkeypatch.setattr(gather, "load", lambda *_: data)
    run_steps(Parameters(), settings, ("gather-mnist",))
    assert why_run(named("gather-mnist"), Parameters(), settings) == ""
    online = settings.model_copy(update={"offline": False})
    assert "stand-in is in place of mnist" in why_run(named("gather-mnist"), Parameters(), online)
    assert gather.read(root_of(Parameters(), settings) / "gather-mnist").hash == data.hash


def test_a_refused_version_is_deployed_again_only_for_a_new_verdict(settings, monkeypatch):
    root, parameters, stale = root_of(Parameters(), settings), Parameters(), set()
    monkeypatch.setattr(external, "why_stale", lambda step, *_: "epochs changed" if step.name in stale else "")
    versions = {role: {"name": name, "version": 2} for role, name in (("classifier", "a"), ("concept", "a-concept"))}
    for name, document in (("deployed", {"run": "r", **versions}), ("decision", {"run": "r", "promoted": False})):
        folder = root / {"deployed": "deploy", "decision": "promote"}[name]
        folder.mkdir(parents=True)
        (folder / f"{name}.json").write_text(json.dumps(document))

    def why():
        return external.why_lost(named("deploy"), root, parameters, settings)

    assert why() == ""
    stale.add("test")
    assert why() == "version 2 of a is no longer in the models folder"


@pytest.fixture
def deployed(settings, monkeypatch):
    """deployed(others): bars and bars-concept version 2 as candidates, after `others`; what the gate does of them."""
    monkeypatch.setattr(promote, "wait_for_label", lambda *_: None)
    monkeypatch.setattr(promote, "_compared", lambda *_: ([], 0))
    monkeypatch.setattr(promote, "sound", lambda registry, _: registry.numbers())

    def decide(others, passed):
        root, check = root_of(small({}), settings), checks.live_accuracy(99 if passed else 9, 100, 0, Parameters())
        versions = {
            role: {"name": name, "version": 2} for role, name in (("classifier", "bars"), ("concept", "bars-concept"))
        }
        for name in ("bars", "bars-concept"):
            for number in (*others, 2):
                folder = settings.models / name / str(number)
                folder.mkdir(parents=True)
                (folder / "saved_model.pb").touch()
            if others:
                Registry(settings.models, name).hold_default([*others])
            Registry(settings.models, name).label(CANDIDATE, 2)
        for path, document in (
            ("deploy/deployed.json", {"run": "r", **versions}),
            ("evaluate/evaluation.json", {"checks": []}),
            ("test/live.json", {"checks": checks.documents([check])}),
        ):
            (root / path).parent.mkdir(parents=True)
            (root / path).write_text(json.dumps(document))
        (root / "new").mkdir()
        promote.run(Job(small({}), settings, root, root / "new", "run", lambda _: None))
        return json.loads((root / "new" / "decision.json").read_text())

    return decide


@pytest.mark.parametrize("others", [(), (1,)])
def test_what_passes_becomes_stable(deployed, settings, others):
    assert deployed(others, True)["promoted"]
    for name in ("bars", "bars-concept"):
        assert Registry(settings.models, name).settings().labels == {STABLE: 2}


def test_what_fails_is_taken_away_and_the_version_before_goes_on(deployed, settings):
    decision = deployed((1,), False)
    assert not decision["promoted"]
    assert decision["failed"] == ["9.00% of 100 live calls are answered right; at least 98.00% is wanted"]
    for name in ("bars", "bars-concept"):
        registry = Registry(settings.models, name)
        assert registry.numbers() == [1]
        assert registry.settings().labels == {}, "as before the deployment: the newest is the default"


def test_what_fails_later_stays_where_every_version_is_quarantined(deployed, settings, monkeypatch):
    assert deployed((1,), True)["promoted"]
    monkeypatch.setattr(promote, "sound", lambda *_: [])
    root, check = root_of(small({}), settings), checks.live_accuracy(9, 100, 0, Parameters())
    (root / "test" / "live.json").write_text(json.dumps({"checks": checks.documents([check])}))
    promote.run(Job(small({}), settings, root, root / "new", "run", lambda _: None))
    assert not json.loads((root / "new" / "decision.json").read_text())["promoted"]
    assert Registry(settings.models, "bars").numbers() == [1, 2]


def test_deploy_passes_over_a_version_that_does_not_load(settings, monkeypatch, brightness_net, brightness_data):
    monkeypatch.setattr(deploy, "wait_for_label", lambda *_: None)
    monkeypatch.setattr(export, "check", replay)
    root = root_of(small({}), settings)
    for role, name in (("classifier", "bars"), ("concept", "bars-concept")):
        there = settings.model_copy(update={"models": root / f"export-{role}" / "models"})
        export.export(brightness_net, Context(name, settings=there), brightness_data, run="r", decides=False)
        (settings.models / name / "1").mkdir(parents=True)
        (settings.models / name / "1" / "saved_model.pb").write_bytes(b"torn")
    (root / "new").mkdir()
    deploy.run(Job(small({}), settings, root, root / "new", "run", lambda _: None))
    assert json.loads((root / "new" / "deployed.json").read_text())["classifier"] == {"name": "bars", "version": 2}


def test_what_fails_and_is_the_only_version_leaves_no_model(deployed, settings):
    assert not deployed((), False)["promoted"]
    assert not (settings.models / "bars").exists()
