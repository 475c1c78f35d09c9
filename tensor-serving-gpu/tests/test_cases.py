"""The case table of the gRPC API, against the embedded server, or with --server HOST:PORT against any model server.

Of a server that is not ours only the cases are sent whose models it has: `python tests/case_models.py FOLDER` writes
them and the config to serve them by.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from case_server import CaseServer
from cases import Case, examples, models, predict, refused
from google.protobuf import text_format
from google.protobuf.message import Message

ROWS = [row for table in (predict, refused, examples, models) for row in table.ROWS]
_TIMEOUT = 30.0  # seconds
_SERVICES = {"GetModelStatus": "ModelService", "HandleReloadConfigRequest": "ModelService"}


@dataclass(frozen=True)
class Client:
    """A server under test."""

    channel: grpc.Channel
    ours: bool

    def call(self, method: str, request: str) -> Message:
        request_class, response_class = _messages()[method]
        call = self.channel.unary_unary(
            f"/tensorflow.serving.{_SERVICES.get(method, 'PredictionService')}/{method}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        return call(text_format.Parse(request, request_class()), timeout=_TIMEOUT)

    def has(self, model: str) -> bool:
        try:
            return bool(self.call("GetModelStatus", f"model_spec {{ name: '{model}' }}"))
        except grpc.RpcError:
            return False


def _messages() -> dict[str, tuple[Any, Any]]:
    from tensorflow_serving.apis import classification_pb2 as c
    from tensorflow_serving.apis import get_model_metadata_pb2 as md
    from tensorflow_serving.apis import get_model_status_pb2 as st
    from tensorflow_serving.apis import inference_pb2 as i
    from tensorflow_serving.apis import model_management_pb2 as mm
    from tensorflow_serving.apis import predict_pb2 as p
    from tensorflow_serving.apis import regression_pb2 as r

    return {
        "Predict": (p.PredictRequest, p.PredictResponse),
        "Classify": (c.ClassificationRequest, c.ClassificationResponse),
        "Regress": (r.RegressionRequest, r.RegressionResponse),
        "MultiInference": (i.MultiInferenceRequest, i.MultiInferenceResponse),
        "GetModelMetadata": (md.GetModelMetadataRequest, md.GetModelMetadataResponse),
        "GetModelStatus": (st.GetModelStatusRequest, st.GetModelStatusResponse),
        "HandleReloadConfigRequest": (mm.ReloadConfigRequest, mm.ReloadConfigResponse),
    }


@pytest.fixture(scope="module")
def client(served_cases: CaseServer) -> Iterator[Client]:
    if served_cases.grpc is None:
        pytest.skip("no --server")
    with grpc.insecure_channel(served_cases.grpc) as channel:
        yield Client(channel, served_cases.embedded is not None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"[^\w:,]+", "-", f"{row.method}: {row.name}"))
def test_the_answer_is_that_of_the_real_server(client: Client, row: Case) -> None:
    if not client.ours:
        for model in set(re.findall(r"\bname: \"(\w+)\"", row.request)) - {"nope"}:
            if not client.has(model):
                pytest.skip(f"the server has no model {model}")
        if row.ours:
            pytest.skip(f"ours on purpose: {row.ours}")
    try:
        response = client.call(row.method, row.request)
    except grpc.RpcError as refusal:
        code, text = refusal.code().name, refusal.details()
    else:
        code, text = "OK", ""
    assert (code, text[: len(row.text)]) == (
        row.code,
        text[: len(row.text)] if row.own_text and not client.ours else row.text,
    )
    assert "Traceback" not in text
    if row.gives:
        wanted = text_format.Parse(row.gives, type(response)())
        # As text: NaN is equal to NaN there, and a difference is readable.
        assert text_format.MessageToString(response) == text_format.MessageToString(wanted)
