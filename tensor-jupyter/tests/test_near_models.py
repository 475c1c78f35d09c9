"""What lies in the models volume and is nearly a model: the reason, and a command that mends it."""

import json
import subprocess

import pytest
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.publishing.near_models import near_models


@pytest.mark.parametrize(
    ("graph", "path", "reason", "mended"),
    [
        ("ResNet/1", "ResNet", "lower-case", "resnet/1"),
        ("My Model", "My Model", "lower-case", "my-model"),
        ("my-model", "my-model", "without a version folder", "my-model/1"),
        ("digits/v2", "digits/v2", "positive whole number", "digits/2"),
        ("digits/best", "digits/best", "positive whole number", "digits/1"),
    ],
)
def test_the_command_mends_what_is_listed(tmp_path, graph, path, reason, mended):
    folder = tmp_path / graph
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    (found,) = near_models(tmp_path)
    assert (found.path, reason in found.reason) == (path, True)
    subprocess.run(["sh", "-c", found.fix], check=True)
    assert (tmp_path / mended / "saved_model.pb").is_file()
    assert (tmp_path / mended / "variables").is_dir()


def test_models_and_other_things_are_not_listed(tmp_path):
    for name in ("mnist-net/1", "empty", ".staging/x", "Notes/2024", "mnist-net/.reports"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "mnist-net" / "1" / "saved_model.pb").touch()
    (tmp_path / "readme.txt").touch()
    assert near_models(tmp_path) == []
    assert near_models(tmp_path / "nowhere") == []


def test_a_keras_file_is_to_be_imported_and_nothing_is_moved_onto_a_model(tmp_path):
    (tmp_path / "old.h5").touch()
    for name in ("Net/1", "net/1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "saved_model.pb").touch()
    found = {each.path: each.fix for each in near_models(tmp_path)}
    assert found == {"Net": "", "old.h5": f"bin/lab import {tmp_path}/old.h5"}


def test_lab_models_lists_them_with_the_mending_command(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_MODELS", str(tmp_path))
    monkeypatch.setenv("LAB_REST_URL", "http://127.0.0.1:1")
    (tmp_path / "ResNet" / "1").mkdir(parents=True)
    (tmp_path / "ResNet" / "1" / "saved_model.pb").touch()
    told = CliRunner().invoke(app, ["models"]).stderr
    assert "ResNet is not served: a model's name has lower-case letters" in told
    assert f"mv {tmp_path}/ResNet {tmp_path}/resnet" in told
    found = json.loads(CliRunner().invoke(app, ["models", "list", "--json"]).stdout)
    assert found["ignored"][0]["path"] == "ResNet"
