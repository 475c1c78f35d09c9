"""The embedded server as a client sees it: every answer and every refusal, over a real channel to a real process."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from serving_kit import Lab
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

FLOAT, STRING = tf.float32.as_datatype_enum, tf.string.as_datatype_enum


@pytest.fixture(scope="module")
def served(lab: Lab) -> Lab:
    for export, name in (("half_plus_two", "half"), ("tf1", "tf1"), ("keras", "keras"), ("stateless", "stateless")):
        lab.publish(export, name, 1)
    for name in ("half", "tf1", "keras", "stateless"):
        lab.serving(name, 1)
    return lab


@pytest.mark.parametrize(
    ("name", "signature", "inputs", "outputs"),
    [
        ("half", "", {"x": np.float32([0, 2, 5])}, {"y": [2.0, 3.0, 4.5]}),
        ("half", "serving_default", {"x": np.zeros(0, np.float32)}, {"y": []}),
        ("half", "shout", {"text": [b"ab", b"z\x00"]}, {"upper": [b"AB", b"Z\x00"], "length": [2, 2]}),
        ("half", "double", {"n": np.int64([2**40, -3])}, {"twice": [2**41, -6], "even": [True, False]}),
        (
            "half",
            "product",
            {"a": np.float32([[1, 2]]), "b": np.float32([[3], [4]])},
            {"product": [[11.0]], "sum": 3.0},
        ),
        ("stateless", "", {"x": np.float32([4])}, {"y": [8.0]}),
        ("tf1", "", {"x": np.float32([[2], [4]])}, {"y": [[3.0], [4.0]]}),
        ("tf1", "lookup", {"word": [b"two", b"zero"]}, {"number": [2, 0]}),
        ("keras", "", {"keras_tensor": np.float32([[2, 3]])}, {"output_0": [[5.0]]}),
    ],
)
def test_predict_answers(served: Lab, name: str, signature: str, inputs: dict, outputs: dict) -> None:
    assert served.client.predict(name, signature, **inputs) == outputs


def test_answer_names_its_version_and_has_floats_of_the_real_server(served: Lab) -> None:
    response = served.client.send(served.client.request("half", x=np.float32([2])))
    assert (response.model_spec.name, response.model_spec.version.value) == ("half", 1)
    assert response.model_spec.signature_name == "serving_default"
    assert list(response.outputs["y"].float_val) == [3.0]
    assert not response.outputs["y"].tensor_content


def test_output_filter_picks_and_refuses(served: Lab) -> None:
    assert served.client.predict("half", "shout", ("length",), text=[b"abc"]) == {"length": [3]}
    assert served.client.predict("half", "shout", ("upper", "length"), text=[b"a"]) == {"upper": [b"A"], "length": [1]}


def _refused(served: Lab, request: object, method: str = "Predict") -> tuple[grpc.StatusCode, str]:
    service = served.client.models if method == "GetModelStatus" else served.client.prediction
    with pytest.raises(grpc.RpcError) as refusal:
        getattr(service, method)(request, timeout=30)
    assert "Traceback" not in refusal.value.details()
    return refusal.value.code(), refusal.value.details()


@pytest.mark.parametrize(
    ("name", "signature", "outputs", "inputs", "code", "text"),
    [
        ("nope", "", (), {}, "NOT_FOUND", "Servable not found for request: Latest(nope)"),
        ("", "", (), {}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ("half", "nope", (), {}, "FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
        (
            "half",
            "",
            (),
            {},
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        ("half", "", (), {"z": np.float32([1])}, "INVALID_ARGUMENT", "Signature input alias: x(feed name: "),
        (
            "half",
            "",
            (),
            {"x": np.float64([1])},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but double is provided",
        ),
        (
            "half",
            "double",
            (),
            {"n": np.int32([1])},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be int64 but int32 is provided",
        ),
        (
            "half",
            "",
            ("z",),
            {"x": np.float32([1])},
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z",
        ),
        ("half", "", ("y", "y"), {"x": np.float32([1])}, "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
        (
            "half",
            "product",
            (),
            {"a": np.float32([[1, 2, 3]]), "b": np.float32([[1], [2]])},
            "INVALID_ARGUMENT",
            "Matrix size-incompatible",
        ),
    ],
)
def test_predict_refuses(
    served: Lab, name: str, signature: str, outputs: tuple[str, ...], inputs: dict, code: str, text: str
) -> None:
    found, details = _refused(served, served.client.request(name, signature, outputs, **inputs))
    assert (found.name, details[: len(text)]) == (code, text)


def _tensor(dtype: int, shape: list[int], **values: object) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype, **values)
    proto.tensor_shape.SetInParent()
    for length in shape:
        proto.tensor_shape.dim.add(size=length)
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(_tensor(FLOAT, [3], tensor_content=b"12345"), id="content of no whole float"),
        pytest.param(_tensor(FLOAT, [3], tensor_content=b"12345678"), id="content too short"),
        pytest.param(_tensor(FLOAT, [-1], float_val=[1]), id="negative dimension"),
        pytest.param(_tensor(FLOAT, [2**62, 2**62], float_val=[1]), id="overflowing shape"),
        pytest.param(_tensor(FLOAT, [2**40], float_val=[1]), id="huge shape"),
        pytest.param(_tensor(FLOAT, [1] * 300, float_val=[1]), id="300 dimensions"),
        pytest.param(_tensor(STRING, [1], tensor_content=b"abcdefgh"), id="string content"),
        pytest.param(_tensor(0, [1], float_val=[1]), id="no dtype"),
        pytest.param(_tensor(9999, [1], float_val=[1]), id="unknown dtype"),
        pytest.param(_tensor(tf.resource.as_datatype_enum, [1]), id="resource"),
        pytest.param(_tensor(tf.variant.as_datatype_enum, [1]), id="variant"),
        pytest.param(_tensor(tf.uint8.as_datatype_enum, [1], int_val=[300]), id="overflowing value"),
    ],
)
def test_malformed_tensors_are_refused_and_the_server_lives(served: Lab, proto: tensor_pb2.TensorProto) -> None:
    code, text = _refused(served, served.client.request("half", x=proto))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("tensor parsing error: x")
    assert served.client.half("half") == (1, 3.0)


def test_few_values_are_continued_as_tensorflow_does(served: Lab) -> None:
    assert served.client.predict("half", x=_tensor(FLOAT, [3], float_val=[2, 4])) == {"y": [3.0, 4.0, 4.0]}
    assert served.client.predict("half", x=_tensor(FLOAT, [2])) == {"y": [2.0, 2.0]}


def test_missing_model_spec_and_garbage_bytes_are_refused(served: Lab) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert _refused(served, predict_pb2.PredictRequest()) == (invalid, "Missing ModelSpec")
    status = get_model_status_pb2.GetModelStatusRequest()
    assert _refused(served, status, "GetModelStatus") == (invalid, "Missing ModelSpec")
    call = served.client.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as refusal:
        call(b"\xff\xff\xff", timeout=30)
    assert refusal.value.code() is grpc.StatusCode.INTERNAL
    assert served.client.half("half") == (1, 3.0)


def test_unknown_versions_labels_and_methods_are_refused(served: Lab) -> None:
    request = served.client.request("half", x=np.float32([1]))
    request.model_spec.version.value = 7
    assert _refused(served, request) == (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(half, 7)")
    request.model_spec.version_label = "best"
    wanted = (grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: best")
    assert _refused(served, request) == wanted
    nope = served.client.channel.unary_unary("/tensorflow.serving.PredictionService/Nope")
    with pytest.raises(grpc.RpcError) as refusal:
        nope(b"", timeout=30)
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_metadata_holds_every_signature(served: Lab) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "half"
    response = served.client.prediction.GetModelMetadata(request, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "shout", "double", "product"} <= signatures.signature_def.keys()
    info = signatures.signature_def["serving_default"].inputs["x"]
    assert (info.dtype, [dim.size for dim in info.tensor_shape.dim]) == (FLOAT, [-1])
    assert (response.model_spec.name, response.model_spec.version.value) == ("half", 1)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["size"], "Metadata field size is not supported"),
    ],
)
def test_metadata_refuses(served: Lab, fields: list[str], text: str) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "half"
    assert _refused(served, request, "GetModelMetadata") == (grpc.StatusCode.INVALID_ARGUMENT, text)


def test_status_of_unknown_models_and_versions(served: Lab) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "nope"
    wanted = (grpc.StatusCode.NOT_FOUND, "Could not find any versions of model nope")
    assert _refused(served, request, "GetModelStatus") == wanted
    request.model_spec.name = "half"
    request.model_spec.version.value = 9
    assert _refused(served, request, "GetModelStatus")[1] == "Could not find version 9 of model half"


def test_messages_over_four_megabytes_pass_both_ways(served: Lab) -> None:
    x = np.arange(3_000_000, dtype=np.float32)
    channel = grpc.insecure_channel(
        f"127.0.0.1:{served.serving_port}",
        options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)],
    )
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    data = call(served.client.request("half", x=x).SerializeToString(), timeout=60)
    channel.close()
    y = tf.make_ndarray(predict_pb2.PredictResponse.FromString(data).outputs["y"])
    assert np.array_equal(y, x / 2 + 2)
