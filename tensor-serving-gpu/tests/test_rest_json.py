"""JSON to tensors and back, dtype by dtype: what the models of the case table do not have."""

import json
from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.rest import examples, json_in, json_out


def read(dtype: str, text: str) -> np.ndarray[Any, Any]:
    """Return the tensor of a value sent as the only column."""
    info = meta_graph_pb2.TensorInfo(dtype=types_pb2.DataType.Value(f"DT_{dtype}"), name="x:0")
    arrays, as_rows = json_in.inputs(json_in.parse(f'{{"inputs": {text}}}'.encode()), {"x": info})
    assert not as_rows
    return arrays["x"]


def refusal(dtype: str, text: str) -> str:
    with pytest.raises(ServingError) as refused:
        read(dtype, text)
    return f"{refused.value.code.name}: {refused.value.text}"


@pytest.mark.parametrize(
    ("dtype", "numpy", "text", "wanted"),
    [
        ("UINT8", np.uint8, "[0, 255]", [0, 255]),
        ("INT8", np.int8, "[-128, 127]", [-128, 127]),
        ("UINT16", np.uint16, "[65535]", [65535]),
        ("INT16", np.int16, "[-32768]", [-32768]),
        ("UINT32", np.uint32, "[4294967295]", [4294967295]),
        ("INT32", np.int32, "[-2147483648]", [-2147483648]),
        ("UINT64", np.uint64, "[18446744073709551615]", [18446744073709551615]),
        ("INT64", np.int64, "[-9223372036854775808]", [-9223372036854775808]),
        ("BOOL", np.bool_, "[[true], [false]]", [[True], [False]]),
        ("HALF", np.float16, "[0.5, 2]", [0.5, 2.0]),
        ("FLOAT", np.float32, "[0.1, 3.4e38, 16777215, -0.0]", np.float32([0.1, 3.4e38, 16777215, -0.0]).tolist()),
        ("DOUBLE", np.float64, "[0.1, 1e308, 9007199254740991]", [0.1, 1e308, 9007199254740991.0]),
        ("STRING", np.object_, '[["a", {"b64": "/w"}]]', [[b"a", b"\xff"]]),
        ("STRING", np.object_, '""', b""),
        ("FLOAT", np.float32, "16777216.0", 16777216.0),
        ("FLOAT", np.float32, "[[], []]", [[], []]),
        ("INT32", np.int32, "[[[1], [2]], [[3], [4]]]", [[[1], [2]], [[3], [4]]]),
    ],
)
def test_a_value_becomes_a_tensor(dtype: str, numpy: type[Any], text: str, wanted: Any) -> None:
    array = read(dtype, text)
    assert array.dtype == numpy
    assert array.tolist() == wanted


@pytest.mark.parametrize(
    ("dtype", "text", "wanted"),
    [
        # The real server lets these two pass and cuts the number.
        ("UINT8", "[256]", "INVALID_ARGUMENT: JSON Value: 256 Type: Number is not of expected type: uint8"),
        ("INT8", "[-129]", "INVALID_ARGUMENT: JSON Value: -129 Type: Number is not of expected type: int8"),
        ("INT32", "[2147483648]", "INVALID_ARGUMENT: JSON Value: 2147483648 Type: Number is not of"),
        ("INT64", "[9223372036854775808]", "INVALID_ARGUMENT: JSON Value: 9223372036854775808 Type: Number is not"),
        ("UINT64", "[-1]", "INVALID_ARGUMENT: JSON Value: -1 Type: Number is not of expected type: uint64"),
        ("UINT64", "[18446744073709551616]", "INVALID_ARGUMENT: JSON Value: 1.8446744073709552e+19 Type: Number is"),
        ("INT32", "[true]", "INVALID_ARGUMENT: JSON Value: true Type: True is not of expected type: int32"),
        ("BOOL", "[1]", "INVALID_ARGUMENT: JSON Value: 1 Type: Number is not of expected type: bool"),
        ("BOOL", '["true"]', 'INVALID_ARGUMENT: JSON Value: "true" Type: String is not of expected type: bool'),
        ("STRING", "[1]", "INVALID_ARGUMENT: JSON Value: 1 Type: Number is not of expected type: string"),
        ("STRING", '[{"b64": 1}]', 'INVALID_ARGUMENT: JSON Value: {"b64": 1} not formatted correctly for base64 data'),
        ("STRING", '["a", ["b"]]', "INVALID_ARGUMENT: Encountered list at unexpected level: 1 expected < 1"),
        ("HALF", "[1e5]", "INVALID_ARGUMENT: Cannot convert JSON value: 100000.0 to half without loss of precision."),
        ("DOUBLE", "[9007199254740993]", "INVALID_ARGUMENT: Cannot convert JSON value: 9007199254740993 to double"),
        ("COMPLEX64", "[1.0]", "UNIMPLEMENTED: Conversion of JSON Value: 1.0 to type: complex64"),
        ("RESOURCE", "[1]", "UNIMPLEMENTED: Conversion of JSON Value: 1 to type: resource"),
    ],
)
def test_a_value_of_another_type_is_refused(dtype: str, text: str, wanted: str) -> None:
    assert refusal(dtype, text)[: len(wanted)] == wanted


@pytest.mark.parametrize("text", ['["ab", [1]]', '[[1], "a"]', '[[1], {"b": 1}]', "[[1], 1]", "[[[1]], [1]]"])
def test_what_python_could_take_for_a_list_is_none(text: str) -> None:
    assert refusal("INT32", text).startswith("INVALID_ARGUMENT: ")


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.float32([0.1, 1.0, 1e-7, 3e38]), '{"outputs":[0.1,1.0,1e-7,3e38]}'),
        (np.float64([0.1, 1 / 3]), '{"outputs":[0.1,0.3333333333333333]}'),
        (np.float32([0.1, np.nan, np.inf, -np.inf]), '{"outputs":[0.1,NaN,Infinity,-Infinity]}'),
        (np.float32(np.nan), '{"outputs":NaN}'),
        (np.float32(0.1), '{"outputs":0.1}'),
        (np.float16([0.5]), '{"outputs":[0.5]}'),
        (np.uint64([2**64 - 1]), '{"outputs":[18446744073709551615]}'),
        (np.int8([[-1], [1]]), '{"outputs":[[-1],[1]]}'),
        (np.array([[True]]), '{"outputs":[[true]]}'),
        (np.array([b"a", b"\xff"], object), '{"outputs":["a","\ufffd"]}'),
        (np.array(b"a", object), '{"outputs":"a"}'),
        (np.ones((2, 3), np.float32).T, '{"outputs":[[1.0,1.0],[1.0,1.0],[1.0,1.0]]}'),
        (np.zeros((0, 3), np.float32), '{"outputs":[]}'),
    ],
)
def test_a_tensor_becomes_json(array: Any, text: str) -> None:
    written = json_out.columns({"y": array if isinstance(array, np.ndarray) else np.asarray(array)}).decode()
    # As text once more: 1 is not 1.0 there, and NaN is equal to NaN.
    assert json.dumps(json.loads(written)) == json.dumps(json.loads(text))


def test_bytes_are_written_as_base64() -> None:
    values = np.array([b"\xff\x00", b""], object)
    assert json.loads(json_out.columns({"y_bytes": values}))["outputs"] == [{"b64": "/wA="}, {"b64": ""}]


def test_several_outputs_with_nan_are_rows() -> None:
    outputs = {"s": np.array([b"a", b"b"], object), "y": np.float32([[0.1, np.nan], [2, 3]]), "n": np.int64([1, 2])}
    assert json_out.rows(outputs) == b'{"predictions":[{"n":1,"s":"a","y":[0.1,NaN]},{"n":2,"s":"b","y":[2.0,3.0]}]}'


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"y": np.zeros((0, 2))}, "Tensor name: y has invalid batch size: 0"),
        ({"a": np.zeros(2), "b": np.zeros(1)}, "Tensor name: b has inconsistent batch size: 1 expecting: 2"),
        ({"y": np.zeros(2, np.complex64)}, "Failed to write JSON value for tensor type: complex64"),
    ],
)
def test_outputs_that_are_no_rows_are_refused(outputs: dict[str, Any], text: str) -> None:
    with pytest.raises(ServingError, match=text):
        json_out.rows(outputs)


def test_every_kind_of_feature_is_read() -> None:
    body = b"""{"context": {"c": 1}, "examples": [{"i": [1, true], "f": 0.5, "s": ["a", {"b64": "/w=="}], "n": []}]}"""
    request = examples.fill(classification_pb2.ClassificationRequest(), json_in.parse(body))
    given = request.input.example_list_with_context
    feature = given.examples[0].features.feature
    assert list(given.context.features.feature["c"].int64_list.value) == [1]
    assert list(feature["i"].int64_list.value) == [1, 1]
    assert list(feature["f"].float_list.value) == [0.5]
    assert list(feature["s"].bytes_list.value) == [b"a", b"\xff"]
    assert feature["n"].WhichOneof("kind") is None


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        ("null", "Feature: x has element with unexpected JSON type: Null"),
        ('{"a": 1}', "Feature: x has element with unexpected JSON type: Object"),
        ("[1, 2.0]", "Unexpected element type in feature: x expecting type: int64"),
        ('["a", 1]', "Unexpected element type in feature: x expecting type: bytes"),
        ("[9223372036854775808]", "Feature: x has uint64 element. Only int64 is supported."),
        ("[1e39]", "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        ('[{"b64": "*"}]', "Unable to base64 decode"),
    ],
)
def test_a_feature_of_no_one_type_is_refused(feature: str, text: str) -> None:
    with pytest.raises(ServingError) as refused:
        examples.fill(
            regression_pb2.RegressionRequest(), json_in.parse(f'{{"examples": [{{"x": {feature}}}]}}'.encode())
        )
    assert refused.value.text == text
