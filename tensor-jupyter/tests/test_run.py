"""The settings of a run: who counts more, and how a wrong value is named."""

import json

import pytest

from tensor_jupyter.errors import LabError
from tensor_jupyter.training import Run


@pytest.fixture
def file(tmp_path):
    """file(text, name): a file of settings."""

    def write(text, name="run.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_defaults_then_file_then_environment_then_flags(file, monkeypatch):
    assert Run.read().model_dump() == Run().model_dump()
    path = file("epochs = 3\nseed = 3\nbatch_size = 3\n")
    assert Run.read(path).epochs == 3
    monkeypatch.setenv("LAB_TRAIN_SEED", "4")
    monkeypatch.setenv("LAB_TRAIN_BATCH_SIZE", "4")
    monkeypatch.setenv("LAB_TRAIN_PATIENCE", "")
    run = Run.read(path, batch_size=5, learning_rate=None)
    assert run.differences() == {"epochs": 3, "seed": 4, "batch_size": 5}


def test_json_does_as_well(file):
    assert Run.read(file('{"network": "dnn", "learning_rate": 1e-2}', "run.json")).learning_rate == 0.01


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("epochs = 'many'", "run.toml", "epochs in .*run.toml is 'many': Input should be a valid integer"),
        ("epochs = 0", "run.toml", "epochs in .* is 0: Input should be greater than or equal to 1"),
        ("learning_rate = nan", "run.toml", "learning_rate in .* is nan: Input should be"),
        ("epoch = 3", "run.toml", "epoch in .* is 3: a run has no such setting; it has network, epochs"),
        ("epochs = ", "run.toml", "cannot be read: Invalid value"),
        ("[1]", "run.json", "holds a list: settings by name are wanted"),
        ("[" * 50_000, "run.json", "cannot be read"),
        (json.dumps({"seed": "1" * 100_000}), "run.json", "more than 100000 bytes"),
        ("epochs: 3", "run.yaml", r"is not a file of settings: .toml or .json is wanted"),
    ],
)
def test_a_wrong_file_is_named(file, text, name, expected):
    with pytest.raises(LabError, match=expected):
        Run.read(file(text, name))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LabError, match=r"none.toml cannot be read: No such file"):
        Run.read(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(LabError, match=r"bytes.toml cannot be read: 'utf-8'"):
        Run.read(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LAB_TRAIN_NETWORK", "rnn", "LAB_TRAIN_NETWORK is 'rnn': Input should be 'cnn', 'vgg', 'dnn', 'autoencoder'"),
        ("LAB_TRAIN_EPOHCS", "3", "LAB_TRAIN_EPOHCS is '3': a run has no such setting"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch, name, value, expected):
    monkeypatch.setenv(name, value)
    with pytest.raises(LabError, match=expected):
        Run.read()


def test_a_wrong_flag_is_named():
    with pytest.raises(LabError, match="--validation-split is 1: Input should be less than"):
        Run.read(validation_split=1)
