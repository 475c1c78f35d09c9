"""A model server that speaks TLS and wants a certificate: by the channel, and as nginx passes calls on."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from client_kit import half_plus_two
from gateway_kit import HTTP, free_port, needs_nginx, start_front
from pydantic import ValidationError
from rpc_kit import MAX_BYTES
from toy_model_server import ModelServer

from tensor_rest.backend.channel import Channel, UnreachableError
from tensor_rest.backend.status import Code, RpcError
from tensor_rest.settings import Settings

NAMES = ("TF_SERVER_CA", "TF_SERVER_CERTIFICATE", "TF_SERVER_KEY")
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
REQUEST = b"\x0a\x06\x0a\x04half\x12\x0dsignature_def"


class Certificate:
    """A key and a certificate for 127.0.0.1, and maybe names, which is its own CA."""

    def __init__(self, folder: Path, name: str, *names: str) -> None:
        self.key, self.certificate = folder / f"{name}-key.pem", folder / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        alternatives = ["-addext", f"subjectAltName={','.join(['IP:127.0.0.1', *(f'DNS:{each}' for each in names)])}"]
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run([*command, *alternatives, *files], check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("server"), "server", "localhost")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("client"), "client")


@pytest.fixture(scope="module")
def toy(server: Certificate, client: Certificate) -> Iterator[ModelServer]:
    made = serving(server, client)
    yield made
    made.stop()


def serving(server: Certificate, client: Certificate) -> ModelServer:
    """The model half behind TLS, for who shows the client's certificate."""
    made = ModelServer(half=half_plus_two())
    pair = (server.key.read_bytes(), server.certificate.read_bytes())
    made.tls = grpc.ssl_server_credentials([pair], client.certificate.read_bytes(), require_client_auth=True)
    return made.start()


def connected(target: str, *files: Path) -> Channel:
    """A channel with the settings' context for these PEM files."""
    given = dict(zip(NAMES, map(str, files), strict=False))
    return Channel(target, MAX_BYTES, Settings.model_validate(given).tls())


@pytest.mark.parametrize("target", ["127.0.0.1:{}", "localhost:{}", "ipv4:127.0.0.1:{}", "file:{file}"])
def test_calls_go_over_tls_to_the_name_of_the_target(
    toy: ModelServer, server: Certificate, client: Certificate, target: str, tmp_path: Path
) -> None:
    (tmp_path / "servers").write_text(f"{toy.address} 127.0.0.1:1\n")
    address = target.format(toy.port, file=tmp_path / "servers")
    channel = connected(address, server.certificate, client.certificate, client.key)
    channel.reach()
    for _ in range(3):
        assert b"serving_default" in channel.call(METADATA, REQUEST, 20)
    channel.close()


def test_a_server_that_cannot_be_trusted_or_does_not_trust_us_is_not_called(
    toy: ModelServer, server: Certificate, client: Certificate
) -> None:
    count, shown = len(toy.calls), (client.certificate, client.key)
    plain = Channel(toy.address, MAX_BYTES)
    another = connected(toy.address, client.certificate, *shown)
    other_name = connected(f"ip6-localhost:{toy.port}", server.certificate, *shown)
    shows_nothing = connected(toy.address, server.certificate)
    for channel in (plain, another, other_name, shows_nothing):
        with pytest.raises(RpcError) as caught:
            channel.call(METADATA, REQUEST, 20)
        assert caught.value.code is Code.UNAVAILABLE
        channel.close()
    assert len(toy.calls) == count


def test_a_server_of_another_protocol_is_named(server: Certificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)

    def talk(accepted: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(accepted, server_side=True) as secured:
            secured.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: talk(listener.accept()[0]))
        thread.start()
        with pytest.raises(UnreachableError, match="but not HTTP/2"):
            connected(f"127.0.0.1:{listener.getsockname()[1]}", server.certificate).reach()
        thread.join()


@needs_nginx
def test_a_gateway_before_it_answers_and_passes_calls_on(tmp_path: Path) -> None:
    """By its address: nginx looks a name up by DNS alone."""
    server, client = Certificate(tmp_path, "server"), Certificate(tmp_path, "client")
    toy, grpc_port = serving(server, client), free_port()
    front = start_front(
        "nginx",
        tmp_path / "run",
        toy.address,
        TENSOR_REST_GRPC_PORT=str(grpc_port),
        TF_SERVER_CA=str(server.certificate),
        TF_SERVER_CERTIFICATE=str(client.certificate),
        TF_SERVER_KEY=str(client.key),
    )
    try:
        body = json.dumps({"instances": [[2.0, 4.0, 6.0]] * 3})
        answer = HTTP.post(f"{front.url}/v1/models/half:predict", content=body)
        assert answer.json() == {"predictions": [[3.0, 4.0, 5.0]] * 3}
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            assert b"serving_default" in channel.unary_unary(METADATA)(REQUEST, timeout=20)
    finally:
        front.stop()
        toy.stop()


def test_settings_that_do_not_go_together_are_named(server: Certificate, client: Certificate, tmp_path: Path) -> None:
    ca, certificate, key = map(str, (server.certificate, client.certificate, client.key))
    (tmp_path / "rubbish.pem").write_text("rubbish")
    for values, text in (
        (("", certificate, key), "it needs TF_SERVER_CA"),
        ((ca, "", key), "go together"),
        ((ca, certificate, ""), "go together"),
        ((f"{ca}.none", "", ""), "does not point to a file"),
        ((str(tmp_path / "rubbish.pem"), "", ""), "TF_SERVER_CA, TF_SERVER_CERTIFICATE and TF_SERVER_KEY: "),
        ((ca, certificate, str(server.key)), "KEY_VALUES_MISMATCH"),
    ):
        given = {name: value for name, value in zip(NAMES, values, strict=True) if value}
        with pytest.raises(ValidationError, match=text):
            Settings.model_validate(given)
