"""The server process: sockets, TLS, bounds, batching over the wire, and stop signals."""

import json
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from serving_kit import Client, Command, wait_until

from tensor_serving.embedded.server import MAX_CALLS, MAX_MESSAGE_BYTES

HEALTH = "/grpc.health.v1.Health/Check"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def served(folder: Path, exports: Path, *flags: object) -> Command:
    """Start the server on half_plus_two as model `half`."""
    if not (folder / "half").exists():
        shutil.copytree(exports / "half_plus_two", folder / "half" / "1")
    where = ("--port=0", "--model_name=half", f"--model_base_path={folder / 'half'}")
    return Command(folder / "log", "serve", *where, *flags)


def port_of(command: Command) -> int:
    return int(command.said(r"serving on 127.0.0.1:(\d+)")[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_early_calls_wait_for_the_models(tmp_path: Path, exports: Path) -> None:
    """The port answers before anything is loaded; the call that came first is answered, not refused."""
    with served(tmp_path, exports) as command:
        client = Client(port_of(command))
        assert client.half("half") == (1, 3.0)
        assert command.text().index("serving on") < command.text().index("available")
        client.channel.close()
        assert command.stop() == 0


def test_calls_at_the_same_time_are_batched_and_get_their_own_answers(tmp_path: Path, exports: Path) -> None:
    shutil.copytree(exports / "half_plus_two", tmp_path / "half" / "1")
    (tmp_path / "half" / "serving.json").write_text('{"independent_rows": true}')
    (tmp_path / "batching").write_text("max_batch_size { value: 8 } max_enqueued_batches { value: 100 }")
    (tmp_path / "monitoring").write_text("prometheus_config { enable: true }")
    rest_port = free_port()
    flags = ("--enable_batching", f"--batching_parameters_file={tmp_path / 'batching'}")
    more = (f"--rest_api_port={rest_port}", f"--monitoring_config_file={tmp_path / 'monitoring'}")
    with served(tmp_path, exports, *flags, *more) as command:
        client = Client(port_of(command))

        def call(number: int) -> None:
            rows = [float(number), number + 1.0][: 1 + number % 2]
            assert client.predict("half", x=np.float32(rows))["y"] == [row / 2 + 2 for row in rows]

        with ThreadPoolExecutor(32) as threads:
            list(threads.map(call, range(400)))
        assert client.predict("half", x=np.zeros(9, np.float32))["y"] == [2.0] * 9  # more than a batch may have
        page = f"http://127.0.0.1:{rest_port}/monitoring/prometheus/metrics"
        with urllib.request.urlopen(page, timeout=10) as answer:
            runs = answer.read().decode().split(":batching_session:wrapped_run_count{} ")[1].split()[0]
        assert int(runs) < 400
        client.channel.close()


def test_a_unix_socket_and_a_rest_port_beside_the_port(tmp_path: Path, exports: Path) -> None:
    path, rest_port = tmp_path / "grpc.sock", free_port()
    with served(tmp_path, exports, f"--grpc_socket_path={path}", f"--rest_api_port={rest_port}") as command:
        client = Client(port_of(command))
        assert client.half("half") == (1, 3.0)
        with grpc.insecure_channel(f"unix:{path}") as channel:
            assert channel.unary_unary(HEALTH)(b"", timeout=10) == b"\x08\x01"
        url = f"http://127.0.0.1:{rest_port}/v1/models/half:predict"
        with urllib.request.urlopen(url, data=b'{"instances": [2.0]}', timeout=10) as answer:
            assert json.load(answer) == {"predictions": [3.0]}
        client.channel.close()
        assert command.stop() == 0
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url, timeout=10)


@pytest.fixture
def pems(tmp_path: Path) -> dict[str, str]:
    """A key and a certificate for localhost, which is its own CA, as PEM text."""
    files = {"key": tmp_path / "key.pem", "cert": tmp_path / "cert.pem"}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(files["key"]), "-out", str(files["cert"])]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return {name: file.read_text() for name, file in files.items()}


def ssl_config(folder: Path, **fields: Any) -> Path:
    lines = []
    for name, value in fields.items():
        text = str(value).lower() if isinstance(value, bool) else '"' + value.replace("\n", "\\n") + '"'
        lines.append(f"{name}: {text}")
    (folder / "ssl.config").write_text("\n".join(lines))
    return folder / "ssl.config"


@pytest.mark.parametrize("verify", [False, True])
def test_tls(tmp_path: Path, exports: Path, pems: dict[str, str], verify: bool) -> None:
    more = {"custom_ca": pems["cert"], "client_verify": True} if verify else {}
    config = ssl_config(tmp_path, server_key=pems["key"], server_cert=pems["cert"], **more)
    with served(tmp_path, exports, f"--ssl_config_file={config}") as command:
        target = f"localhost:{port_of(command)}"
        own = (pems["key"].encode(), pems["cert"].encode())
        known = grpc.ssl_channel_credentials(pems["cert"].encode(), *own)
        untrusted = grpc.ssl_channel_credentials(pems["cert"].encode())
        with grpc.secure_channel(target, known) as channel:
            assert channel.unary_unary(HEALTH)(b"", timeout=10) == b"\x08\x01"
        with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary(HEALTH)(b"", timeout=5)
        if verify:
            with grpc.secure_channel(target, untrusted) as channel, pytest.raises(grpc.RpcError):
                channel.unary_unary(HEALTH)(b"", timeout=5)


def test_what_cannot_be_served_is_reported_in_one_line(tmp_path: Path, exports: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        cases = (
            (f"--ssl_config_file={ssl_config(tmp_path, server_key='none')}", "server_key holds no PEM text"),
            (f"--ssl_config_file={tmp_path / 'none'}", "none cannot be read: No such file or directory"),
            (f"--rest_api_port={taken.getsockname()[1]}", "is it taken? Choose another --rest_api_port"),
            (f"--grpc_socket_path={tmp_path / 'no' / 'folder'}", "cannot listen on --grpc_socket_path="),
        )
        for flag, text in cases:
            with served(tmp_path, exports, flag) as command:
                assert command.process.wait(20) == 1
                assert text in command.text()
                assert "Traceback" not in command.text()
        (tmp_path / "bad").write_text("max_batch_size: 3")
        with served(
            tmp_path, exports, "--enable_batching", f"--batching_parameters_file={tmp_path / 'bad'}"
        ) as command:
            assert command.process.wait(20) == 1
            assert "is not a BatchingParameters in text form: 1:17" in command.text()
            assert "Traceback" not in command.text()


def test_messages_and_calls_are_bounded(tmp_path: Path, exports: Path) -> None:
    with served(tmp_path, exports, "--grpc_max_threads=1") as command:
        client = Client(port_of(command))
        client.half("half")
        with grpc.insecure_channel(
            f"127.0.0.1:{port_of(command)}", options=[("grpc.max_send_message_length", -1)]
        ) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(PREDICT)(bytes(MAX_MESSAGE_BYTES + 1))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        slow = client.request("half", "slow", x=np.float32([2]))
        apart = [("grpc.use_local_subchannel_pool", 1)]  # a connection each: gRPC keeps back what is too much for one
        clients = [Client(port_of(command), apart) for _ in range(6)]
        calls = [other.prediction.Predict.future(slow, timeout=300) for _ in range(MAX_CALLS // 5) for other in clients]
        exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
        wait_until(lambda: any(call.done() and call.code() is exhausted for call in calls))
        for call in calls:
            call.cancel()
        wait_until(lambda: _answers(client))
        for other in (client, *clients):
            other.channel.close()


def test_a_second_term_ends_it_at_once(tmp_path: Path, exports: Path) -> None:
    with served(tmp_path, exports, "--grpc_max_threads=1") as command:
        client = Client(port_of(command))
        slow = client.request("half", "slow", x=np.float32([2]))
        calls = [client.prediction.Predict.future(slow, timeout=60) for _ in range(200)]
        wait_until(lambda: any(call.done() for call in calls))  # in whatever order they came
        command.process.send_signal(signal.SIGTERM)
        command.said("stop signal")
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(10) == 1
        assert "stop signal again" in command.text()
        client.channel.close()


def test_a_drained_server_has_answered_what_was_under_way(tmp_path: Path, exports: Path) -> None:
    rest_port = free_port()
    with served(tmp_path, exports, "--grpc_max_threads=1", f"--rest_api_port={rest_port}") as command:
        client = Client(port_of(command))
        client.half("half")
        body = b'{"signature_name": "slow", "instances": [2.0]}'
        head = f"POST /v1/models/half:predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", rest_port), timeout=30) as over_rest:
            over_rest.sendall(head.encode() + body)
            slow = client.request("half", "slow", x=np.float32([2]))
            calls = [client.prediction.Predict.future(slow, timeout=60) for _ in range(4)]
            wait_until(lambda: any(call.done() for call in calls))  # the others wait for the one thread
            command.process.send_signal(signal.SIGINT)  # as a terminal does, to the parent too, which then says TERM:
            command.said("stop signal")
            assert command.stop() == 0  # that is not a second time
            assert b" 200 OK" in over_rest.recv(65536)
        assert [call.result().outputs["y"].float_val[0] for call in calls] == [3.0] * 4
        client.channel.close()


def test_a_drained_server_has_sent_its_answers_over_tls(tmp_path: Path, exports: Path, pems: dict[str, str]) -> None:
    config = ssl_config(tmp_path, server_key=pems["key"], server_cert=pems["cert"])
    with served(tmp_path, exports, f"--ssl_config_file={config}") as command:
        known = grpc.ssl_channel_credentials(pems["cert"].encode())
        unbounded = [("grpc.max_receive_message_length", -1)]
        with grpc.secure_channel(f"localhost:{port_of(command)}", known, unbounded) as channel:
            large = Client(0).request("half", x=np.full(12_000_000, 2, np.float32)).SerializeToString()
            calls = [channel.unary_unary(PREDICT).future(large, timeout=60) for _ in range(4)]
            wait_until(lambda: any(call.done() for call in calls))  # the others are on their way
            assert command.stop() == 0
            ends = {(call.code(), call.details()) for call in calls}
            assert ends <= {(grpc.StatusCode.OK, ""), (grpc.StatusCode.UNAVAILABLE, "the server is stopping")}


def _answers(client: Client) -> bool:
    try:
        return client.half("half") == (1, 3.0)
    except grpc.RpcError:
        return False


def _refuses(client: Client) -> bool:
    """Return whether the server drains: calls in flight go on, new ones are for another server, or for later."""
    try:
        client.half("half")
    except grpc.RpcError as error:
        return (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "the server is stopping")
    return False
