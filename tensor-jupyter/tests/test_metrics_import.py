"""`lab watch`: from the gateway's metrics to curves that TensorBoard reads."""

import http.server
import threading
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from tensor_jupyter import metrics_import
from tensor_jupyter.cli import app
from tensor_jupyter.commands import watch
from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway


class Metrics(http.server.ThreadingHTTPServer):
    """/metrics as the gateway has it; before each answer the next of `events` happens."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events, self.status = [], 200
        self.restart()

    def restart(self):
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "tensor_rest_request_seconds",
            "t",
            ["model", "version", "outcome"],
            buckets=(0.001, 0.01, 0.1),
            registry=self.registry,
        )

    def answered(self, count, seconds, model="b", version="1", outcome="200"):
        for _ in range(count):
            self.seconds.labels(model, version, outcome).observe(seconds)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.events:
            self.server.events.pop(0)()
        body = generate_latest(self.server.registry) if self.server.status == 200 else b'{"message": "not for you"}'
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture
def metrics(settings, monkeypatch):
    with Metrics() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("LAB_REST_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("LAB_LOGS", str(settings.logs))
        monkeypatch.setenv("LAB_DATA", str(settings.data))
        yield server
        server.shutdown()


@pytest.fixture
def reading(metrics, settings):
    """reading(): what the gateway says now."""
    with Gateway(settings.model_copy(update={"rest_url": f"http://127.0.0.1:{metrics.server_port}"})) as gateway:
        yield lambda: metrics_import.read(gateway)


def test_figures_are_of_the_time_between_two_readings(metrics, reading):
    metrics.answered(50, 0.5)
    before = reading()
    metrics.answered(90, 0.0005)
    metrics.answered(10, 0.05, version="2")
    metrics.answered(5, 0.0001, outcome="503")
    metrics.answered(7, 0.0001, model="")  # no model answered
    ((name, figures),) = metrics_import.since(before, reading(), 10).items()
    assert name == "b"
    assert figures["answers_per_second"] == 10.5
    assert (figures["outcome/200"], figures["outcome/503"]) == (10, 0.5)
    assert (figures["version/1"], figures["version/2"]) == (9.5, 1)
    assert figures["latency_ms/p50"] == pytest.approx(1000 * 0.001 * 50 / 90)
    assert figures["latency_ms/p99"] == pytest.approx(1000 * (0.01 + 0.09 * 9 / 10))


def test_nothing_answered_is_a_rate_of_nothing_and_no_latency(metrics, reading):
    metrics.answered(1, 0.5)
    before = reading()
    figures = metrics_import.since(before, reading(), 10)["b"]
    assert figures == {"answers_per_second": 0, "outcome/200": 0, "version/1": 0}


def test_a_gateway_that_began_anew_counts_from_its_start(metrics, reading):
    metrics.answered(50, 0.5)
    before = reading()
    metrics.restart()
    metrics.answered(3, 0.0005)
    assert metrics_import.since(before, reading(), 1)["b"]["outcome/200"] == 3


def test_percentiles_lie_within_their_bucket():
    counts = Counter({0.001: 0, 0.01: 100, float("inf"): 200})
    assert metrics_import.percentile(counts, 0.25) == pytest.approx(0.0055)
    assert metrics_import.percentile(counts, 0.99) == 0.01  # no telling how far beyond
    assert metrics_import.percentile(Counter({0.001: 0}), 0.5) != metrics_import.percentile(Counter(), 0.5)  # nan, both


def test_one_point_is_written_and_tensorboard_reads_it(metrics, settings, monkeypatch):
    monkeypatch.setattr(watch.time, "sleep", lambda _: None)
    metrics.events = [lambda: None, lambda: metrics.answered(4, 0.0005), lambda: None]
    metrics.answered(1, 0.5, model="c")
    done = CliRunner().invoke(app, ["watch", "--once", "--model", "b"])
    assert done.exit_code == 0, done.output
    assert "  b  " in done.stdout
    assert "p50 0.5 ms" in done.stdout
    assert [path.name for path in (settings.logs / "serving").iterdir()] == ["b"]

    read = EventAccumulator(str(settings.logs / "serving" / "b"))
    read.Reload()
    assert set(read.Tags()["scalars"]) == {
        *("answers_per_second", "outcome/200", "version/1", "latency_ms/p50", "latency_ms/p99")
    }
    (point,) = read.Scalars("latency_ms/p50")
    assert point.value == pytest.approx(0.5)
    assert point.step == pytest.approx(point.wall_time, abs=2)


def test_a_gateway_that_restarts_is_waited_for(metrics, monkeypatch):
    turns = iter(range(4))

    def sleep(_):
        turn = next(turns, None)
        metrics.answered(1, 0.0005)
        if turn == 1:
            metrics.status = 502
        elif turn == 2:
            metrics.status = 200
        elif turn is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", sleep)
    done = CliRunner().invoke(app, ["watch"])
    assert done.exit_code == 130
    assert "not for you" in done.stderr
    assert len([line for line in done.stdout.splitlines() if "  b  " in line]) == 3


def test_a_gateway_that_refuses_its_metrics_is_an_error(metrics, reading):
    metrics.status = 403
    with pytest.raises(LabError, match="refuses its metrics: not for you"):
        reading()
    assert CliRunner().invoke(app, ["watch", "--once"]).exit_code == 1
