"""Runs in the workbench: tries what it may and may not reach of the lab, and prints a line for each."""

import socket
import sys
import urllib.request

import grpc
import numpy as np

from tensor_jupyter.grpc_stub import PredictRequest, make_tensor_proto, prediction_stub


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("tensor-serving", port), 3).close()
    except OSError:
        return False
    return True


def predicted() -> list[str]:
    request = PredictRequest(model_spec={"name": "mnist-net"})
    request.inputs["images"].CopyFrom(make_tensor_proto(np.zeros((1, 28, 28, 1), "uint8")))
    return list(prediction_stub().Predict(request, timeout=20).outputs)


def refusal() -> str:
    """The code of the error of a reload call, if it fails."""
    with grpc.insecure_channel("tensor-rest:9000") as channel:
        try:
            channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")(b"", timeout=20)
        except grpc.RpcError as error:
            return f"{error.code().name}\n"
    return ""


def main() -> None:
    for port in (9000, 8501, 8502):
        sys.stdout.write(f"{port} is {'reached' if accepts(port) else 'not'}\n")
    sys.stdout.write(f"{predicted()}\n{refusal()}")
    unproxied = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    sys.stdout.write(f"{unproxied.open('http://tensor-rest:8502/').status}\n")


if __name__ == "__main__":
    main()
