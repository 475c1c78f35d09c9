"""The command `lab` as a person meets it: a process, its words and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PACKAGE_ROOT = Path(__file__).parents[1]


@pytest.fixture
def lab(tmp_path):
    """lab(*words) runs the command with folders of its own."""

    def run(*words, **more):
        folders = {f"LAB_{name.upper()}": str(tmp_path / name) for name in ("models", "logs", "data")}
        return subprocess.run(
            [sys.executable, "-m", "tensor_jupyter", *map(str, words)],
            env={
                **os.environ,
                **folders,
                "LAB_OFFLINE": "1",
                "PYTHONPATH": str(PACKAGE_ROOT),
                "COLUMNS": "120",
                **more,
            },
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def output(done):
    """The one line on stderr of a command that failed."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("lab: ")
    return line


def test_help_names_every_command_and_imports_no_tensorflow(lab):
    done = lab("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "train" in done.stdout
    assert "samples" in done.stdout
    assert "client" in done.stdout
    assert "typer" in done.stderr
    assert "tensorflow" not in done.stderr.replace("tensor_jupyter", "")


@pytest.mark.parametrize("command", ["train", "samples", "client", "predict", "label", "evaluate"])
def test_each_command_has_help(lab, command):
    assert f"Usage: lab {command}" in lab(command, "--help").stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--nope"], "No such option: --nope"),
        (["trian"], "No such command 'trian'"),
        (["train", "--epochs", "0"], "greater than or equal to 1"),
        (["train", "--subset", "7"], "less than or equal to 1"),
        (["samples"], "--out"),
    ],
)
def test_wrong_usage_is_exit_code_2(lab, words, expected):
    done = lab(*words)
    assert done.returncode == 2
    assert expected in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "Bad/Name"], "cannot be called 'Bad/Name'"),
        (["train", "--data", "/nowhere"], "'/nowhere' is neither a data set"),
        (["samples", "--out", "out", "--n", "15"], "15 samples cannot be made"),
        (["samples", "--out", "/proc/nothing"], "No such file or directory: /proc/nothing"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(lab, words, expected):
    done = lab(*words)
    assert done.returncode == 1
    assert expected in output(done)


def test_a_wrong_setting_is_named(lab):
    done = lab("train", LAB_OFFLINE="perhaps")
    assert done.returncode == 1
    assert "LAB_OFFLINE is 'perhaps'" in output(done)


def test_an_unexpected_error_is_one_line_and_verbose_shows_where(lab, tmp_path):
    """Staged: a library that is not what it should be."""
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").write_text("datasets = None")
    path = f"{tmp_path}{os.pathsep}{PACKAGE_ROOT}"
    done = lab("samples", "--out", tmp_path / "out", PYTHONPATH=path)
    assert done.returncode == 1
    assert "AttributeError: 'NoneType' object has no attribute 'load_digits'" in output(done)
    result = lab("--verbose", "samples", "--out", tmp_path / "out", PYTHONPATH=path)
    assert "Traceback" in result.stderr
    assert "load_digits" in result.stderr


def test_samples_are_written(lab, tmp_path):
    done = lab("samples", "--out", tmp_path / "out", "--n", "20")
    assert done.returncode == 0, done.stderr
    assert "20 digits written" in done.stdout
    assert len(list((tmp_path / "out").glob("mnist_*.jpg"))) == 20


def test_train_publishes_and_reports(lab, tmp_path, write_idx):
    """From a folder of 600 images that are all dark or all light; of those not held out, one epoch."""
    labels = np.arange(600) % 2
    write_idx(tmp_path / "set" / "train-images-idx3-ubyte", np.broadcast_to(255 * labels[:, None, None], (600, 28, 28)))
    write_idx(tmp_path / "set" / "train-labels-idx1-ubyte", labels)
    done = lab("train", "light", "--data", tmp_path / "set", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    published = tmp_path / "models" / "light" / "1"
    assert f"Published: {published}" in done.stdout
    assert "on all 100 test images of " in done.stdout
    assert (published / "saved_model.pb").is_file()
    assert list((tmp_path / "logs" / "light" / "1").rglob("events.out.tfevents.*"))
    assert [line for line in done.stderr.splitlines() if not line.startswith("epoch ")] == []
    content = (published / "saved_model.pb").read_bytes()
    assert b"lab train light --data DIR --epochs 1" in content
    assert json.dumps(str(tmp_path)).encode()[1:-1] not in content


def test_a_call_of_a_lab_that_does_not_run_is_one_line(lab):
    done = lab("client", "mnist-net", "--lang", "curl", LAB_REST_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert "does not answer at http://127.0.0.1:1/" in output(done)
    assert lab("client", "--lang", "cobol").returncode == 2
