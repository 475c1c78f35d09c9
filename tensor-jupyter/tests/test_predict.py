"""`lab predict` and `lab label` as a person meets them: processes, their words and their exit codes."""

import json
import os
import select
import shutil
import signal
import subprocess

import inference_kit as kit
import keras
import numpy as np
import pytest
from PIL import Image

from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.inference.local import Loaded
from tensor_jupyter.publishing.export import export


@pytest.fixture
def gateway():
    with kit.serving(kit.Gateway()) as server:
        yield server
        server.shutdown()


@pytest.fixture
def lab(tmp_path, gateway):
    """lab(*words) runs the command beside light.png, dark.png and rubbish.png."""
    for name, level in (("light", 230), ("dark", 20)):
        Image.new("L", (8, 8), level).save(tmp_path / f"{name}.png")
    (tmp_path / "rubbish.png").write_bytes(b"no image")

    def run(*words, code=0, stdin=b"", **more):
        done = kit.run(tmp_path, *words, stdin=stdin, **{"LAB_REST_URL": gateway.url, **more})
        assert done.returncode == code, done.stderr.decode()
        return done

    return run


@pytest.fixture
def started(tmp_path, lab, gateway):  # noqa: ARG001 - for the images
    """started(*words): the process, to be written to and read from while it runs."""
    processes = []

    def start(*words):
        process = subprocess.Popen(
            kit.command(*words),
            cwd=tmp_path,
            env=kit.environment(tmp_path, LAB_REST_URL=gateway.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def line(process):
    """The next line, which comes without anything more being written."""
    assert select.select([process.stdout], [], [], 60)[0]
    return process.stdout.readline()


def test_a_line_for_each_image_in_their_order_over_one_connection(lab, gateway):
    words = ["light.png", "dark.png"] * 40
    done = lab("predict", "-", "--model", "shades", stdin="\n".join(words).encode())
    assert done.stdout.decode().splitlines() == ["light.png\tlight\t0.9020", "dark.png\tdark\t0.9216"] * 40
    assert done.stderr == b""
    assert gateway.sent == [32, 32, 16]
    assert gateway.connections == 1


def test_an_unreadable_file_is_reported_and_the_others_go_on(lab, tmp_path):
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    words = ["rubbish.png", "light.png", "missing.png", "empty.png", "pipe.png", ".", "dark.png"]
    done = lab("predict", "--model", "shades", *words, code=1)
    assert [line.split("\t")[0] for line in done.stdout.decode().splitlines()] == ["light.png", "dark.png"]
    assert done.stderr.decode().splitlines() == [
        "lab: rubbish.png: unreadable: b'no image'",
        "lab: missing.png: No such file or directory",
        "lab: empty.png: it is empty",
        "lab: pipe.png: it is not a file",
        "lab: .: it is not a file",
    ]


def test_where_none_can_be_read_each_gets_its_own_reason(lab, tmp_path):
    (tmp_path / "other.png").write_bytes(b"another")
    done = lab("predict", "--model", "shades", "rubbish.png", "other.png", code=1)
    assert done.stdout == b""
    assert done.stderr.decode().splitlines() == [
        "lab: rubbish.png: unreadable: b'no image'",
        "lab: other.png: unreadable: b'another'",
    ]


def test_a_slow_producer_gets_each_answer_at_once(started):
    process = started("predict", "-", "--model", "shades")
    for name in ("light", "dark", "light"):
        process.stdin.write(f"{name}.png\n".encode())
        process.stdin.flush()
        assert line(process).startswith(f"{name}.png\t{name}".encode())
    _, output = process.communicate()
    assert (process.returncode, output) == (0, b"")


def test_a_reader_that_ends_is_not_an_error(started):
    process = started("predict", "-", "--model", "shades")
    process.stdin.write(b"light.png\n")
    process.stdin.flush()
    line(process)
    process.stdout.close()
    process.stdin.write(b"light.png\n" * 2000)
    process.stdin.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""


def test_ctrl_c_is_130(started):
    process = started("predict", "-", "--model", "shades")
    process.stdin.write(b"light.png\n")
    process.stdin.flush()
    line(process)  # from here on it waits for more
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr.read() == b"lab: stopped\n"


def test_json_lines_have_the_file_the_model_and_more_labels_if_wanted(lab):
    done = lab("predict", "--json", "--top", "2", "--model", "shades", "light.png", "dark.png")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["file"], first["model"], first["version"]) == ("light.png", "shades", 3)
    assert [one["label"] for one in first["labels"]] == ["light", "dark"]
    assert second["labels"][0] == {"label": "dark", "score": 0.921569}


def test_a_name_that_is_no_text_or_has_a_tab_comes_out_whole(lab, tmp_path):
    for name in (b"\xff.png", b"a\tb.png"):
        os.link(tmp_path / "light.png", os.fsencode(tmp_path) + b"/" + name)
    done = lab("predict", "-", "--model", "shades", stdin=b"\xff.png\na\tb.png\n")
    assert done.stdout == b"\xff.png\tlight\t0.9020\na\\x09b.png\tlight\t0.9020\n"


def test_a_version_and_a_label_exclude_each_other(lab, gateway):
    lab("predict", "light.png", "--model", "shades", "--version", "2")
    lab("predict", "light.png", "--model", "shades", "--label", "stable", "--top", "2")
    assert [path for _, path in gateway.requests] == [
        "/tf/models/shades/versions/2/classify?limit=1",
        "/tf/models/shades/labels/stable/classify?limit=2",
    ]
    assert b"not both" in lab("predict", "light.png", "--version", "1", "--label", "x", code=2).stderr


def test_a_model_that_cannot_answer_is_one_line(lab):
    assert lab("predict", "light.png", "--model", "x", code=1).stderr == b"lab: Model 'x' is not served.\n"
    silent = lab("predict", "light.png", code=1, LAB_REST_URL="http://127.0.0.1:1").stderr.decode()
    assert "start it with ./bin/compose.sh up" in silent
    assert silent.count("\n") == 1


def test_a_busy_gateway_and_a_model_just_published_are_retried(lab, gateway, tmp_path):
    gateway.refusals = [503]
    assert lab("predict", "light.png", "--model", "shades").stdout
    (tmp_path / "models" / "shades").mkdir(parents=True)
    gateway.refusals = [404]
    assert lab("predict", "light.png", "--model", "shades").stdout


def test_label_calls_no_regression_model_and_names_the_choice(lab, gateway):
    gateway.models["price"] = {**kit.CARD, "labels": ["0"], "created": "2026-12-01T00:00:00Z"}
    gateway.models["words"] = {"labels": ["a", "b"], "created": "2026-12-02T00:00:00Z"}
    assert b"shades 3 is used" in lab("label", "light.png").stderr
    del gateway.models["shades"]
    output = lab("label", "light.png", code=1).stderr
    assert b"name one with --model, of price, words" in output


def test_label_prints_the_label_of_the_model_trained_last(lab, gateway):
    gateway.models = {
        "old": {**kit.CARD, "created": "2025-01-01T00:00:00Z"},
        "newer": {**kit.CARD, "created": "2026-05-01T00:00:00Z"},
        "a-concept": {"created": "2026-06-01T00:00:00Z"},  # names no labels
        "foreign": None,
    }
    one = lab("label", "light.png")
    assert one.stdout == b"light\n"
    assert b"newer 3 is used, the model trained last; --model names another" in one.stderr
    several = lab("label", "light.png", "dark.png", "--model", "old")
    assert (several.stdout, several.stderr) == (b"light.png\tlight\ndark.png\tdark\n", b"")
    assert lab("label", "-", "--model", "old", stdin=b"dark.png\n").stdout == b"dark.png\tdark\n"
    gateway.models = {"foreign": None}
    assert b"name one with --model" in lab("label", "light.png", code=1).stderr


@pytest.fixture
def published(settings, brightness_net, brightness_data):
    export(brightness_net, Context("shades", settings=settings), brightness_data, metrics={}, command="test")
    return settings


def test_local_answers_without_a_lab(lab, published, tmp_path):
    assert published.models == tmp_path / "models"
    words = ("--local", "--model", "shades", "light.png", "rubbish.png", "dark.png")
    done = lab("predict", *words, code=1, LAB_REST_URL="http://127.0.0.1:1")
    assert done.stdout == b"light.png\tlight\t0.9020\ndark.png\tdark\t0.9216\n"
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("lab: rubbish.png: it is not an image of a kind that is read")


def test_local_finds_versions_and_labels_as_the_server_would(published):
    (published.models / "shades" / "serving.json").write_text('{"version_labels": {"stable": 1}}')
    image = kit.png(8, 230)
    for chosen in ({}, {"version": 1}, {"label": "stable"}):
        (prediction,) = Loaded(published, "shades", top=2, **chosen).classify([image])
        assert (prediction.version, [label for label, _ in prediction.labels]) == (1, ["light", "dark"])
    shutil.copytree(published.models / "shades" / "1", published.models / "shades" / "2")
    assert Loaded(published, "shades").classify([image])[0].version == 1
    assert Loaded(published, "shades", version=2).classify([image])[0].version == 2
    for chosen, expected in (
        ({"version": 3}, "no version 3"),
        ({"label": "x"}, "no label 'x'; there are: stable"),
        ({"version": 1, "label": "stable"}, "not both"),
    ):
        with pytest.raises(LabError, match=expected):
            Loaded(published, "shades", **chosen)
    with pytest.raises(LabError, match="There is no model x"):
        Loaded(published, "x")


def test_local_takes_a_model_of_floats_without_a_card(settings):
    images = keras.Input((4, 4, 3), name="images")
    flat = keras.layers.GlobalAveragePooling2D()(images)
    dense = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(images, dense(flat))
    dense.set_weights([np.array([[1, 0], [0, 1], [0, 0]], np.float32)])  # red, green
    model.export(str(settings.models / "colours" / "1"), verbose=False)
    (prediction,) = Loaded(settings, "colours", top=2).classify([kit.png(9, (0, 255, 0))])
    assert prediction.labels == (("1", 1.0), ("0", 0.0))


def test_local_reports_a_model_that_is_not_a_classifier(settings):
    number = keras.Input((3,), name="number")
    keras.Model(number, keras.layers.Dense(1)(number)).export(str(settings.models / "line" / "1"), verbose=False)
    with pytest.raises(LabError, match=r"line 1 does not classify images: expected one input"):
        Loaded(settings, "line")
