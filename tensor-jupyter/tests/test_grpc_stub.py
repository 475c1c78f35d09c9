"""gRPC from a notebook, against a server on loopback that runs a real SavedModel."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tensor_jupyter import grpc_stub
from tensor_jupyter.errors import LabError
from tensor_jupyter.grpc_stub import PredictRequest, make_ndarray, make_tensor_proto, prediction_stub
from tensor_jupyter.publishing.export import write
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.keras_endpoint import Endpoint


class _Server(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def Predict(self, request, context):  # noqa: N802, ARG002 - gRPC names them
        inputs = {alias: make_ndarray(tensor) for alias, tensor in request.inputs.items()}
        answer = predict_pb2.PredictResponse()
        answer.model_spec.version.value = 4
        for alias, values in self.graph.run(request.model_spec.signature_name, inputs).items():
            answer.outputs[alias].CopyFrom(make_tensor_proto(values))
        return answer


@pytest.fixture
def address(brightness_net, tmp_path):
    write(Endpoint.of(brightness_net), tmp_path / "model")
    with Graph(tmp_path / "model") as graph, ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Server(graph), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        grpc_stub._channel.cache_clear()
        server.stop(0).wait()


def test_the_five_lines_of_the_notebook(address, monkeypatch):
    monkeypatch.setenv("TF_SERVER_HOST_PORT", address)
    stub = prediction_stub()
    request = PredictRequest(model_spec={"name": "brightness", "signature_name": "serving_default"})
    request.inputs["images"].CopyFrom(make_tensor_proto(np.full((3, 2, 2, 1), 255, np.uint8)))
    answer = stub.Predict(request, timeout=10)
    assert make_ndarray(answer.outputs["scores"]) == pytest.approx(np.array([[1, 0]] * 3))
    assert answer.model_spec.version.value == 4


def test_more_than_grpcs_own_four_megabytes_come_back(address):
    request = PredictRequest(model_spec={"signature_name": "serving_default"})
    request.inputs["images"].CopyFrom(make_tensor_proto(np.zeros((700_000, 2, 2, 1), np.uint8)))
    answer = prediction_stub(address).Predict(request, timeout=30)
    assert make_ndarray(answer.outputs["scores"]).shape == (700_000, 2)


def test_a_closed_port_is_reported_with_a_remedy(monkeypatch):
    monkeypatch.setattr(grpc_stub, "_SECONDS", 0.2)
    with pytest.raises(LabError, match=r"No model server answers gRPC at 127\.0\.0\.1:9: start the lab"):
        prediction_stub("127.0.0.1:9")
