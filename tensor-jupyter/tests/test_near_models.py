"""What lies in the models volume and is nearly a model: the reason, and a mending command."""

import subprocess

import pytest

from tensor_jupyter.publishing.near_models import NearModel, near_models
from tensor_jupyter.typed import LAB


def test_a_command_of_the_watcher_mends_the_workbenchs_volume(tmp_path):
    models = tmp_path / "the lab" / "models"
    (models / "ResNet" / "1").mkdir(parents=True)
    entry = {"path": "ResNet", "reason": "the name", "fix": "mv models/ResNet models/resnet"}
    (found,) = near_models({"ignored": [entry]}, models)
    assert (found.path, found.reason) == ("ResNet", "the name")
    subprocess.run(["sh", "-c", found.fix], check=True)
    assert (models / "resnet" / "1").is_dir()


def test_a_folder_that_no_command_mends_is_listed_without_one(tmp_path):
    assert near_models({"ignored": [{"path": "a", "reason": "b", "fix": ""}]}, tmp_path) == [NearModel("a", "b", "")]


def test_a_keras_file_is_to_be_imported(tmp_path):
    (tmp_path / "old net.h5").touch()
    (found,) = near_models({}, tmp_path)
    assert (found.path, found.fix) == ("old net.h5", f"{LAB} import '{tmp_path}/old net.h5'")


@pytest.mark.parametrize("document", [{}, {"ignored": None}, {"ignored": ["ResNet"]}])
def test_a_list_of_an_older_lab_has_none(tmp_path, document):
    assert near_models(document, tmp_path) == near_models(document, tmp_path / "nowhere") == []
