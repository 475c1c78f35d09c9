"""The health service, as load balancers and orchestrators use it, of a real process."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving_kit import Client, Command

ENTRY = 'config {{ name: "{0}" base_path: "{1}/{0}" model_platform: "tensorflow" }}'
_TIMEOUT = 30.0  # seconds


class Watched:
    """A server of the models `half`, which is there, `broken`, which cannot be loaded, and later `late`."""

    def __init__(self, folder: Path, exports: Path, command: Command) -> None:
        self.folder, self.exports, self.command = folder, exports, command
        self.port = int(command.said(r"serving on 127.0.0.1:(\d+)")[1])
        self.client = Client(self.port)
        self.health = health_pb2_grpc.HealthStub(self.client.channel)

    def check(self, service: str) -> str:
        answer = self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=_TIMEOUT)
        return _name(answer)

    def watch(self, service: str) -> Iterator[str]:
        answers = self.health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=_TIMEOUT)
        return map(_name, answers)


def _name(answer: health_pb2.HealthCheckResponse) -> str:
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


@pytest.fixture
def server(tmp_path: Path, exports: Path) -> Iterator[Watched]:
    shutil.copytree(exports / "half_plus_two", tmp_path / "half" / "1")
    shutil.copytree(exports / "badly_warmed", tmp_path / "broken" / "1")
    (tmp_path / "late").mkdir()
    config = tmp_path / "models.config"
    entries = [ENTRY.format(name, tmp_path) for name in ("half", "broken", "late")]
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    flags = (f"--model_config_file={config}", "--file_system_poll_wait_seconds=1", "--max_num_load_retries=0")
    with Command(tmp_path / "log", "serve", "--port=0", *flags) as command:
        yield Watched(tmp_path, exports, command)


def test_check_covers_the_server_its_services_and_its_models(server: Watched) -> None:
    assert server.client.half("half") == (1, 3.0)
    server.command.said("broken version 1: failed")
    for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "half"):
        assert server.check(service) == "SERVING"
    assert server.check("broken") == "NOT_SERVING"
    with pytest.raises(grpc.RpcError) as refusal:
        server.check("nope")
    assert (refusal.value.code(), refusal.value.details()) == (grpc.StatusCode.NOT_FOUND, "unknown service")


def test_watch_reports_a_new_model_and_the_end(server: Watched) -> None:
    of_server, of_model = server.watch(""), server.watch("late")
    assert (next(of_server), next(of_model)) == ("SERVING", "SERVICE_UNKNOWN")
    staged = server.folder / ".staged"
    shutil.copytree(server.exports / "half_plus_two", staged)
    staged.rename(server.folder / "late" / "1")
    for status in of_model:
        if status == "SERVING":
            break
        assert status == "NOT_SERVING"  # found, and being loaded
    server.command.process.terminate()
    assert next(of_server) == "NOT_SERVING"
    assert next(of_model) == "NOT_SERVING"
    assert server.command.process.wait(_TIMEOUT) == 0
