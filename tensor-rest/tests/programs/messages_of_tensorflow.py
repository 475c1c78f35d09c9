"""Reads our messages with TensorFlow's own classes and theirs with ours, checks every value, and prints nothing."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.backend.tensors import from_tensor, write


def predict_request() -> None:
    request = pb.PredictRequest(output_filter=["scores"])
    request.model_spec.name, request.model_spec.version_label, request.model_spec.signature_name = "m", "stable", "s"
    write(np.arange(6, dtype=np.uint8).reshape(2, 3), request.inputs["images"])
    theirs = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert tf.make_ndarray(theirs.inputs["images"]).tolist() == [[0, 1, 2], [3, 4, 5]]
    spec = theirs.model_spec
    assert (spec.name, spec.version_label, spec.signature_name) == ("m", "stable", "s")
    assert theirs.output_filter == ["scores"]


def predict_response() -> None:
    answer = predict_pb2.PredictResponse()
    answer.model_spec.version.value = 7
    values = {
        "f": np.array([[1.5]], np.float32),
        "h": np.array([1.5], np.float16),
        "i": np.array([-3], np.int64),
        "t": np.array([True]),
        "u": np.array([9], np.uint32),
    }
    for name, value in values.items():
        answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    one = answer.outputs["one"]
    one.dtype, one.tensor_shape.dim.add().size = 1, 1
    one.float_val.append(0.25)
    answer.outputs["s"].CopyFrom(tf.make_tensor_proto([b"card"]))
    ours = pb.PredictResponse.FromString(answer.SerializeToString())
    assert ours.model_spec.version.value == 7
    assert all((from_tensor(ours.outputs[name]) == value).all() for name, value in values.items())
    assert from_tensor(ours.outputs["one"]).tolist() == [0.25]
    assert from_tensor(ours.outputs["s"]).tolist() == [b"card"]


def metadata() -> None:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    info = signatures.signature_def["serving_default"].inputs["images"]
    info.dtype, info.tensor_shape.dim.add().size = 4, -1
    theirs = get_model_metadata_pb2.GetModelMetadataResponse()
    theirs.metadata["signature_def"].Pack(signatures)
    ours = pb.GetModelMetadataResponse.FromString(theirs.SerializeToString())
    read = pb.SignatureDefMap.FromString(ours.metadata["signature_def"].value).signature_def["serving_default"]
    assert read.inputs["images"].dtype == pb.DT_UINT8
    assert read.inputs["images"].tensor_shape.dim[0].size == -1


def classification() -> None:
    sent = pb.ClassificationRequest(model_spec=pb.ModelSpec(name="m"))
    feature = sent.input.example_list_with_context.examples.add().features.feature
    feature["b"].bytes_list.value.append(b"x")
    feature["f"].float_list.value.extend([0.5, 2])
    feature["i"].int64_list.value.append(-3)
    sent.input.example_list_with_context.context.features.feature["c"].int64_list.value.append(1)
    theirs = classification_pb2.ClassificationRequest.FromString(sent.SerializeToString())
    both = theirs.input.example_list_with_context
    read = both.examples[0].features.feature
    assert (list(read["b"].bytes_list.value), list(read["f"].float_list.value)) == ([b"x"], [0.5, 2])
    assert (read["i"].int64_list.value[0], both.context.features.feature["c"].int64_list.value[0]) == (-3, 1)
    answer = classification_pb2.ClassificationResponse()
    answer.model_spec.version.value = 5
    answer.result.classifications.add().classes.add(label="a", score=0.5)
    ours = pb.ClassificationResponse.FromString(answer.SerializeToString())
    assert (ours.model_spec.version.value, ours.result.classifications[0].classes[0].label) == (5, "a")


def regression() -> None:
    answer = regression_pb2.RegressionResponse()
    answer.result.regressions.add(value=0.25)
    assert pb.RegressionResponse.FromString(answer.SerializeToString()).result.regressions[0].value == 0.25


def status() -> None:
    theirs = get_model_status_pb2.GetModelStatusResponse()
    theirs.model_version_status.add(version=3, state=30)
    theirs.model_version_status[0].status.error_message = "no"
    ours = pb.GetModelStatusResponse.FromString(theirs.SerializeToString()).model_version_status[0]
    assert (ours.version, ours.state, ours.status.error_message) == (3, pb.ModelVersionStatus.AVAILABLE, "no")


if __name__ == "__main__":
    predict_request()
    predict_response()
    metadata()
    classification()
    regression()
    status()
