"""The page and the record of a pipeline run: what is on it, when it is written, what is escaped; and comparisons."""

import dataclasses
import html.parser
import json
import re
import shutil

import numpy as np
import pytest
from pipeline_kit import run_steps, small
from training_kit import bars
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.data import LabelledImages
from tensor_jupyter.errors import LabError
from tensor_jupyter.pages.run import page_of
from tensor_jupyter.pipeline import checks
from tensor_jupyter.pipeline.bodies import deploy, gather, promote
from tensor_jupyter.pipeline.bodies import test as live_test
from tensor_jupyter.pipeline.execute import execute, root_of
from tensor_jupyter.pipeline.steps import named
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
HOSTILE = "<script>alert('$x$')</script>"


def digits():
    """Bars, of which two test images carry the other's label, under a name as an attacker would choose it."""
    data = bars(count=400)
    labels = data.test.labels.copy()
    labels[:2] = 1 - labels[:2]
    test = LabelledImages(data.test.images, labels)
    return dataclasses.replace(data, labels=(HOSTILE, "b & c"), test=test, stand_in_for="")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Parameters and settings of a pipeline whose models are evaluated."""
    root = tmp_path_factory.mktemp("<b>lab")
    settings = Settings(**{name: root / name for name in ("models", "logs", "data")}, offline=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), np.uint8)
    letters = dataclasses.replace(bars(), name="noise <i>", test=LabelledImages(noise, np.zeros(40, np.int64)))
    parameters = small({})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "load", lambda source, *_: letters if "notmnist" in str(source) else digits())
        run_steps(parameters, settings)
    return parameters, settings


class Parts(html.parser.HTMLParser):
    """Tags, addresses, and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.links, self.words = set(), [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        given = dict(attrs)
        self.addresses += [given[name] for name in ("src", "xlink:href", "data", "srcset") if name in given]
        if "href" in given:
            (self.links if tag == "a" else self.addresses).append(given["href"])

    def handle_data(self, data):
        self.words.append(data)


def page(evaluated):
    found = page_of(*evaluated)
    return Parts(found.read_text()), json.loads(found.with_suffix(".json").read_text())


def test_evaluated_models_have_a_page_that_says_how_good_they_are(evaluated):
    shown, record = page(evaluated)
    assert record["state"] == "not decided"
    assert "not decided" in shown.text
    for word in ("accuracy on 40 test images", "Loss of the classifier", "Loss of the concept model", "learning_rate"):
        assert word in shown.text
    assert "2 of 40 test images were misread" in shown.text
    assert sum(address.startswith("data:image/png;base64,") for address in shown.addresses) == 2
    for check in record["checks"]:
        assert check["message"] in shown.text
    stamp = json.loads((root_of(*evaluated) / "export-classifier" / "stamp.json").read_text())
    card = record["models"][0]["card"]
    assert card["run"] == stamp["key"]
    assert page_of(*evaluated).name.startswith(card["run"][:8]), "the card names the page"
    assert page_of(*evaluated).stem.endswith(record["models"][1]["card"]["run"][:8])
    concept = record["models"][1]["card"]
    assert concept["score_quantiles"]["0.99"] == concept["threshold"] == record["threshold"]
    assert sorted(concept["score_quantiles"].values()) == [*concept["score_quantiles"].values()]
    for value in (stamp["outputs"]["models"], record["data"]["hash"], record["release"]):
        assert value in shown.text


def test_the_page_fetches_and_runs_nothing(evaluated):
    shown, _ = page(evaluated)
    assert "script" not in shown.tags
    assert all(address.startswith(("data:", "#")) for address in shown.addresses)
    assert not re.search(r"url\((?!#)|@import", page_of(*evaluated).read_text())


def test_what_comes_from_outside_is_text(evaluated):
    shown, _ = page(evaluated)
    assert HOSTILE in shown.text
    assert "noise <i>" in shown.text
    assert not {"script", "i"} & shown.tags


def test_a_step_that_fails_after_the_evaluation_is_on_the_page(evaluated, monkeypatch):
    def refuse(_):
        raise LabError("the gateway <is> away")

    monkeypatch.setattr(deploy, "run", refuse)
    with pytest.raises(LabError):
        execute(named("deploy"), *evaluated, lambda _: None)
    shown, record = page(evaluated)
    assert record["failure"] == {"step": "deploy", "message": "the gateway <is> away"}
    assert "deploy failed: the gateway <is> away" in shown.text
    assert "2 of 40 test images were misread" in shown.text


@pytest.mark.parametrize("promoted", [False, True])
def test_a_verdict_is_on_the_page_with_each_check(evaluated, monkeypatch, promoted):
    parameters, settings = evaluated
    models = {"classifier": {"name": "bars", "version": 4}, "concept": {"name": "bars-concept", "version": 3}}
    live = checks.live_accuracy(60 if promoted else 40, 60, 0, parameters)
    every = [*checks.documents([live]), *offline()]
    calls = {"answered": 60, "failed": 0, "p50_ms": 4.5, "p99_ms": 9.5, "answers_per_second": 80.0}
    documents = {
        deploy: ("deployed.json", {"run": "r", **models}),
        live_test: ("live.json", {"checks": checks.documents([live]), "calls": calls | {"milliseconds": [4.5] * 60}}),
        promote: (
            "decision.json",
            {"promoted": promoted, "replaces": 2, "checks": every},
        ),
    }
    for module, (name, document) in documents.items():
        monkeypatch.setattr(module, "run", lambda job, name=name, document=document: job.write(name, document))
    for step in ("deploy", "test", "promote"):
        execute(named(step), parameters, settings, lambda _: None, again=True)
    shown, record = page(evaluated)
    assert record["state"] == ("promoted" if promoted else "refused")
    assert "bars version 4" in shown.text
    assert live.message in shown.text
    assert "p99: 9.5 ms" in shown.text
    assert bool(shown.links) is promoted, "the card of a model that was taken away is not linked"


def offline():
    found = [("AUROC offline", 1.0), ("false alarms offline", 0.0)]
    return [{"name": name, "passed": True, "message": name, "value": value, "threshold": 0.5} for name, value in found]


def test_results_of_an_earlier_run_are_not_shown(evaluated):
    parameters, settings = evaluated
    other = parameters.model_copy(update={"min_auroc": 0.6})
    execute(named("evaluate"), other, settings, lambda _: None)
    _, record = page((other, settings))
    assert record["state"] == "not decided"
    assert not record["calls"]


def test_a_page_that_cannot_be_written_fails_no_step(evaluated, monkeypatch):
    parameters, settings = evaluated
    said = []
    monkeypatch.setattr("tensor_jupyter.pages.run.render", lambda *_, **__: 1 / 0)
    assert execute(named("evaluate"), parameters, settings, said.append, again=True)
    assert "the run's page could not be written: ZeroDivisionError('division by zero')" in said


@pytest.fixture
def lab(evaluated, monkeypatch):
    """lab(*words): `lab runs compare` with these words, over one run and nothing published."""
    _, settings = evaluated
    for name in ("models", "logs", "data"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(getattr(settings, name)))
    yield lambda *words: CliRunner().invoke(app, ["runs", "compare", *words])
    shutil.rmtree(settings.models, ignore_errors=True)


def compared(lab, *words):
    return json.loads(lab(*words, "--json").stdout)["entries"]


def test_a_run_without_a_version_is_compared_with_its_verdict(evaluated, lab):
    (entry,) = compared(lab)
    run = page_of(*evaluated).stem
    assert (entry["name"], entry["version"], entry["run"]) == (f"bars/{run}", None, run)
    assert (entry["accuracy"], entry["auroc"]) == (0.95, 1.0)
    assert entry["data_hash"] == digits().hash
    assert entry["parameters"]["epochs"] == 2
    assert compared(lab, f"bars/{run[:5]}") == [entry]


def test_versions_and_runs_stand_side_by_side(evaluated, lab, tmp_path):
    _, settings = evaluated
    first = page_of(*evaluated)
    exported = root_of(*evaluated) / "export-classifier" / "models" / "bars" / "1"
    shutil.copytree(exported, settings.models / "bars" / "1")
    Registry(settings.models, "bars").label("canary", 1)
    other = first.with_name("00000000-11111111.json")
    changed = json.loads(first.with_suffix(".json").read_text())
    changed["models"][0]["card"]["run"] = "0" * 64
    changed |= {"run": other.stem, "state": "refused", "parameters": {**changed["parameters"], "epochs": 31}}
    other.write_text(json.dumps(changed))
    (first.parent / "not-a-record.json").write_text("{}")
    published, refused = compared(lab, "bars")
    assert (published["name"], published["run"], published["labels"]) == ("bars/1", first.stem, ["canary"])
    assert (refused["name"], refused["decision"]) == (f"bars/{other.stem}", "refused")
    said = lab("bars", "--html", str(tmp_path / "compared.html")).stdout
    lines = {line.split("  ")[0]: line for line in said.splitlines()}
    assert lines["epochs"].split()[1:] == ["2", "31"]
    assert "seed" not in lines, "it does not differ"
    assert lines["decision"].split("  ")[-1].strip() == "refused"
    shown = Parts((tmp_path / "compared.html").read_text())
    assert {(tmp_path / link).resolve() for link in shown.links} == {first, other.with_suffix(".html")}
    assert "script" not in shown.tags
    other.unlink()


@pytest.mark.parametrize("name", ["bars/9", "bars/None"])
def test_a_name_that_nothing_has_is_an_error(lab, name):
    done = lab(name)
    assert done.exit_code == 1
    assert f"There is no version or run '{name}'; there is bars/" in done.stderr
