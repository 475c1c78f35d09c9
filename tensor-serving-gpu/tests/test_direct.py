"""The port for clients with tokens: predictions of the model that the token names, until it expires; nothing else."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path

import grpc
import pytest
from serving_kit import Client
from test_server import free_port, port_of, served
from transport_kit import GREETING, Place, headers, message, scene

from tensor_serving.embedded.direct import Tokens, read_key
from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport.call import Call

CONTRACT = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
KEY, TOKEN = re.findall(r"^(?:key|token) += (\S+)$", CONTRACT, re.MULTILINE)
MODEL, EXPIRES = "mnist-net", 4102444800  # of the example


def refusal(authorization: str, model: str = MODEL, now: float = EXPIRES - 1, key: str = KEY) -> str:
    with pytest.raises(ServingError) as error:
        Tokens(key.encode(), lambda: now).check(authorization, model)
    assert error.value.code is grpc.StatusCode.UNAUTHENTICATED
    return error.value.text


def test_the_example_of_the_contract_is_taken() -> None:
    Tokens(KEY.encode(), lambda: EXPIRES - 1).check(f"Bearer {TOKEN}", MODEL)


def test_any_other_token_is_refused() -> None:
    assert "another model" in refusal(f"Bearer {TOKEN}", model="fashion")
    assert "expired" in refusal(f"Bearer {TOKEN}", now=EXPIRES)
    assert "this server's key" in refusal(f"Bearer {TOKEN}", key=KEY[::-1])
    for wrong in (
        "",
        TOKEN,
        f"Basic {TOKEN}",
        *(f"Bearer {text}" for text in ("", "a.b.c", "v1..", "x" * 5000, "é.é.é")),
    ):
        assert refusal(wrong)


def test_a_token_with_one_character_changed_is_refused() -> None:
    for place, character in enumerate(TOKEN[:-1]):  # of the last character some bits mean nothing
        changed = TOKEN[:place] + ("A" if character != "A" else "B") + TOKEN[place + 1 :]
        assert refusal(f"Bearer {changed}")


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x" * 31 + "\n")
    with pytest.raises(ValueError, match="has 31 bytes; a key has at least 32"):
        read_key(tmp_path / "key")


def test_the_port_serves_predictions_to_clients_with_a_token(tmp_path: Path, exports: Path) -> None:
    from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

    (tmp_path / "key").write_text(KEY)
    port = free_port()
    with served(tmp_path, exports, f"--direct_port={port}", f"--direct_key_file={tmp_path / 'key'}") as command:
        lab, client = Client(port_of(command)), Client(port)
        assert lab.half("half") == (1, 3.0)
        token = ("authorization", f"Bearer {made(KEY, 'half')}")
        assert client.half("half", token) == (1, 3.0)
        for wrong in ((), (("authorization", f"Bearer {TOKEN}"),)):
            with pytest.raises(grpc.RpcError) as error:
                client.half("half", *wrong)
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        reload, status = model_management_pb2.ReloadConfigRequest(), get_model_status_pb2.GetModelStatusRequest()
        for call in (
            lambda: client.models.HandleReloadConfigRequest(reload, metadata=[token]),
            lambda: client.models.GetModelStatus(status, metadata=[token]),
        ):
            with pytest.raises(grpc.RpcError) as error:
                call()
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
        lab.channel.close()
        client.channel.close()
        assert command.stop() == 0


def test_a_call_may_be_refused_by_its_headers_before_its_message_comes() -> None:
    def admit(call: Call) -> None:
        if ("authorization", "wrong") in call.invocation_metadata():
            raise ServingError(grpc.StatusCode.UNAUTHENTICATED, "no token")

    async def play(here: Place) -> None:
        wire = await here.wire(GREETING + headers(authorization="wrong"))
        assert (await wire.answer())[1]["grpc-status"] == str(grpc.StatusCode.UNAUTHENTICATED.value[0])
        wire.send(message(b"x" * 1000), headers(stream=3, authorization="right"), message(b"y", 3))
        assert (await wire.answer(3))[1]["grpc-status"] == "0"
        wire.close()

    scene(play, admit_call=admit)


def made(key: str, model: str) -> str:
    """A token as docs/contracts.md describes it."""

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = f"v1.{text(json.dumps({'model': model, 'expires': EXPIRES}).encode())}"
    return f"{signed}.{text(hmac.digest(key.encode(), signed.encode(), hashlib.sha256))}"
