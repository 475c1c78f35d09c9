"""Settings: typed, read once, and named when they are wrong."""

import subprocess
import sys

import pytest
from gateway_kit import PROJECT
from pydantic import ValidationError

from tensor_rest.settings import Settings, explain


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TENSOR_REST_PORT", "TENSOR_REST_HOST", "TF_SERVER_HOST_PORT", "TF_SERVER_INVENTORY_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_safe() -> None:
    settings = Settings()
    assert settings.listen == "127.0.0.1:8080"
    assert settings.server == "127.0.0.1:9000"
    assert settings.max_upload_bytes == 10 * 1024 * 1024
    assert str(settings.inventory_url) == "http://127.0.0.1:8502/"
    assert settings.board_url is None


def test_the_environment_is_read_with_its_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSOR_REST_HOST", "::1")
    monkeypatch.setenv("TENSOR_REST_PORT", "9090")
    monkeypatch.setenv("TENSOR_REST_BOARD_URL", "")
    monkeypatch.setenv("LAB_ID", "3f2a")
    monkeypatch.setenv("TF_SERVER_HOST_PORT", "serving:9000")
    monkeypatch.setenv("TF_SERVER_INVENTORY_URL", "http://serving:8502/")
    settings = Settings()
    assert settings.listen == "[::1]:9090"
    assert settings.lab_id == "3f2a"
    assert settings.server == "serving:9000"
    assert str(settings.inventory_url) == "http://serving:8502/"
    assert settings.board_url is None


def test_the_port_that_kubernetes_sets_for_a_service_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service named tensor-rest, in every container of its namespace."""
    monkeypatch.setenv("TENSOR_REST_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("TENSOR_REST_SERVICE_PORT", "80")
    monkeypatch.setenv("TENSOR_REST_PORT_80_TCP_ADDR", "10.0.0.1")
    assert Settings().port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENSOR_REST_PORT", "70000"),
        ("TENSOR_REST_HOST", "127.0.0.1; user root"),
        ("TENSOR_REST_FRONT", "apache"),
        ("TENSOR_REST_JUPYTER_URL", "javascript:alert(1)"),
        ("TF_SERVER_TIMEOUT_SECONDS", "0"),
        ("TF_SERVER_HOST_PORT", "serving"),
        ("TF_SERVER_HOST_PORT", "xds:///serving"),
        ("TENSOR_REST_CORS_ORIGINS", 'https://a.example";evil'),
        ("TENSOR_REST_ALLOWED_HOSTS", "*.*.example"),
        ("TENSOR_REST_URL_ALLOW", "http://a.example/"),
        ("TENSOR_REST_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TENSOR_REST_REQUESTS_PER_SECOND", "-1"),
        ("TENSOR_REST_INVENTORY_PORT", "8503"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_found(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TF_SERVER_INVENTORY_URL", "https://serving/")  # nginx would call it without TLS
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as error:
        Settings()
    assert explain(error.value).startswith(f"{name}={value!r}: ")


def test_the_command_refuses_wrong_settings_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tensor_rest", *arguments]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert "uwsgi" in run("--help").stdout
    assert "invalid choice: 'apache'" in run("apache").stderr
    monkeypatch.setenv("TENSOR_REST_CONCURRENCY", "many")
    monkeypatch.setenv("TF_SERVER_CA", "/proc/self/mem")  # a file that cannot be read, even by root
    refused = run("uwsgi")
    assert refused.returncode == 1
    assert "TENSOR_REST_CONCURRENCY='many'" in refused.stderr
    assert "TF_SERVER_CERTIFICATE and TF_SERVER_KEY: Input/output error" in refused.stderr
    assert "TENSOR_REST_PROCESSES" not in refused.stderr  # its default depends on other settings
    assert "Traceback" not in refused.stderr
    monkeypatch.delenv("TF_SERVER_CA")
    monkeypatch.delenv("TENSOR_REST_CONCURRENCY")
    monkeypatch.setenv("TENSOR_REST_RUN_DIR", str(PROJECT / "pyproject.toml"))
    refused = run("nginx")
    assert refused.returncode == 1
    assert "TENSOR_REST_RUN_DIR" in refused.stderr
    assert "Traceback" not in refused.stderr
