"""`lab drift`: live concept scores, as the gateway counts them, against the quantiles in the concept model's card."""

import http.server
import json
import threading

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from typer.testing import CliRunner

from tensor_jupyter import drift
from tensor_jupyter.cli import app
from tensor_jupyter.commands import drift as command

# Scores of the training: evenly from 0 to 0.1, and the threshold at 0.099.
CARD = {"threshold": 0.099, "score_quantiles": {"0": 0.0, "0.01": 0.001, "0.5": 0.05, "0.99": 0.099, "1": 0.1}}


class Gateway(http.server.ThreadingHTTPServer):
    """/metrics and the card of the concept model, as the gateway has them."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.version, self.card = 3, dict(CARD)
        self.restart()

    def restart(self):
        self.registry = CollectorRegistry()
        buckets = (0.001, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2)
        self.scores = Histogram("tensor_rest_concept_score", "t", ["model"], buckets=buckets, registry=self.registry)

    def scored(self, scores, model="a"):
        for score in scores:
            self.scores.labels(model).observe(score)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        gateway = self.server
        default = {"default": {"version": gateway.version, "card": gateway.card}}
        answers = {"/metrics": generate_latest(gateway.registry), "/tf/models/a-concept": json.dumps(default).encode()}
        body = answers.get(self.path, b'{"message": "not served"}')
        self.send_response(200 if self.path in answers else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture
def gateway(settings, monkeypatch):
    with Gateway() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("LAB_REST_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("LAB_DATA", str(settings.data))
        yield server
        server.shutdown()


def report(*words, code=0, model="a"):
    done = CliRunner().invoke(app, ["drift", "report", model, *words])
    assert done.exit_code == code, done.output
    return done


def like_training(count):
    return np.linspace(0, 0.1, count)


def test_scores_like_those_of_the_training_have_not_drifted(gateway, settings):
    gateway.scored(like_training(200))
    gateway.scored([9.0] * 500, model="b")
    found = json.loads(report("--json").stdout)
    assert (found["state"], found["images"], found["version"]) == ("as training", 200, 3)
    assert all(check["value"] < 0.02 for check in found["checks"])
    folder = settings.data / "reports" / "a"
    assert (folder / "drift.png").read_bytes().startswith(b"\x89PNG")
    assert "as training" in (folder / "drift.html").read_text()
    assert "<script" not in (folder / "drift.html").read_text()


def test_foreign_images_are_drift_by_the_bar_that_says_so(gateway):
    gateway.scored(like_training(180))
    gateway.scored([0.15] * 20)
    said = report("--max-psi", "10", code=1)
    assert "a: drifted, by 200 images" in said.stdout
    assert "missed  at least 10.00% of 200 images are over the threshold; at most 5.00% may be" in said.stdout
    assert "ok      the population stability index" in said.stdout
    report("--max-psi", "10", "--max-foreign", "0.1")


def test_another_distribution_below_the_threshold_is_drift(gateway):
    gateway.scored([0.07] * 200)
    said = report(code=1)
    assert "missed  the population stability index" in said.stdout
    assert "ok      at least 0.00%" in said.stdout


def test_only_what_was_scored_since_the_snapshot_before_is_in_a_slice(gateway, monkeypatch):
    times = iter(f"2026-01-01T0{hour}:00:00Z" for hour in range(9))
    monkeypatch.setattr(drift, "now", lambda: next(times))
    gateway.scored([0.07] * 300)
    assert "0 images were scored" in report(code=2).stderr, "that was long ago"
    gateway.scored(like_training(200))
    monkeypatch.setattr(drift, "now", lambda: "2999-01-01T00:00:00Z")
    assert json.loads(report("--json").stdout)["images"] == 200


def test_a_gateway_that_began_anew_counts_from_its_start(gateway):
    gateway.scored([0.07] * 300)
    report(code=1)
    gateway.restart()
    gateway.scored(like_training(150))
    assert json.loads(report("--json", code=1).stdout)["images"] == 450


def test_images_of_another_version_are_not_judged(gateway):
    gateway.scored([0.07] * 300)
    report(code=1)
    gateway.version = 4
    gateway.scored(like_training(50))
    report(code=2)  # which of the 50 the new version scored is not known
    gateway.scored(like_training(200))
    assert json.loads(report("--json").stdout)["images"] == 200


def test_too_few_images_are_not_judged(gateway):
    assert "0 images were scored in the last 24 hours; 100 are wanted" in report(code=2).stderr
    gateway.scored([9.0] * 99)
    assert "99 images were scored" in report(code=2).stderr
    report("--min-images", "99", code=1)


def test_what_cannot_be_known_is_another_exit_code_than_drift(gateway, monkeypatch, dead_mirror):
    assert "not served" in report(model="b", code=2).stderr
    del gateway.card["score_quantiles"]
    assert "lab pipeline run --from train-concept" in report(code=2).stderr
    monkeypatch.setenv("LAB_REST_URL", dead_mirror)
    report(code=2)


def test_the_history_is_bounded(gateway, settings, monkeypatch):
    monkeypatch.setattr(drift, "MAX_SNAPSHOTS", 3)
    for _ in range(5):
        gateway.scored(like_training(100))
        found = json.loads(report("--json").stdout)
    assert len((settings.data / "drift" / "a.jsonl").read_text().splitlines()) == 3
    assert found["images"] == 200, "what the oldest snapshot counted was dropped"
    report()
    assert len((settings.data / "drift" / "a.jsonl").read_text().splitlines()) == 3, "nothing was scored since"


@pytest.mark.parametrize(
    "line",
    [
        '{"time": "2026-01-01T00:00:00Z", "version": "1"}',
        '{"time": "2026-01-01T00:00:00Z", "version": 3, "counts": [1]}',
        '{"time": "2026-01-01T00:00:00Z", "version": 3, "counts": {"low": 1}}',
        '{"time": "2026-01-01T00:00:00Z", "version": 3, "counts": {"0.1": null}}',
        '{"time": "2026-01-01T00:00:00", "version": 3, "counts": {"+Inf": 1}}',
        '{"time": "yesterday", "version": 3, "counts": {"+Inf": 1}}',
        '{"time": 1, "version": 3, "counts": {"+Inf": 1}}',
    ],
)
def test_report_with_an_invalid_snapshot_leaves_it_out(gateway, settings, line):
    history = settings.data / "drift" / "a.jsonl"
    history.parent.mkdir(parents=True)
    history.write_text(f"{line}\n")
    gateway.scored(like_training(200))
    assert json.loads(report("--json").stdout)["images"] == 200
    assert line not in history.read_text()


def test_report_with_a_version_as_text_reads_it_as_a_number(gateway, settings):
    gateway.scored(like_training(200))
    report()
    history = settings.data / "drift" / "a.jsonl"
    history.write_text(history.read_text().replace('"version": 3', '"version": "3"'))
    assert json.loads(report("--json").stdout)["images"] == 200


@pytest.mark.parametrize(
    ("model", "url", "message"),
    [("A B", "http://127.0.0.1:9", "cannot be called 'A B'"), ("a", "gateway:8080", "LAB_REST_URL is 'gateway:8080'")],
)
def test_watch_that_can_never_succeed_exits(monkeypatch, model, url, message):
    def sleep(_):
        raise KeyboardInterrupt  # as after the first of endless turns: exit code 130

    monkeypatch.setattr(command.time, "sleep", sleep)
    monkeypatch.setenv("LAB_REST_URL", url)
    done = CliRunner().invoke(app, ["drift", "watch", model])
    assert done.exit_code == 2, done.output
    assert message in done.stderr


def test_a_watch_takes_snapshots_until_it_is_stopped(gateway, settings, monkeypatch):
    turns = iter([lambda: gateway.scored(like_training(10)), lambda: gateway.card.clear(), None])

    def sleep(_):
        turn = next(turns)
        if turn is None:
            raise KeyboardInterrupt
        turn()

    monkeypatch.setattr(command.time, "sleep", sleep)
    gateway.scored(like_training(5))
    done = CliRunner().invoke(app, ["drift", "watch", "a"])
    assert done.exit_code == 130
    assert [line.split("  ")[2] for line in done.stdout.splitlines()] == ["5 images so far", "15 images so far"]
    assert "score_quantiles" in done.stderr
    assert len((settings.data / "drift" / "a.jsonl").read_text().splitlines()) == 2
