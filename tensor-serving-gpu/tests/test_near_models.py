"""Folders that are nearly models: the reason, and a command that really mends it."""

import subprocess
from pathlib import Path

import pytest
from serving_kit import tiny_saved_model

from tensor_serving.catalogue import Catalogue, scan
from tensor_serving.savedmodel import SavedModelValidator


def seen(models: Path) -> Catalogue:
    return scan(models, SavedModelValidator())


@pytest.mark.parametrize(
    ("folder", "path", "reason", "served"),
    [
        ("ResNet/1", "ResNet", "the name is not of the form [a-z0-9]", {"resnet": [1]}),
        ("My Models (2)/00003", "My Models (2)", "the name is not of the form", {"my-models-2": [3]}),
        ("ResNet", "ResNet", "a SavedModel without a version folder", {"resnet": [1]}),
        ("my-model", "my-model", "a SavedModel without a version folder", {"my-model": [1]}),
        ("7", "7", "a version without a model's folder around it", {"my-model": [1]}),
        ("net/v1", "net", "not a version: v1;", {"net": [1]}),
        ("net/0", "net", "not a version: 0;", {"net": [1]}),
        ("zoo/net/4", "zoo", "a folder of models, one level too deep: net", {"net": [4]}),
        (".", ".", "a SavedModel in the models folder itself", {"my-model": [1]}),
    ],
)
def test_the_fix_makes_it_a_model(
    tmp_path: Path, folder: str, path: str, reason: str, served: dict[str, list[int]]
) -> None:
    models = tmp_path / "models"
    tiny_saved_model(models / folder)
    before = seen(models)
    assert before.models == []
    (near,) = before.ignored
    assert near.path == path
    assert near.reason.startswith(reason)
    subprocess.run(["sh", "-ec", near.fix], check=True, cwd=tmp_path)
    after = seen(models)
    assert {model.name: model.versions for model in after.models} == served
    assert after.ignored == []


def test_several_versions_are_numbered_in_their_order(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("v10", "v2"):
        tiny_saved_model(models / "net" / name)
    (near,) = seen(models).ignored
    assert near.fix == "mv models/net/v2 models/net/1 && mv models/net/v10 models/net/2"


def test_a_name_that_is_taken_is_not_suggested(tmp_path: Path) -> None:
    models = tmp_path / "models"
    tiny_saved_model(models / "ResNet" / "1")
    tiny_saved_model(models / "resnet" / "1")
    assert [near.fix for near in seen(models).ignored] == ["mv models/ResNet models/resnet-2"]


@pytest.mark.parametrize(
    ("folders", "served"),
    [
        (("ResNet/1", "RESNET/1"), {"resnet", "resnet-2"}),
        (("zoo/ResNet/1", "zoo/resnet/1"), {"resnet", "resnet-2"}),
        (("7", "8", "."), {"my-model", "my-model-2", "my-model-3"}),
        (("NOTES/paper/1", "Notes/1"), {"notes"}),  # only what is listed takes a name
    ],
)
def test_the_fixes_of_one_listing_have_different_names(
    tmp_path: Path, folders: tuple[str, ...], served: set[str]
) -> None:
    models = tmp_path / "models"
    for folder in folders:
        tiny_saved_model(models / folder) if folder != "." else (models / "saved_model.pb").touch()
    fixes = [near.fix for near in seen(models).ignored]
    subprocess.run(["sh", "-ec", "\n".join(fixes)], check=True, cwd=tmp_path)
    names = {model.name for model in seen(models).models}
    assert names == served


def test_a_name_that_no_shell_could_be_given_has_no_fix(tmp_path: Path) -> None:
    models = tmp_path / "models"
    tiny_saved_model(models / "a\nb" / "1")
    (near,) = seen(models).ignored
    assert (near.path, near.fix) == ("a\nb", "")
    assert near.line().startswith("'a\\nb' is ignored: the name is not of the form")


def test_other_folders_are_passed_over(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("empty", "Notes", "Photos/2024", "net/.staging", ".hidden/1"):
        (models / name).mkdir(parents=True)
    tiny_saved_model(models / ".staging" / "x")
    (models / "Saved").write_text("a file")
    assert seen(models).ignored == []
    tiny_saved_model(models / "served" / "1")
    tiny_saved_model(models / "served" / "v2")  # it is a model already
    assert seen(models).ignored == []
