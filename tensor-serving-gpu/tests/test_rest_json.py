"""JSON to tensors and back, dtype by dtype: what the models of the case table do not have."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.rest import examples, json_in, json_out, json_parse


def read(dtype: str, text: str) -> np.ndarray[Any, Any]:
    """Return the tensor of a value sent as the only column."""
    info = meta_graph_pb2.TensorInfo(dtype=types_pb2.DataType.Value(f"DT_{dtype}"), name="x:0")
    arrays, as_rows = json_in.inputs(json_parse.parse(f'{{"inputs": {text}}}'.encode()), {"x": info})
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
        ("FLOAT", np.float32, "[1700000000, 16777217, -1e39, 1]", [1.7e9, 16777216.0, -np.inf, 1.0]),
        ("FLOAT", np.float32, "[18446744073709551616, Inf, -Inf]", [2.0**64, np.inf, -np.inf]),
        ("DOUBLE", np.float64, "[9007199254740993]", [9007199254740992.0]),
        ("HALF", np.float16, "[4000, 65504, 70000, 1e9, -1e39]", [4000.0, 65504.0, np.inf, np.inf, -np.inf]),
        ("STRING", np.object_, '["Inf", "NaN", "a\\"Inf"]', [b"Inf", b"NaN", b'a"Inf']),
        ("STRING", np.object_, '[{"b64": "aG\\nk=\\r\\n"}, {"b64": "aGk"}]', [b"hi", b"hi"]),
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
        (
            "UINT8",
            "[256]",
            "INVALID_ARGUMENT: JSON Value: 256 out of range of input 'x' is not of expected type",
        ),
        ("INT8", "[0, -129]", "INVALID_ARGUMENT: JSON Value: -129 out of range of input 'x' is not of expected type"),
        ("INT32", "[2147483648]", "INVALID_ARGUMENT: JSON Value: 2147483648 out of range"),
        ("INT64", "[9223372036854775808]", "INVALID_ARGUMENT: JSON Value: 9223372036854775808 out of range"),
        ("UINT64", "[-1]", "INVALID_ARGUMENT: JSON Value: -1 out of range"),
        (
            "UINT64",
            "[18446744073709551616]",
            "INVALID_ARGUMENT: JSON Value: 1.8446744073709552e+19 Type: Number",
        ),
        (
            "INT32",
            "[true]",
            "INVALID_ARGUMENT: JSON Value: true Type: True at [0] of input 'x' is not",
        ),
        ("INT32", "[[1, 2], [3, 4.0]]", "INVALID_ARGUMENT: JSON Value: 4.0 Type: Number at [1, 1] of input 'x' is not"),
        (
            "BOOL",
            "[1]",
            "INVALID_ARGUMENT: JSON Value: 1 Type: Number at [0] of input 'x' is not",
        ),
        ("BOOL", '["true"]', 'INVALID_ARGUMENT: JSON Value: "true" Type: String at [0]'),
        ("FLOAT", '["1.5"]', 'INVALID_ARGUMENT: JSON Value: "1.5" Type: String at [0]'),
        ("FLOAT", '[1e39, "1.5"]', 'INVALID_ARGUMENT: JSON Value: "1.5" Type: String at [1]'),
        ("FLOAT", "null", "INVALID_ARGUMENT: JSON Value: null Type: Null of input 'x' is not of expected type: float"),
        (
            "STRING",
            "[1]",
            "INVALID_ARGUMENT: JSON Value: 1 Type: Number at [0] of input 'x' is not",
        ),
        ("STRING", '[{"b64": 1}]', "INVALID_ARGUMENT: JSON Value: an object not formatted correctly for base64 data"),
        ("STRING", '["a", ["b"]]', "INVALID_ARGUMENT: JSON Value: a list Type: Array at [1] of input 'x' is not of"),
        ("COMPLEX64", "[1.0]", "UNIMPLEMENTED: Conversion of JSON Value for input 'x' to type: complex64"),
        ("BFLOAT16", "[1.0]", "UNIMPLEMENTED: Conversion of JSON Value for input 'x' to type: bfloat16"),
        ("RESOURCE", "[1]", "UNIMPLEMENTED: Conversion of JSON Value for input 'x' to type: resource"),
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


@pytest.mark.parametrize("outputs", [{"y": np.zeros((0, 2))}, {"a": np.zeros(0), "b": np.zeros((0, 4), np.int32)}])
def test_no_rows_are_an_empty_list(outputs: dict[str, Any]) -> None:
    assert json_out.rows(outputs) == b'{"predictions":[]}'


def test_several_outputs_with_nan_are_rows() -> None:
    outputs = {"s": np.array([b"a", b"b"], object), "y": np.float32([[0.1, np.nan], [2, 3]]), "n": np.int64([1, 2])}
    assert json_out.rows(outputs) == b'{"predictions":[{"n":1,"s":"a","y":[0.1,NaN]},{"n":2,"s":"b","y":[2.0,3.0]}]}'


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"a": np.zeros(2), "b": np.zeros(1)}, "Tensor name: b has inconsistent batch size: 1 expecting: 2"),
        ({"a": np.zeros(0), "b": np.zeros(1)}, "Tensor name: b has inconsistent batch size: 1 expecting: 0"),
        (
            {"x": np.zeros(2), "y": np.zeros(2, np.complex64)},
            "Failed to write JSON value for tensor type: complex64, that of output 'y'; gRPC can return it",
        ),
        ({"y": np.zeros(2, ml_dtypes.bfloat16)}, "tensor type: bfloat16, that of output 'y'"),
        ({"y": np.zeros(2, ml_dtypes.float8_e5m2)}, "tensor type: float8_e5m2, that of output 'y'"),
        ({"y": np.zeros(2, ml_dtypes.int4)}, "tensor type: int4, that of output 'y'"),
        ({"y": np.zeros(2, [("qint8", np.int8)])}, "tensor type: qint8, that of output 'y'"),
    ],
)
def test_outputs_that_are_no_rows_are_refused(outputs: dict[str, Any], text: str) -> None:
    with pytest.raises(ServingError, match=text):
        json_out.rows(outputs)


def test_a_feature_beyond_float_is_infinite() -> None:
    request = examples.fill(
        regression_pb2.RegressionRequest(), json_parse.parse(b'{"examples": [{"x": [1e39, -1e39, 0.5]}]}')
    )
    (example,) = request.input.example_list.examples
    assert list(example.features.feature["x"].float_list.value) == [np.inf, -np.inf, 0.5]


@pytest.mark.parametrize(
    ("body", "members"),
    [
        (b'\xef\xbb\xbf {"a": 1}', {"a": 1}),
        (b' {"a": 1} {"a": 2}', {"a": 1}),
        (b'{"a": 1}\x00garbage', {"a": 1}),
        (b'{"a": [Inf, -Inf, "Inf", -Infinity]} Inf', {"a": [np.inf, -np.inf, "Inf", -np.inf]}),
    ],
)
def test_a_document_is_read_as_the_real_server_does(body: bytes, members: dict[str, Any]) -> None:
    assert json_parse.parse(body).members == members


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 200_000 + b" Inf", b'{"a": Inf, "' + b"\\\\" * 200_000])
def test_a_text_without_an_end_takes_no_time(body: bytes) -> None:
    with pytest.raises(ServingError, match="JSON Parse error"):
        json_parse.parse(body)


def test_every_kind_of_feature_is_read() -> None:
    body = b"""{"context": {"c": 1}, "examples": [{"i": [1, true], "f": 0.5, "s": ["a", {"b64": "/w=="}], "n": []}]}"""
    request = examples.fill(classification_pb2.ClassificationRequest(), json_parse.parse(body))
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
        ('[{"b64": "*"}]', "Unable to base64 decode"),
    ],
)
def test_a_feature_of_no_one_type_is_refused(feature: str, text: str) -> None:
    with pytest.raises(ServingError) as refused:
        examples.fill(
            regression_pb2.RegressionRequest(), json_parse.parse(f'{{"examples": [{{"x": {feature}}}]}}'.encode())
        )
    assert refused.value.text == text
