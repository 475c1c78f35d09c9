"""The networks of the lab in Docker: what the workbench reaches of the model server, and what it does not."""

import re
import subprocess

import pytest

from tests.running import Lab

# Runs in the workbench and prints a line for each thing it tries.
REACH = """
import grpc, numpy, socket, urllib.request
from tensor_jupyter.grpc_stub import PredictRequest, make_tensor_proto, prediction_stub
for port in (9000, 8501, 8502):
    try:
        socket.create_connection(("tensor-serving", port), 3).close()
        print(port, "is reached")
    except OSError as error:
        print(port, "is not")
request = PredictRequest(model_spec={"name": "mnist-net"})
request.inputs["images"].CopyFrom(make_tensor_proto(numpy.zeros((1, 28, 28, 1), "uint8")))
print(list(prediction_stub().Predict(request, timeout=20).outputs))
with grpc.insecure_channel("tensor-rest:9000") as channel:
    try:
        channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")(b"", timeout=20)
    except grpc.RpcError as error:
        print(error.code().name)
print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://tensor-rest:8502/").status)
"""

in_docker = pytest.mark.parametrize("lab", ["docker"], indirect=True)


def in_workbench(lab: Lab, *command: str) -> str:
    called = ["docker", "exec", lab.container("tensor-jupyter"), *command]
    return subprocess.run(called, capture_output=True, text=True, check=False, timeout=120).stdout


@in_docker
def test_the_workbench_reaches_predictions_and_not_the_reload_call(lab: Lab) -> None:
    output = in_workbench(lab, "python3", "-W", "ignore", "-c", REACH).splitlines()
    assert output == ["9000 is not", "8501 is not", "8502 is not", "['scores']", "PERMISSION_DENIED", "200"]


@in_docker
def test_the_doctor_sees_every_service_from_the_workbench(lab: Lab) -> None:
    output = in_workbench(lab, "lab", "doctor")
    for check in ("gateway", "model server", "watcher", "TensorBoard"):
        assert re.search(rf"^ok +{check}: ", output, re.MULTILINE), output
