"""Which lab a notebook outside of JupyterLab belongs to, and that it says so."""

import json

import pytest

from tensor_jupyter import home
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

PORTS = {"rest": 18080, "board": 16006, "serving": 19000, "inventory": 18502, "jupyter": 18888, "serving_rest": 18501}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone whose lab was started; the working folder is that of a notebook in it."""
    state, notebooks = tmp_path / ".lab", tmp_path / "tensor-jupyter" / "notebook" / "MNIST"
    state.mkdir()
    notebooks.mkdir(parents=True)
    (state / "lab.json").write_text(json.dumps({"id": "mine", "ports": PORTS}))
    monkeypatch.delenv("LAB_HOME")
    monkeypatch.chdir(notebooks)
    home._print_once.cache_clear()
    return tmp_path


def test_the_clones_lab_is_found_and_named_once(clone, capsys):
    settings = Settings.read()
    assert settings.models == clone / ".lab" / "models"
    assert settings.feedback == clone / ".lab" / "feedback"
    assert (settings.rest_url, settings.board_url) == ("http://127.0.0.1:18080", "http://127.0.0.1:16006/")
    assert settings.id == "mine"
    assert home.environment()["TF_SERVER_HOST_PORT"] == "127.0.0.1:19000"
    Settings.read()
    output = capsys.readouterr().err
    assert output == f"tensor-lab: using the lab in {clone}/.lab (gateway: http://127.0.0.1:18080)\n"


def test_lab_home_comes_first_and_every_variable_before_it(clone, monkeypatch, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "lab.json").write_text(json.dumps({"id": "other", "ports": {"rest": 28080}}))
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "other"))
    assert Settings.read().rest_url == "http://127.0.0.1:28080"
    assert Settings.read().models == tmp_path / "other" / "models"
    assert Settings.read(models=clone).models == clone
    monkeypatch.setenv("LAB_REST_URL", "http://127.0.0.1:1")
    assert (Settings.read().rest_url, Settings.read().id) == ("http://127.0.0.1:1", "")
    assert capsys.readouterr().err == ""


def test_a_clone_whose_lab_was_never_started_has_its_folders(clone, capsys):
    (clone / ".lab" / "lab.json").unlink()
    (clone / ".deploy" / "lab_engine").mkdir(parents=True)
    assert Settings.read().models == clone / ".lab" / "models"
    assert "gateway: not started yet" in capsys.readouterr().err


def test_outside_of_every_clone_it_reports_where_models_are_written(clone, monkeypatch, tmp_path_factory, capsys):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(home.sys, "prefix", str(elsewhere / "venv"))
    assert home.find() is None
    Settings.read()
    assert f"models go to {elsewhere}/.lab/models; work in the lab's clone" in capsys.readouterr().err
    monkeypatch.setattr(home.sys, "prefix", str(clone / ".lab" / "venv"))
    assert home.find() == clone / ".lab"


def test_a_lab_in_docker_is_named_as_one_that_does_not_serve_this_folder(clone, capsys):
    (clone / ".lab" / "engine.json").write_text(json.dumps({"engine": "docker", "up": True}))
    Settings.read()
    assert "it runs in Docker and does not serve what is published into this folder" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"ports": 1}'])
def test_a_damaged_file_is_named(clone, text):
    (clone / ".lab" / "lab.json").write_text(text)
    with pytest.raises(LabError, match=r"lab\.json"):
        Settings.read()
