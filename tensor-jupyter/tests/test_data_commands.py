"""`lab data` as a person meets it: a process, its words, its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PACKAGE_ROOT = Path(__file__).parents[1]


@pytest.fixture
def lab(tmp_path):
    """lab(*words) runs the command with folders of its own, and without a network unless LAB_OFFLINE is given."""

    def run(*words, **more):
        folders = {f"LAB_{name.upper()}": str(tmp_path / name) for name in ("models", "logs", "data", "feedback")}
        environment = {**os.environ, **folders, "LAB_OFFLINE": "1", "PYTHONPATH": str(PACKAGE_ROOT), **more}
        return subprocess.run(
            [sys.executable, "-m", "tensor_jupyter", "data", *map(str, words)],
            env={**environment, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def shades(tmp_path):
    """A folder of light and dark images, four of each, and one that is broken."""
    for label, first in (("dark", 0), ("light", 200)):
        (tmp_path / "shades" / label).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), first + number).save(tmp_path / "shades" / label / f"{number}.png")
    (tmp_path / "shades" / "dark" / "broken.png").write_bytes(b"x")
    return tmp_path / "shades"


def test_list_names_every_set_and_what_there_is_of_it(lab, tmp_path):
    (tmp_path / "feedback/shoes/boot").mkdir(parents=True)
    (tmp_path / "feedback/shoes/boot/1.png").write_bytes(b"x")
    (tmp_path / "data/mnist").mkdir(parents=True)
    (tmp_path / "data/mnist/train-images-idx3-ubyte.gz").write_bytes(b"x")  # the other three are not there
    (tmp_path / "data/notmnist").mkdir()
    (tmp_path / "data/notmnist/notMNIST_small.tar.gz").write_bytes(b"x")
    done = lab("list")
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert list(lines) == ["mnist", "fashion-mnist", "notmnist", "feedback:shoes"]
    assert "not downloaded; offline: scikit-learn's 1,797 digits" in lines["mnist"]
    assert "offline: nothing stands in" in lines["fashion-mnist"]
    assert lines["notmnist"].endswith("(here)")
    assert "1 images that people labelled (here)" in lines["feedback:shoes"]
    document = json.loads(lab("list", "--json").stdout)
    assert [one["name"] for one in document] == list(lines)
    assert document[0]["downloaded"] is False


def test_get_takes_nothing_else_and_no_stand_in(lab, tmp_path, mirror):
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin/notMNIST_small.tar.gz").write_bytes(b"another file")
    url = mirror(tmp_path / "origin").url
    done = lab("get", "notmnist", LAB_OFFLINE="0", LAB_NOTMNIST_MIRRORS=json.dumps([url]))
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        f"notMNIST_small.tar.gz could not be downloaded to {tmp_path / 'data/notmnist'} ({url}: has 12 bytes,"
        in done.stderr
    )
    assert "LAB_OFFLINE is set" in lab("get", "mnist").stderr
    wrong = lab("get", "nimst")
    assert wrong.returncode == 1
    assert "did you mean mnist?" in wrong.stderr


def test_show_prints_classes_sizes_and_split(lab, shades, tmp_path):
    done = lab("show", shades, "--out", tmp_path / "sheet.png", "--each", "3")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "Unreadable and left out: 1." in lines[0]
    assert "Images: 8x8 grey, as they come" in lines
    counts = {
        line.split()[0]: [int(word) for word in line.split()[1:]]
        for line in lines
        if line.startswith(("dark", "light"))
    }
    assert {label: sum(count) for label, count in counts.items()} == {"dark": 4, "light": 4}
    assert all(min(count) > 0 for count in counts.values())
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1:] == (6 + 3 * 62, 3)
    assert ((sheet >= 200) & (sheet <= 203)).any()
    assert (sheet < 4).any()


def test_show_as_json(lab, shades):
    done = lab("show", shades, "--size", "4x6x3", "--json")
    document = json.loads(done.stdout)
    assert document["image"] == {"height": 4, "width": 6, "channels": 3, "polarity": None, "centering": "none"}
    assert (document["name"], document["unreadable"], set(document["classes"])) == ("shades", 1, {"dark", "light"})
    assert len(document["hash"]) == 64
    assert document["sheet"] is None
    assert done.stderr == ""


def test_a_stand_in_is_reported_as_text_and_json(lab):
    done = lab("show", "mnist", "--json")
    document = json.loads(done.stdout)
    assert document["stand_in_for"] == "mnist"
    assert document["message"].startswith("Offline data: scikit-learn's digits at 28x28 instead of MNIST.")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["show", "/nowhere"], 1, "neither a data set (mnist, fashion-mnist, notmnist, feedback:MODEL)"),
        (["show", "mnist", "--size", "28"], 2, "is not HEIGHTxWIDTHxCHANNELS"),
        (["show", "mnist", "--each", "0"], 2, "--each"),
        (["show"], 2, "Missing argument"),
        (["show", "mnist", "--out", "/nowhere/sheet.png"], 1, "No such file or directory: /nowhere/sheet.png"),
    ],
)
def test_what_cannot_be_done_is_reported_with_an_exit_code(lab, words, code, expected):
    done = lab(*words)
    assert done.returncode == code
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
