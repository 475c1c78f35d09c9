"""Metrics under the real server's names: the page, the config that switches it on, and what calls leave in it."""

import re
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import case_server
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rest_kit import send
from serving_kit import Client, Command, wait_until

from tensor_serving.embedded.metrics import PATH, Metrics, read_monitoring_config
from tensor_serving.embedded.textproto import TextProtoError

SERVING = ":tensorflow:serving:"


def series(text: str) -> dict[str, float]:
    """Return the values on a page by series, the real server's names as they stand there."""
    return {name: float(value) for name, value in re.findall(r"^(:\S+\{.*\}) (\S+)$", text, re.MULTILINE)}


@pytest.fixture
def declared(tmp_path: Path, case_config: Path) -> Path:
    """A ModelServerConfig of two case models whose rows are declared independent, so that they are batched."""
    entries = []
    for name in ("several", "half_plus_two"):
        base = tmp_path / name
        shutil.copytree(case_config.parent / name, base)
        (base / "serving.json").write_text('{"independent_rows": true}')
        entries.append(f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}')
    config = tmp_path / "models.config"
    config.write_text("model_config_list {\n" + "\n".join(entries) + "\n}\n")
    return config


def test_calls_of_both_apis_are_counted(
    tmp_path_factory: pytest.TempPathFactory, declared: Path, tmp_path: Path
) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text('prometheus_config { enable: true, path: "/metrics" }')
    folder = tmp_path_factory.mktemp("metered")
    flags = (f"--monitoring_config_file={config}", "--enable_batching")
    with case_server.started(folder, declared, *flags) as embedded:
        assert embedded.rest
        assert embedded.grpc
        client = Client(int(embedded.grpc.rpartition(":")[2]))
        client.predict("several", x=[2.0])
        send(embedded.rest, "/v1/models/several:predict", '{"instances": [2, 4]}')
        send(embedded.rest, "/v1/models/several:predict", '{"instances": ["x"]}')
        send(
            embedded.rest, "/v1/models/half_plus_two:regress", '{"examples": [{"x": 2.0}], "signature_name": "regress"}'
        )
        send(embedded.rest, "/v1/models/nope:predict", '{"instances": [1]}')
        client.channel.close()
        page = send(embedded.rest, "/metrics")
        assert (page.status, page.headers["content-type"]) == (200, "text/plain")
        found = series(page.body.decode())
    count = f"{SERVING}request_count"
    assert found[f'{count}{{model_name="several",status="OK"}}'] == 2
    assert found[f'{count}{{model_name="several",status="INVALID_ARGUMENT"}}'] == 1
    assert found[f'{count}{{model_name="",status="NOT_FOUND"}}'] == 1
    latency = f"{SERVING}request_latency_count"
    assert found[f'{latency}{{model_name="several",API="Predict",entrypoint="GRPC"}}'] == 1
    assert found[f'{latency}{{model_name="several",API="predict",entrypoint="REST"}}'] == 1
    assert found[f'{latency}{{model_name="half_plus_two",API="regress",entrypoint="REST"}}'] == 1
    assert found[f'{SERVING}runtime_latency_count{{model_name="several",API="Predict",runtime="TF1"}}'] == 2
    model = declared.parent / "several" / "1"
    assert found[f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{model}",status="success"}}'] == 1
    assert found[f':tensorflow:cc:saved_model:load_latency{{model_path="{model}"}}'] > 0
    assert found[f"{SERVING}batching_session:wrapped_run_count{{}}"] == 3
    assert found[f"{SERVING}batching_session:input_batch_size_sum{{}}"] == 4


def test_a_warm_up_that_cannot_be_read_is_counted_as_failed(tmp_path: Path, exports: Path) -> None:
    (tmp_path / "monitoring.config").write_text('prometheus_config { enable: true, path: "/metrics" }')
    records = shutil.copytree(exports / "half_plus_two", tmp_path / "half" / "1") / "assets.extra"
    records.mkdir()
    (records / "tf_serving_warmup_requests").symlink_to("/proc/self/mem")  # a file; reading it is an I/O error
    rest = f"127.0.0.1:{case_server.free_port()}"
    flags = ("--port=0", f"--rest_api_port={rest.partition(':')[2]}", "--max_num_load_retries=0")
    more = (f"--model_base_path={tmp_path / 'half'}", f"--monitoring_config_file={tmp_path / 'monitoring.config'}")
    with Command(tmp_path / "log", "serve", *flags, *more) as command:
        command.said("default version 1: failed: OSError")
        names = series(send(rest, "/metrics").body.decode())
    warmups = [name for name in names if name.startswith(f"{SERVING}model_warmup_latency_count")]
    assert warmups == [
        f'{SERVING}model_warmup_latency_count{{model_path="{tmp_path / "half" / "1"}",status="UNKNOWN"}}'
    ]


def test_without_a_config_there_is_no_page(served_cases: case_server.CaseServer) -> None:
    if not (served_cases.rest and served_cases.embedded):
        pytest.skip("needs a embedded that was started without one")
    assert send(served_cases.rest, PATH).status == 404


def test_the_page_is_prometheus_text() -> None:
    metrics = Metrics()
    metrics.load('m"\\', "/models/m\n/1", True, 0.5)
    metrics.warmup("/models/m/1", "OK", 0.25)
    metrics.request('m"\\', "Predict", "GRPC", "OK", 0.0012)
    metrics.batch('m"\\', [1, 2], 4, [0.001, 0.002])
    families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
    counted = families[":tensorflow:serving:request_count"].samples[0]
    assert counted.labels == {"model_name": 'm"\\', "status": "OK"}
    latency = families[":tensorflow:serving:request_latency"].samples
    assert [s.value for s in latency if s.name.endswith("_sum")] == [1200]
    # The real server's limits: 10 us, growing by 1.8.
    limits = [s.labels["le"] for s in latency if s.name.endswith("_bucket")]
    assert (limits[:3], limits[-1], len(limits)) == (["10", "18", "32.4"], "+Inf", 34)
    assert next(s.labels["le"] for s in latency if s.name.endswith("_bucket") and s.value) == "1983.59"
    padding = families[":tensorflow:serving:batching_session:padding_size"].samples
    assert [s.value for s in padding if s.name.endswith("_sum")] == [1]
    assert list(families) == sorted(families)


def test_names_no_model_ever_had_do_not_fill_the_memory() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.request(f"guess-{number}", "Predict", "REST", "NOT_FOUND", 0.001)
    assert series(metrics.text()) == {f'{SERVING}request_count{{model_name="",status="NOT_FOUND"}}': 1000}


def test_no_count_of_any_thread_is_lost() -> None:
    metrics = Metrics()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns all the time
    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(lambda: [metrics.batch("m", [1], 1, [0.0]) for _ in range(2000)])
    sys.setswitchinterval(interval)
    assert series(metrics.text())[f"{SERVING}batching_session:wrapped_run_count{{}}"] == 16_000


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ("prometheus_config { }", None),
        ("prometheus_config { enable: false path: '/x' }", None),
        ("# on\nprometheus_config: < enable: true >", PATH),
        ('prometheus_config { enable: true, path: "/metrics" }', "/metrics"),
    ],
)
def test_the_config_switches_it_on(tmp_path: Path, text: str, path: str | None) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    assert read_monitoring_config(file) == path


@pytest.mark.parametrize("text", ["prometheus { }", "prometheus_config { enable: 5 }", "prometheus_config {", "\0"])
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    with pytest.raises(TextProtoError, match="prometheus_config"):
        read_monitoring_config(file)


def test_a_path_is_absolute(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus_config { enable: true path: 'metrics' }")
    with pytest.raises(TextProtoError, match="the path is 'metrics', wanted one that begins with /"):
        read_monitoring_config(file)


def test_the_server_does_not_start_on_a_bad_config(tmp_path: Path, case_config: Path) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus { }")
    rest = case_server.free_port()
    flags = (f"--rest_api_port={rest}", f"--monitoring_config_file={file}", f"--model_config_file={case_config}")
    with Command(tmp_path / "log", "serve", "--port=0", *flags) as command:
        wait_until(lambda: command.process.poll() is not None, what="the end of the server")
        assert command.process.returncode == 1
        assert f"cannot serve: {file}" in command.text()
        assert "Traceback" not in command.text()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", rest), timeout=5)
