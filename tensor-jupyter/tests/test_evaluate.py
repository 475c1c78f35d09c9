"""`lab evaluate` as a person meets it: its figures, its plot and its exit code."""

import io
import json
import signal
import subprocess

import inference_kit as kit
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tensor_jupyter.data import LabelledImages
from tensor_jupyter.errors import LabError
from tensor_jupyter.inference import evaluation, report
from tensor_jupyter.inference.evaluation import Evaluation, evaluate
from tensor_jupyter.settings import Settings


@pytest.fixture
def gateway():
    with kit.serving(kit.Gateway()) as server:
        yield server
        server.shutdown()


@pytest.fixture
def lab(tmp_path, gateway):
    """lab(*words) evaluates beside a set of 11 dark and 9 light test images; one that is light is called dark."""
    for label, levels in (("dark", [200, *range(1, 11)]), ("light", range(201, 210))):
        for part in ("train", "test"):
            folder = tmp_path / "set" / part / label
            folder.mkdir(parents=True)
            for level in levels if part == "test" else [90 if label == "dark" else 190]:
                Image.new("L", (20, 10), level).save(folder / f"{level}.png")

    def run(*words, code=0, **more):
        done = kit.run(tmp_path, "evaluate", *words, **{"LAB_REST_URL": gateway.url, **more})
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    return run


def test_it_reports_accuracy_latency_and_confusion(lab, tmp_path, gateway):
    output, _ = lab("shades", "--data", "set", "--concurrency", "3")
    lines = output.splitlines()
    assert lines[1:5] == [
        "It has 20 test images, fewer than 1000: all are sent.",
        "shades 3, 3 connections:",
        "Error rate: 5.00%, 1 misread of 20 answered",
        "Failed:     0 calls",
    ]
    assert lines[5].startswith("Latency:    p50 ")
    assert lines[6].endswith(" answers/s")
    plot = tmp_path / "data" / "evaluations" / "shades-3.png"
    assert lines[7:] == [
        "is / read as  dark  light",
        "dark            10      1",
        "light            0      9",
        f"Plot: {plot}",
    ]
    assert size(plot) == (1440, 660)
    assert [path.name for path in plot.parent.iterdir()] == [plot.name]
    assert gateway.sent == [1] * 20
    assert 2 <= gateway.connections <= 4


def test_as_json_with_a_plot_where_it_is_wanted(lab, tmp_path):
    output, _ = lab("shades", "--data", "set", "--n", "20", "--plot", "p.png", "--json", "--max-error", "0.05")
    document = json.loads(output)
    assert document["confusion"] == {
        "labels": ["dark", "light"],
        "read": ["dark", "light", "other"],
        "counts": [[10, 1, 0], [0, 9, 0]],
    }
    assert (document["answered"], document["misread"], document["error_rate"], document["failed"]) == (20, 1, 0.05, 0)
    assert (document["model"], document["versions"], document["connections"], document["passed"]) == (
        "shades",
        [3],
        8,
        True,
    )
    assert 0 < document["p50_ms"] <= document["p99_ms"]
    assert (tmp_path / document["plot"]).is_file()


def test_more_misread_than_allowed_is_exit_code_1(lab):
    output, complaint = lab("shades", "--data", "set", "--max-error", "0.04", "--json", code=1)
    assert json.loads(output)["missed"] == ["5.00% were misread, more than 4.00%"]
    assert complaint.splitlines()[-1] == "lab: 5.00% were misread, more than 4.00%"


def test_failed_calls_are_counted_apart(lab, gateway):
    gateway.refusals = [0, 503, 503, 429]  # the first answer is the card
    output, complaint = lab("shades", "--data", "set", "--json", "--max-error", "1", code=1)
    document = json.loads(output)
    assert document["failures"] == {"refused with 503": 2, "refused with 429": 1}
    assert (document["failed"], document["answered"]) == (3, 17)
    assert np.sum(document["confusion"]["counts"]) == 17
    assert "3 of 20 calls failed" in complaint


def test_the_set_is_the_card_s_unless_one_is_given(lab, gateway):
    gateway.models["digits"] = {"labels": list("0123456789"), "data_set": {"name": "sklearn", "stand_in_for": "mnist"}}
    output, _ = lab("digits", "--n", "30", code=0)
    assert output.startswith("Offline data: scikit-learn's digits")
    gateway.models["mine"] = {**kit.CARD, "data_set": {"name": "elsewhere"}}
    assert "mine was trained on elsewhere, which cannot be loaded" in lab("mine", code=1)[1]
    assert "give --data SET" in lab("shades", code=1)[1]


@pytest.mark.parametrize(
    ("words", "place"), [(["--version", "2"], "shades/versions/2"), (["--label", "stable"], "shades/labels/stable")]
)
def test_a_version_or_label_is_measured_by_its_own_card(lab, gateway, words, place):
    gateway.models["shades"] = {**kit.CARD, "labels": ["cat", "dog"]}
    gateway.others[place] = kit.CARD
    output, _ = lab("shades", "--data", "set", *words)
    assert "Error rate: 5.00%, 1 misread of 20 answered" in output
    assert "has the label 'dark', which shades does not know" in lab("shades", "--data", "set", code=1)[1]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["shades", "--data", "mnist"], 1, "has the label '0', which shades does not know: dark, light."),
        (["missing-net"], 1, "Model 'missing-net' is not served."),
        (["shades", "--data", "set", "--plot", "no/p.png"], 1, "no is not a folder: the plot could not be written."),
        (["shades", "--version", "1", "--label", "x"], 2, "not both"),
        (["shades", "--max-error", "3"], 2, "--max-error"),
        (["shades", "--n", "0"], 2, "--n"),
    ],
)
def test_what_cannot_be_measured_is_reported(lab, words, code, expected):
    assert expected in lab(*words, code=code)[1]


def test_when_nothing_is_answered_the_reason_is_reported(gateway, tmp_path):
    gateway.refusals = [500] * 9
    images = LabelledImages(np.zeros((5, 4, 4, 1), np.uint8), np.zeros(5, np.int64))
    settings = Settings(rest_url=gateway.url, data=tmp_path)
    with pytest.raises(LabError, match="None of 5 calls was answered; 5 of them: refused with 500"):
        evaluate(settings, "/tf/models/shades/classify?limit=1", images, ["dark", "light"], 2)


def test_the_images_are_the_same_each_time_and_of_all_classes():
    images = LabelledImages(np.zeros((100, 1, 1, 1), np.uint8), np.arange(100))
    once, twice = evaluation.drawn(images, 10), evaluation.drawn(images, 10)
    assert once.labels.tolist() == twice.labels.tolist()
    assert len(set(once.labels.tolist())) == 10
    assert once.labels.max() > 50


def test_ctrl_c_ends_it_after_the_calls_that_are_out(lab, gateway, tmp_path):  # noqa: ARG001 - for the images
    gateway.seconds = 0.3
    process = subprocess.Popen(
        kit.command("evaluate", "shades", "--data", "set", "--concurrency", "2"),
        cwd=tmp_path,
        env=kit.environment(tmp_path, LAB_REST_URL=gateway.url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process:
        assert gateway.begun.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b"lab: stopped\n"
    assert len(gateway.sent) < 20


def size(path):
    with Image.open(path) as image:
        return image.size


def many(labels, wrong):
    confusion = np.zeros((len(labels), len(labels) + 1), np.int64)
    np.fill_diagonal(confusion, 5)
    for row, column, count in wrong:
        confusion[row, column] = count
    return Evaluation(tuple(labels), confusion, np.full(int(confusion.sum()), 0.002), 1.0, (1, 2), {"503": 2})


def shown(found, **how):
    console = Console(file=io.StringIO(), width=120, highlight=False, markup=False, **how)
    report.show(found, console)
    return console.file.getvalue()


def test_a_terminal_gets_a_table_in_colours_elsewhere_there_are_plain_lines():
    found = many(["[a]", "b"], [(1, 2, 4)])
    table = shown(found, force_terminal=True)
    assert "\x1b[1;31m    4\x1b[0m" in table
    assert "[a]" in table
    lines = shown(found).splitlines()
    assert lines[-3:] == ["is / read as  [a]  b  other", "[a]             5  0      0", "b               0  5      4"]
    assert "            2 times: 503" in lines


def test_of_many_labels_the_most_frequent_mistakes_are_named(tmp_path):
    found = many([f"label-{number:02}" for number in range(20)], [(3, 4, 2), (5, 20, 7)])
    assert shown(found).splitlines()[-2:] == ["label-05 read as other: 7", "label-03 read as label-04: 2"]
    report.save_plot(found, "many", tmp_path / "many.png")
    assert size(tmp_path / "many.png") == (1440, 660)
