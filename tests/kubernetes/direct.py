"""`python -m tests.kubernetes.direct ENDPOINT TOKEN`: a client past the gateway; prints the status of its call.

A program of its own, since it runs in the cluster's network.
"""

import sys

import grpc
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub


def main() -> None:
    endpoint, token = sys.argv[1:]
    request = GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "mnist-net"
    with grpc.insecure_channel(endpoint) as channel:
        try:
            PredictionServiceStub(channel).GetModelMetadata(
                request, timeout=20, metadata=[("authorization", f"Bearer {token}")]
            )
        except grpc.RpcError as error:
            print(error.code().name)  # noqa: T201
        else:
            print("OK")  # noqa: T201


if __name__ == "__main__":
    main()
