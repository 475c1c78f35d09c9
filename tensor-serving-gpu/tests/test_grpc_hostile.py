"""What comes over the gRPC port and is no honest request: it gets an error, and the server goes on."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from case_server import CaseServer
from serving_kit import Client, wait_until

MEGABYTE = 1 << 20
METHODS = {
    "PredictionService": ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"),
    "ModelService": ("GetModelStatus", "HandleReloadConfigRequest"),
}
PATHS = [f"/tensorflow.serving.{service}/{name}" for service, names in METHODS.items() for name in names]


@pytest.fixture(scope="module")
def client(served_cases: CaseServer) -> Iterator[Client]:
    if not served_cases.embedded:
        pytest.skip("only the embedded server is attacked")
    client = Client(int(served_cases.grpc.rpartition(":")[2]))
    yield client
    client.channel.close()


@pytest.fixture(autouse=True)
def _the_server_lives(client: Client, served_cases: CaseServer) -> Iterator[None]:
    yield
    assert client.half("several") == (1, 3.0)
    assert "Traceback" not in served_cases.embedded.text()


def _refused(client: Client, path: str, request: bytes, **how: object) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refusal:
        client.channel.unary_unary(path)(request, timeout=60, **how)
    assert "Traceback" not in refusal.value.details()
    return refusal.value.code().name, refusal.value.details()


@pytest.mark.parametrize("path", [*PATHS, "/grpc.health.v1.Health/Check"])
def test_bytes_that_are_no_message_are_refused(client: Client, path: str) -> None:
    code, text = _refused(client, path, b"\xff\xff\xff")
    assert code == "INTERNAL"
    assert text.startswith("the request is not a ")


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_message_is_refused(client: Client, path: str) -> None:
    assert _refused(client, path, b"")[0] == "INVALID_ARGUMENT"


def test_groups_nested_without_end_are_refused(client: Client) -> None:
    assert _refused(client, PATHS[0], b"\x7b" * 100_000)[0] == "INTERNAL"


def test_a_message_over_the_bound_is_refused(client: Client) -> None:
    assert _refused(client, PATHS[0], bytes(65 * MEGABYTE))[0] == "RESOURCE_EXHAUSTED"


def test_a_gzipped_request_is_answered(client: Client) -> None:
    request = client.request("several", x=[float(number) for number in range(1000)])
    answer = client.prediction.Predict(request, timeout=30, compression=grpc.Compression.Gzip)
    assert answer.outputs["y"].float_val[999] == 501.5


def test_a_gzip_bomb_is_refused_and_not_blown_up(client: Client, served_cases: CaseServer) -> None:
    before = _peak(served_cases)
    refusal = _refused(client, PATHS[0], bytes(300 * MEGABYTE), compression=grpc.Compression.Gzip)
    assert refusal == ("RESOURCE_EXHAUSTED", "Decompressed message larger than max")
    assert _peak(served_cases) - before < 200 * MEGABYTE


def test_too_many_examples_are_refused(client: Client) -> None:
    request = _regress(_field(1, b"\x0a\x00" * 1_100_000))
    assert _refused(client, PATHS[2], request) == (
        "INVALID_ARGUMENT",
        "Input has 1100000 examples, at most 1048576 are taken: send fewer at a time",
    )


def test_a_large_context_of_many_examples_is_refused(client: Client, served_cases: CaseServer) -> None:
    before = _peak(served_cases)
    context = _field(1, _field(1, _field(1, b"k" * MEGABYTE)))
    code, text = _refused(client, PATHS[2], _regress(_field(2, b"\x0a\x00" * 100_000 + _field(2, context))))
    assert (code, text[:53]) == ("INVALID_ARGUMENT", "Input has 100000 examples with a context of 1048590 b")
    assert _peak(served_cases) - before < 200 * MEGABYTE


def test_clients_that_give_up_leave_nothing_behind(client: Client) -> None:
    request = client.request("several", signature="slow", x=[2.0])
    calls = [client.prediction.Predict.future(request, timeout=30) for _ in range(20)]
    for call in calls:
        call.cancel()
    wait_until(lambda: client.half("several") == (1, 3.0))


def _regress(given: bytes) -> bytes:
    """Return a RegressionRequest for half_plus_two with these fields of Input."""
    return _field(1, _field(1, b"half_plus_two") + _field(3, b"regress")) + _field(2, given)


def _field(number: int, payload: bytes) -> bytes:
    length, size = bytearray(), len(payload)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + payload


def _peak(served: CaseServer) -> int:
    """Return the most memory the server has had, in bytes."""
    status = Path(f"/proc/{served.embedded.process.pid}/status")
    if not status.exists():
        pytest.skip("this system does not show it")
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
