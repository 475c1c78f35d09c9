"""Another lab at this one's address: neither healthy, nor sent the API key."""

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_engine import identity, report, sample, settings
from lab_engine.errors import EngineError, OtherLabError
from lab_engine.local import health
from lab_engine.local.services import all_services


class Gateway(http.server.ThreadingHTTPServer):
    """Answers /healthz with a lab id, an image with `digit`, all else with `models`; keeps the keys it was sent."""

    def __init__(self, lab_id: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.health = {"status": "ok"} | ({"lab": lab_id} if lab_id else {})
        self.keys: list[str | None] = []
        self.models: list[dict[str, object]] = []
        self.digit = 2  # its answer to every image


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Gateway

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["X-API-Key"])
        self.answer(self.server.health if self.path == "/healthz" else {"models": self.server.models})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"classification_result": [{"digit": self.server.digit, "probability": 0.9}]})

    def answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Silent."""


@pytest.fixture
def lab(tmp_path: Path) -> settings.Settings:
    identity.make_id(tmp_path)
    return settings.load({"LAB_HOME": str(tmp_path), "LAB_API_KEY": "secret"})


@pytest.fixture
def gateway(request: pytest.FixtureRequest, lab: settings.Settings) -> Iterator[Gateway]:
    server = Gateway(lab.lab_id if request.param == "ours" else request.param)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def at(lab: settings.Settings, gateway: Gateway) -> settings.Settings:
    return replace(lab, ports=replace(lab.ports, rest=gateway.server_port))


@pytest.mark.parametrize("gateway", ["another"], indirect=True)
def test_another_labs_gateway_is_not_healthy_and_gets_no_key(
    lab: settings.Settings, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    here = at(lab, gateway)
    (rest,) = [service for service in all_services(here) if service.name == "tensor-rest"]
    assert not health.is_healthy(rest)
    with pytest.raises(OtherLabError, match="another lab answers at"):
        sample.served_models(here)
    report.say_status(here, {"tensor-rest": False})
    assert "another lab answers at" in capsys.readouterr().out
    assert {*gateway.keys} == {None}


@pytest.mark.parametrize("gateway", ["ours", ""], indirect=True)
def test_the_labs_own_gateway_and_one_without_an_id_are_called(lab: settings.Settings, gateway: Gateway) -> None:
    here = at(lab, gateway)
    (rest,) = [service for service in all_services(here) if service.name == "tensor-rest"]
    assert health.is_healthy(rest)
    assert sample.served_models(here) == {}
    assert gateway.keys[-1] == "secret"


@pytest.mark.parametrize("gateway", ["ours"], indirect=True)
def test_a_wrong_answer_to_the_sample_image_is_called_wrong(
    lab: settings.Settings, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.models = [{"name": "mnist-net", "versions": []}]
    report.say_how_to_go_on(at(lab, gateway))
    right = capsys.readouterr().out
    assert "mnist-net: it is a 2 (probability 0.9000)" in right
    assert "wrong" not in right
    gateway.digit = 7
    report.say_how_to_go_on(at(lab, gateway))
    assert "wrong: the image shows a 2" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [b"HTTP/1.0 200 OK\r\n\r\n<html>", b"HTTP/1.0 200 OK\r\n\r\n{}", b"what?\r\n\r\n"])
def test_another_program_at_the_gateways_address_is_reported(
    lab: settings.Settings, capsys: pytest.CaptureFixture[str], answer: bytes
) -> None:
    class Other(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        here = replace(lab, ports=replace(lab.ports, rest=server.server_address[1]))
        report.say_status(here, {"tensor-rest": False})
        assert "the gateway does not answer: " in capsys.readouterr().out
        with pytest.raises(EngineError, match="mnist-net does not answer"):
            sample.classify(here, seconds=0)
        server.shutdown()
