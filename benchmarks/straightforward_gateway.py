"""The gateway one would write first, as in the tutorials: the baseline for the lab's gateway.

Flask-RESTX with its argument parser, TensorFlow imported for its tensor helpers, Pillow and NumPy, one gRPC channel
that is kept; two uWSGI processes of four threads behind nginx (rig/gateways.py). TF_SERVER_HOST_PORT is the address of
its model server.
"""

import os
from typing import Any

import flask
import grpc
import numpy as np
import tensorflow as tf
from flask_restx import Api, Resource
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from werkzeug.datastructures import FileStorage

application = flask.Flask(__name__)
api = Api(application)

form = api.parser()
form.add_argument("image", type=FileStorage, location="files", required=True)

_stub: prediction_service_pb2_grpc.PredictionServiceStub | None = None


def _serving() -> prediction_service_pb2_grpc.PredictionServiceStub:
    """Return the stub. The channel is made at the first request, because gRPC does not survive uWSGI's fork."""
    global _stub
    if _stub is None:
        _stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(os.environ["TF_SERVER_HOST_PORT"])
        )
    return _stub


@api.route("/tf/mnist/<model>")
class Mnist(Resource):
    """The tutorial's route."""

    @api.expect(form)
    def post(self, model: str) -> dict[str, Any]:
        """Return the best digits of an image."""
        image = Image.open(form.parse_args()["image"]).convert("L")
        images = np.asarray(image, np.uint8).reshape(1, 28, 28, 1)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = "serving_default"
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
        scores = tf.make_ndarray(_serving().Predict(request, 5.0).outputs["scores"])[0]
        best = np.argsort(-scores)[:3]
        return {"classification_result": [{"digit": int(i), "probability": float(scores[i])} for i in best]}
