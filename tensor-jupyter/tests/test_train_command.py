"""`lab train` and `lab retrain` as a person meets them: words, exit codes, and what is published in the end."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_kit import bars

from tensor_jupyter.commands.train import _called, _data_words, _run_words
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.training import Run
from tensor_jupyter.training.network_selection import choose_network


@pytest.fixture
def begin(tmp_path):
    """begin(*words): the command as a process, with folders of its own."""

    def run(*words, stderr=subprocess.PIPE, **more):
        folders = {f"LAB_{name.upper()}": str(tmp_path / name) for name in ("models", "logs", "data")}
        path = {"PYTHONPATH": str(Path(__file__).parents[1]), "LAB_OFFLINE": "1", "COLUMNS": "120"}
        return subprocess.Popen(
            [sys.executable, "-m", "tensor_jupyter", *map(str, words)],
            env={**os.environ, **folders, **path, **more},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    return run


@pytest.fixture
def lab(begin):
    """lab(*words): the same to its end."""

    def run(*words, **more):
        process = begin(*words, **more)
        answers, errors = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, answers, errors)

    return run


def card_of(folder):
    with Graph(folder) as graph:
        return graph.card()


@pytest.fixture
def flowers(tmp_path):
    """flowers/{red,blue}/<n>.png: 60 images of 24x24, of many a shade."""
    draw = np.random.default_rng(0)
    for channel, colour in ((0, "red"), (2, "blue")):
        folder = tmp_path / "My Flowers" / colour
        folder.mkdir(parents=True)
        for number in range(30):
            pixels = draw.integers(0, 80, (24, 24, 3), np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "My Flowers"


def test_retrain_teaches_a_folder_of_images_and_publishes_it(lab, flowers, tmp_path):
    done = lab("retrain", "--image-dir", flowers, "--epochs", "3", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    published = tmp_path / "models" / "my-flowers" / "1"
    assert answer["published"] == str(published)
    assert answer["metrics"]["test_accuracy"] >= 0.9
    card = card_of(published)
    assert card["labels"] == ["blue", "red"]
    assert (card["input"]["height"], card["input"]["channels"]) == (24, 3)
    assert card["data_set"]["command"] == "lab retrain --image-dir DIR --name my-flowers --epochs 3"
    assert "my-flowers: " not in done.stdout
    assert "epoch 3/3  accuracy" in done.stderr


def test_photographs_without_weights_get_a_small_network_by_default():
    photographs, digits = bars(64, 3), bars()
    assert choose_network(Run(), digits, offline=True)[0].network == "cnn"
    run, output = choose_network(Run(), photographs, offline=True)
    assert run.network == "cnn"
    assert "(LAB_OFFLINE is set). Give --weights FILE" in output
    assert "a small network learns from scratch" in output
    assert choose_network(Run(weights="none", alpha=0.35), photographs, offline=True)[0].network == "transfer"
    with pytest.raises(LabError, match="LAB_OFFLINE is set"):
        choose_network(Run(weights="imagenet"), photographs, offline=True)


@pytest.mark.parametrize(
    ("words", "variables", "code", "expected"),
    [
        (["--network", "resnet"], {}, 2, "Input should be 'cnn', 'vgg', 'dnn'"),
        (["--learning-rate", "2"], {}, 2, "less than or equal to 1"),
        ([], {"LAB_TRAIN_BATCH_SIZE": "big"}, 1, "LAB_TRAIN_BATCH_SIZE is 'big'"),
        (["--config", "none.toml"], {}, 1, "none.toml cannot be read: No such file"),
        (["--resume"], {}, 1, "no stopped training of mnist-net to resume: none was kept"),
    ],
)
def test_what_is_wrong_is_reported_at_the_start(lab, words, variables, code, expected):
    done = lab("train", *words, **variables)
    assert done.returncode == code
    assert expected in " ".join(done.stderr.split())
    assert "epoch " not in done.stderr


def test_the_same_command_goes_on_after_ctrl_c(begin, lab, tmp_path):
    """Stopped by the signal of Ctrl-C once the first of many epochs is printed; then given again."""
    words = ("train", "digits", "--network", "dnn", "--epochs", "12", "--batch-size", "64")
    process = begin(*words)
    for line in process.stderr:
        if line.startswith("epoch 1/12"):
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "the same command resumes after them" in errors
    done = lab(*words)
    assert done.returncode == 0, done.stderr
    assert "Resuming the stopped training" in done.stderr
    assert "epoch 1/12" not in done.stderr
    assert "epoch 12/12" in done.stderr
    assert "Published" in done.stdout
    assert "Try it:    lab label --model" in done.stdout
    assert (tmp_path / "models" / "digits" / "1").is_dir()


def test_ctrl_c_at_a_terminal_shows_the_cursor_again(begin):
    terminal, theirs = pty.openpty()
    process = begin("train", "digits", "--network", "dnn", "--epochs", "50", stderr=theirs, TERM="xterm")
    os.close(theirs)
    shown, interrupted = b"", False
    with process, os.fdopen(terminal, "rb", 0) as screen, contextlib.suppress(OSError):  # EIO: it has ended
        while chunk := screen.read(4096):
            shown += chunk
            if not interrupted and b"epoch 1/50" in shown:
                process.send_signal(signal.SIGINT)
                interrupted = True
    assert process.returncode == 130
    assert b"the same command" in shown
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l") >= 0


def test_the_command_in_the_card_has_no_path(tmp_path):
    assert _data_words("mnist") == []
    assert _data_words(str(tmp_path)) == ["--data", "DIR"]
    assert _data_words("fashion-mnist+feedback:x") == ["--data", "fashion-mnist+feedback:x"]
    run = Run(epochs=3, weights="/secret/place.h5", network="transfer", profile=True)
    assert " ".join(_run_words(run)) == "--epochs 3 --network transfer --weights FILE --profile"


@pytest.mark.parametrize(
    ("folder", "name"), [("My Flowers", "my-flowers"), ("_x_", "x"), ("...", "retrained"), ("ä" * 80, "retrained")]
)
def test_a_model_is_called_after_its_folder(tmp_path, folder, name):
    assert _called(tmp_path / folder) == name
