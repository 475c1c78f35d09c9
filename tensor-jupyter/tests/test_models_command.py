"""`lab models` as a person meets it: real versions in a models folder, and a gateway that follows serving.json."""

import json
import os
import shutil
import threading

import keras
import numpy as np
import pytest
from models_kit import Gateway
from PIL import Image
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.context import Context
from tensor_jupyter.data import load
from tensor_jupyter.publishing import export as exporting
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.replay import replay


@pytest.fixture
def gateway(settings, monkeypatch):
    settings.models.mkdir(parents=True, exist_ok=True)
    with Gateway(settings.models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("LAB_REST_URL", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


@pytest.fixture
def lab(settings, monkeypatch):
    """lab(*words): exit code and output of the command, with folders of its own."""
    for name in ("models", "logs", "data"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(getattr(settings, name)))
    if "LAB_REST_URL" not in os.environ:  # else the gateway's
        monkeypatch.setenv("LAB_REST_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LAB_OFFLINE", "1")

    def run(*words, code=0):
        done = CliRunner().invoke(app, list(map(str, words)))
        assert done.exit_code == code, done.output
        return done

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Kept over the tests: the models folder as `versions` made it first."""
    return tmp_path_factory.mktemp("made") / "models"


@pytest.fixture
def versions(settings, brightness_net, brightness_data, made):
    """The model `b`: 1 and 2 are right about greys, 3 answers the other way round."""
    if not made.exists():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporting, "check", replay)
            _make(brightness_net, brightness_data, settings.model_copy(update={"models": made}))
    shutil.copytree(made, settings.models, dirs_exist_ok=True)
    return Registry(settings.models, "b")


def _make(net, data, settings):
    for number in (1, 2, 3):
        if number == 3:
            kernel, bias = net.get_weights()
            net.set_weights([-kernel, 1 - bias])
        exporting.export(net, Context("b", settings=settings), data, metrics={"test_accuracy": 1.0})
    (settings.models / "b" / "serving.json").unlink()  # the labels here are a person's


@pytest.fixture
def greys(tmp_path):
    """A folder of 2x2 images by class."""
    for grey in range(0, 256, 4):
        folder = tmp_path / "greys" / ("dark" if grey < 128 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), grey, np.uint8)).save(folder / f"{grey}.png")
    return tmp_path / "greys"


def test_the_list_is_the_gateways_or_else_the_folders(lab, versions, request):
    versions.label("canary", 2)
    done = lab("models")
    assert "does not answer at http://127.0.0.1:1/tf/models" in done.stderr
    today = versions.report(1)["about"]["created"][:10]
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["MODEL", "VERSION", "STATE", "LABELS", "ACCURACY", "DATE", "DATA", "SET"],
        ["b", "3", "listed", "100.00%", today, "brightness"],
        ["b", "2", "listed", "canary", "100.00%", today, "brightness"],
        ["b", "1", "kept", "100.00%", today, "brightness"],
    ]
    request.getfixturevalue("gateway").quarantined = {3: "saved_model.pb is missing"}
    done = lab("models", "list", "--json")
    entries = json.loads(done.stdout)["models"][0]["versions"]
    assert [(entry["version"], entry["state"], entry["reason"]) for entry in entries] == [
        (3, "quarantined", "saved_model.pb is missing"),
        (2, "served", ""),
        (1, "kept", ""),
    ]


def test_near_models_are_listed_with_the_mending_command(lab, gateway, settings):
    gateway.ignored = [{"path": "ResNet", "reason": "the name", "fix": "mv models/ResNet models/resnet"}]
    (settings.models / "old.h5").touch()
    listed = lab("models").stderr
    assert f"ResNet is not served: the name. cd {settings.models.parent} && mv models/ResNet models/resnet" in listed
    assert "old.h5 is not served: a Keras file" in listed
    ignored = json.loads(lab("models", "list", "--json").stdout)["ignored"]
    assert [each["path"] for each in ignored] == ["ResNet", "old.h5"]


def test_an_empty_lab_is_reported_with_a_remedy(lab):
    assert "`lab train mnist-net` makes one" in lab("models").stdout


@pytest.mark.usefixtures("versions")
def test_a_version_is_shown_with_card_signatures_and_report(lab):
    output = lab("models", "show", "b").stdout
    assert "serving_default: images uint8 [*, 2, 2, 1] -> scores float32 [*, 2]" in output
    assert "labels       light, dark" in output
    assert "gate         missed  accuracy" in output
    found = json.loads(lab("models", "show", "b", 1, "--json").stdout)
    assert found["card"]["metrics"] == {"test_accuracy": 1.0}
    assert found["report"]["passed"]
    assert "b has no version 9: there are 1, 2, 3" in lab("models", "show", "b", 9, code=1).stderr


@pytest.mark.usefixtures("gateway")
def test_promotion_goes_through_the_gate(lab, versions, greys):
    done = lab("models", "promote", "b", 2, "--data", greys)
    assert "ok      accuracy is 100.00%" in done.stdout
    assert "Served now: 2, 3, stable is 2." in done.stdout

    done = lab("models", "promote", "b", 3, "--data", greys, code=1)
    assert "missed  accuracy is 0.00%" in done.stdout
    assert "b 3 is not promoted: accuracy is 0.00%" in done.stderr
    assert "at least 99.50% is wanted (the current version, measured on the same, has 100.00%)" in done.stderr
    assert versions.settings().labels == {"stable": 2}
    assert (versions.report(3)["current"], versions.report(3)["forced"]) == (2, False)

    done = lab("models", "promote", "b", 3, "--data", greys, "--force")
    assert "b 3 is stable now, by --force." in done.stdout
    assert versions.report(3)["forced"]
    assert versions.log()[-1]["forced"]
    assert versions.settings().labels == {"stable": 3}


@pytest.mark.usefixtures("versions")
def test_the_bars_come_from_the_environment(lab, greys, monkeypatch):
    monkeypatch.setenv("LAB_GATE_MAX_LATENCY_MS", "0.000001")
    done = lab("models", "promote", "b", 2, "--data", greys, "--wait", 0, "--json", code=1)
    assert "1e-06 ms are allowed" in done.stderr
    assert json.loads(done.stdout)["promoted"] is False
    monkeypatch.setenv("LAB_GATE_MAX_LATENCY_MS", "soon")
    assert "LAB_GATE_MAX_LATENCY_MS is 'soon'" in lab("models", "promote", "b", 2, "--data", greys, code=1).stderr


@pytest.mark.usefixtures("gateway")
def test_a_model_with_a_float_input_is_measured_on_its_images(lab, settings, greys, monkeypatch):
    monkeypatch.setattr(exporting, "check", replay)
    monkeypatch.chdir(greys.parent)
    images = keras.Input((2, 2, 1))
    dense = keras.layers.Dense(2)
    model = keras.Model(images, dense(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))))
    dense.set_weights([np.array([[-0.25, 0.25]] * 4), np.array([1.0, 0.0])])
    exporting.export(model, Context("f", settings=settings), load("greys", settings))
    assert "ok      accuracy is 100.00%" in lab("models", "promote", "f", 1).stdout


@pytest.mark.usefixtures("versions")
def test_without_its_images_a_version_is_promoted_by_force_only(lab, tmp_path):
    output = lab("models", "promote", "b", 2, code=1).stderr
    assert "The images that version 2 of b was trained with (brightness) cannot be loaded" in output
    assert "Give --data SET" in output
    lab("models", "promote", "b", 2, "--force")
    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (2, 2), number * 9 + len(label) + ord(label[0])).save(
                tmp_path / "pets" / label / f"{number}.png"
            )
    output = lab("models", "promote", "b", 2, "--data", tmp_path / "pets", code=1).stderr
    assert "its labels (light, dark ...) are none of pets (cat, dog ...)" in output


@pytest.mark.usefixtures("versions", "gateway")
def test_canary_then_stable_then_back_in_one_command(lab, greys):
    lab("models", "promote", "b", 1, "--data", greys)
    output = lab("models", "label", "b", "canary", 2).stdout
    assert "/tf/models/b/labels/canary/classify" in output
    lab("models", "promote", "b", 2, "--data", greys)
    output = lab("models", "rollback", "b").stdout
    assert "b 1 answers in place of 2" in output
    assert "Served now: 1, stable is 1." in output
    assert "nothing to roll back to" in lab("models", "rollback", "b", code=1).stderr


def test_what_is_quarantined_is_not_promoted_and_can_be_retried(lab, versions, gateway):
    gateway.quarantined = {3: "does not load: torn"}
    for words in (("label", "b", "canary", 3), ("promote", "b", 3)):
        assert "Version 3 of b is not sound (does not load: torn)" in lab("models", *words, code=1).stderr
    assert "b still" not in lab("models", "rollback", "b").stdout  # from 2 to 1: 3 does not count
    assert versions.settings().pinned == (1,)
    lab("models", "rollback", "b", "--to", 2)
    output = lab("models", "retry", "b", 3, "--wait", 0.5, code=1)
    assert "b 3 is checked again (does not load: torn)" in output.stdout
    assert "After 0.5 s the gateway still shows b" in output.stderr
    gateway.quarantined = {}
    lab("models", "retry", "b", 3)


@pytest.mark.usefixtures("gateway")
def test_deletion_is_seen_by_the_gateway_and_refused_for_what_is_served(lab, versions):
    assert "Version 3 of b is served" in lab("models", "delete", "b", 3, code=1).stderr
    assert "Served now: 3." in lab("models", "delete", "b", 1).stdout
    assert "Served now: 2." in lab("models", "delete", "b", 3, "--force").stdout
    assert "`lab models delete b --all`" in lab("models", "delete", "b", 2, "--force", code=1).stderr
    assert versions.numbers() == [2]


@pytest.mark.usefixtures("gateway")
def test_a_model_is_deleted_with_all_versions_when_that_is_meant(lab, versions):
    assert "add --yes if that is meant" in lab("models", "delete", "b", "--all", code=1).stderr
    assert versions.numbers() == [1, 2, 3]
    lab("models", "delete", "b", code=2)
    lab("models", "delete", "b", 1, "--all", code=2)
    output = lab("models", "delete", "b", "--all", "--yes").stdout
    assert "b with 3 versions is deleted" in output
    assert not versions.family.exists()
    assert not list((versions.models / ".staging").iterdir())


def test_independent_rows_are_set_and_left_to_the_model_again(lab, versions):
    versions.label("canary", 2)
    lab("models", "independent-rows", "b", "off")
    assert versions.settings().independent_rows is False
    versions.promote(1, "stable")
    lab("models", "independent-rows", "b", "on")
    assert versions.settings().independent_rows is True
    lab("models", "independent-rows", "b", "auto")
    assert versions.settings().independent_rows is None
    assert versions.settings().labels == {"canary": 2, "stable": 1}
    lab("models", "independent-rows", "b", "yes", code=2)


def test_a_change_not_shown_is_an_error_a_silent_gateway_a_warning(lab, versions, gateway):
    gateway.document = lambda: {"models": []}
    assert "After 0.3 s the gateway still shows b" in lab("models", "label", "b", "x", 1, "--wait", 0.3, code=1).stderr
    gateway.document = lambda: "no list"
    output = lab("models", "label", "b", "x", 2).stderr
    assert "Written, but not seen to be served" in output
    assert "does not answer as the lab's gateway does" in output
    assert versions.settings().labels == {"x": 2}


def test_wrong_names_and_numbers(lab):
    assert "There is no model nope in" in lab("models", "show", "nope", code=1).stderr
    assert "cannot be called 'No!'" in lab("models", "show", "No!", code=1).stderr
    lab("models", "label", "b", "canary", 0, code=2)
    lab("models", "label", "b", "canary", code=2)


def test_import_publishes_and_shows_the_signature(lab, settings, tmp_path, brightness_net, monkeypatch):
    monkeypatch.setattr(exporting, "check", replay)
    with pytest.warns(DeprecationWarning, match="__array__"):
        brightness_net.save(tmp_path / "Grey Net.keras")
    (tmp_path / "labels.txt").write_text("light\ndark\n\n")
    output = lab("import", tmp_path / "Grey Net.keras", "--labels", tmp_path / "labels.txt").stdout
    assert f"Published: {settings.models / 'grey-net' / '1'}" in output
    assert "serving_default: images uint8 [*, 2, 2, 1] -> scores float32 [*, 2]" in output
    output = lab("import", tmp_path / "Grey Net.keras", "--labels", "a,,b", code=1).stderr
    assert "invalid --labels 'a,,b' (expected different names" in output
