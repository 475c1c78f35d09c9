"""For the tests of the client: a served model whose answer is obvious, a client of it, and calls that are checked."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from toy_model_server import Model, ModelServer, signature

from tensor_rest import backend
from tensor_rest.backend import Limits, Prediction
from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.errors import ApiError


def half_plus_two(**options: Any) -> Model:
    """y = x / 2 + 2 for x of float32 [-1, 3]."""
    definition = signature({"x": (pb.DT_FLOAT, [-1, 3])}, {"y": (pb.DT_FLOAT, [-1, 3])})
    return Model(
        card=None, signatures={"serving_default": definition}, compute=lambda i: {"y": i["x"] / 2 + 2}, **options
    )


def half_server() -> Iterator[ModelServer]:
    """A server of the model half, for a fixture."""
    server = ModelServer(half=half_plus_two()).start()
    yield server
    server.stop()


def connected(address: str, timeout: float = 20, **limits: Any) -> backend.ModelServer:
    """A client with these Limits, which has read the model's signatures and card: its rows are independent."""
    client = backend.ModelServer(address, timeout, Limits(**limits))
    version, _ = client.signatures("half")
    client.declare_independent("half", version, True)
    return client


def ask(client: backend.ModelServer, value: float = 1, rows: int = 1, **options: Any) -> Prediction:
    """The answer for rows of this value and those counted up from it, checked."""
    x = np.repeat(np.arange(value, value + rows, dtype=np.float32)[:, np.newaxis], 3, axis=1)
    answer = client.predict("half", {"x": x}, **options)
    assert np.array_equal(answer.outputs["y"], x / 2 + 2)
    return answer


def error(client: backend.ModelServer, **options: Any) -> ApiError:
    """What a call is refused with."""
    with pytest.raises(ApiError) as caught:
        ask(client, **options)
    return caught.value


def waiting(client: backend.ModelServer) -> int:
    """Callers that queue for a shared call."""
    return sum(len(queue.pending) for queue in client._batcher._queues.values())
