"""The door, with a fault staged behind it, over a real channel."""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from serving_kit import Client

from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.servicers import Servicers


class Broken(Repository):
    """Fails in a way nobody has foreseen."""

    def use(self, *_wanted: Any) -> Any:
        raise RuntimeError("secret detail")


def test_an_unforeseen_error_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(Servicers(Broken(lambda *_: pytest.fail("nothing is loaded here"))).handlers())
    client = Client(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    try:
        with caplog.at_level(logging.ERROR), pytest.raises(grpc.RpcError) as refusal:
            client.half("m")
    finally:
        client.channel.close()
        server.stop(0).wait()
    assert refusal.value.code() is grpc.StatusCode.INTERNAL
    assert refusal.value.details() == "internal error; the server's log has the details"
    assert "secret detail" in caplog.text
