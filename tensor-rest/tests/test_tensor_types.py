"""Tensors of every type and rank, in and out, as JSON and as arrays; what JSON cannot hold says so."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_kit import client_of
from gateway_kit import check_error
from toy_model_server import Model, ModelServer, signature

from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.backend.tensors import from_bfloat16, to_bfloat16

NPY, NPZ = "application/x-npy", "application/x-npz"
PREDICT, V1 = "/tf/models/{}/predict", "/v1/models/{}:predict"

VALUES: dict[str, list[Any]] = {
    "float": [0.1, -1e-30],
    "double": [0.1, 1e300],
    "half": [0.5, -65504.0],
    "bfloat16": [0.5, -1.0],
    "int8": [-128, 127],
    "int16": [-32768, 32767],
    "int32": [-(2**31), 2**31 - 1],
    "int64": [-(2**63), 2**63 - 1],
    "uint8": [0, 255],
    "uint16": [0, 65535],
    "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**64 - 1],
    "bool": [True, False],
    "string": ["", "é"],
}
RANKS: list[Any] = [1.5, [1.5], [[1.5, 2.5]], [[[1.5]]], [[[[1.5]]]], [[[[[1.5]]]]], [[[[[[1.5], [2.5]]]]]]]


def echo(name: str) -> Model:
    kind = pb.DataType.Value(f"DT_{name.upper()}")
    tensors = {"x": (kind, [-1])}
    return Model(card=None, signatures={"serving_default": signature(tensors, tensors)}, compute=lambda given: given)


def any_rank() -> Model:
    definition = signature({"x": (pb.DT_FLOAT, [])}, {"x": (pb.DT_FLOAT, [])})
    for info in (definition.inputs["x"], definition.outputs["x"]):
        info.tensor_shape.unknown_rank = True
    return Model(card=None, signatures={"serving_default": definition}, compute=lambda given: given)


def odd() -> Model:
    """Outputs y (float), c (complex64), d (complex128), b (bfloat16)."""
    outputs = {
        "y": (pb.DT_FLOAT, [-1]),
        "c": (pb.DT_COMPLEX64, [-1]),
        "d": (pb.DT_COMPLEX128, [-1]),
        "b": (pb.DT_BFLOAT16, [-1]),
    }
    inputs = {"x": (pb.DT_FLOAT, [-1])}

    def compute(given: dict[str, Any]) -> dict[str, Any]:
        x = given["x"]
        return {"y": x, "c": (x + 1j).astype(np.complex64), "d": x.astype(np.float64) - 1j, "b": to_bfloat16(x)}

    return Model(card=None, signatures={"serving_default": signature(inputs, outputs)}, compute=compute)


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Any]:
    """A client in front of models named by the type they echo, `rank` and `odd`."""
    models = {name: echo(name) for name in [*VALUES, "complex64"]}
    server = ModelServer(**models, rank=any_rank(), odd=odd()).start()
    yield client_of(server, tmp_path, timeout_seconds=30)
    server.stop()


def arrays(answer: Any) -> dict[str, Any]:
    return dict(np.load(io.BytesIO(answer.data), allow_pickle=False))


def npz(**given: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **given)
    return file.getvalue()


@pytest.mark.parametrize("name", VALUES)
def test_values_of_every_type_come_back_as_they_are(typed: Any, name: str) -> None:
    values = VALUES[name]
    for body in ({"instances": values}, {"inputs": values}, {"inputs": {"x": values}}):
        answer = typed.post(PREDICT.format(name), json=body).json
        assert answer.get("predictions", answer.get("outputs")) in (values, {"x": values})
        if name != "bfloat16":
            answer = typed.post(V1.format(name), json=body).json
            assert answer.get("predictions", answer.get("outputs")) == values
    answer = typed.post(PREDICT.format(name), json={"inputs": values}, headers={"Accept": NPZ})
    assert arrays(answer).keys() == {"x"}
    assert typed.post(PREDICT.format(name), data=answer.data, content_type=NPZ).json["outputs"] == {"x": values}


@pytest.mark.parametrize("value", RANKS)
def test_tensors_of_every_rank_are_taken_where_the_rank_is_open(typed: Any, value: Any) -> None:
    for path, wanted in ((V1, value), (PREDICT, {"x": value})):
        assert typed.post(path.format("rank"), json={"inputs": value}).json["outputs"] == wanted
        assert typed.post(path.format("rank"), json={"instances": [value]}).json["predictions"] == [value]


@pytest.mark.parametrize("value", [[], [[]], [[], []], [[[]]]])
def test_empty_tensors_are_taken(typed: Any, value: Any) -> None:
    for path, wanted in ((V1, value), (PREDICT, {"x": value})):
        assert typed.post(path.format("rank"), json={"inputs": value}).json["outputs"] == wanted
    assert typed.post(PREDICT.format("rank"), data=npz(x=np.zeros((0, 4))), content_type=NPZ).json["outputs"]["x"] == []


def test_shapes_are_left_to_the_graph(typed: Any) -> None:
    for value in (1.5, [[1.5], [2.5]], [[[1.5]]]):  # the signature says [-1]
        assert typed.post(V1.format("float"), json={"inputs": value}).json == {"outputs": value}
    many = [0.5] * 5000
    assert typed.post(V1.format("float"), json={"instances": many}).json == {"predictions": many}


@pytest.mark.parametrize("path", [V1, PREDICT])
def test_inputs_that_the_signature_lacks_are_ignored_in_columns_only(typed: Any, path: str) -> None:
    answer = typed.post(path.format("float"), json={"inputs": {"x": [1.5], "more": ["a"]}})
    assert answer.json["outputs"] in ([1.5], {"x": [1.5]})
    assert typed.post(path.format("float"), json={"instances": [{"x": 1.5, "more": 1}]}).status_code == 400


# ---- numbers as TensorFlow Serving takes and writes them


@pytest.mark.parametrize(
    ("name", "sent", "wanted"),
    [
        ("float", "[1700000000, 16777217]", [1700000000.0, 16777216.0]),
        ("half", "[4000]", [4000.0]),
        ("float", "[18446744073709551616, -9223372036854775809]", [1.8446744e19, -9.223372e18]),
        ("float", "[1e39, -1e39, NaN, 0.1]", [float("inf"), float("-inf"), float("nan"), 0.1]),
        ("double", "[NaN, 0.1, 18446744073709551615]", [float("nan"), 0.1, 1.8446744073709552e19]),
        ("half", "[NaN, 0.1, 1e9]", [float("nan"), 0.099975586, float("inf")]),
    ],
)
def test_numbers_are_rounded_to_the_type_and_written_as_short_as_it_allows(
    typed: Any, name: str, sent: str, wanted: list[float]
) -> None:
    answer = typed.post(V1.format(name), data=f'{{"instances": {sent}}}')
    assert answer.status_code == 200, answer.text
    found = json.loads(answer.data)["predictions"]
    assert list(map(repr, found)) == list(map(repr, wanted))


def test_not_a_number_changes_nothing_beside_it(typed: Any) -> None:
    answer = typed.post(V1.format("rank"), data='{"inputs": [[0.1, 3.3], [NaN, 1e-7]]}')
    assert answer.data == b'{"outputs": [[0.1, 3.3], [NaN, 1e-07]]}'
    assert typed.post(V1.format("rank"), data='{"inputs": 0.1}').data == b'{"outputs":0.1}'
    assert typed.post(V1.format("rank"), data='{"inputs": NaN}').data == b'{"outputs": NaN}'


@pytest.mark.parametrize(
    ("name", "value"), [("int8", 128), ("uint8", -1), ("uint64", -1), ("int64", 2**63), ("int32", 1.0)]
)
def test_whole_numbers_that_do_not_fit_are_refused(typed: Any, name: str, value: float) -> None:
    check_error(typed.post(PREDICT.format(name), json={"instances": [value]}), 400, "Input 'x'", name)


# ---- documents and bytes as TensorFlow Serving takes them


def test_a_byte_order_mark_is_taken_everywhere_and_text_after_the_document_under_v1(typed: Any) -> None:
    body = b'{"instances": [1.5]}'
    for path in (V1, PREDICT):
        assert typed.post(path.format("float"), data=b"\xef\xbb\xbf" + body).json["predictions"] == [1.5]
    for more in (b" x", b"}", b"\n{}", b" NaN"):
        assert typed.post(V1.format("float"), data=body + more).json == {"predictions": [1.5]}
    for document in ('{"é😀": 1, "instances": [1.5]} é', '{"nan": NaN, "instances": [1.5]} x'):
        assert typed.post(V1.format("float"), data=document.encode()).json == {"predictions": [1.5]}
    check_error(typed.post(PREDICT.format("float"), data=body + b"}"), 400, "not JSON")
    for broken in (b'{"instances": [1.5] x}', b'{"instances": [1e999]} x', b'{"instances": ["\xff"]} x'):
        assert typed.post(V1.format("float"), data=broken).status_code == 400


RAW = bytes(range(80))


@pytest.mark.parametrize("path", [V1, PREDICT])
@pytest.mark.parametrize(
    "text",
    [base64.encodebytes(RAW).decode(), base64.b64encode(RAW).decode().rstrip("="), " \t".join(["AAEC", "AwQ="]), ""],
)
def test_base64_may_have_white_space_and_no_padding(typed: Any, path: str, text: str) -> None:
    answer = typed.post(path.format("string"), json={"instances": [{"b64": text}]})
    assert answer.status_code == 200, answer.text


def test_bytes_come_back_as_they_were_sent(typed: Any) -> None:
    sent = base64.b64encode(b"\xff" + RAW).decode().rstrip("=")
    (found,) = typed.post(PREDICT.format("string"), json={"instances": [{"b64": sent}]}).json["predictions"]
    assert base64.b64decode(found["b64"]) == b"\xff" + RAW


@pytest.mark.parametrize("text", ["-_-_", "A", "AAAAA", "AA=A", "AAA==", "====", "ä", "AA!="])
def test_what_is_not_base64_is_refused(typed: Any, text: str) -> None:
    check_error(typed.post(PREDICT.format("string"), json={"instances": [{"b64": text}]}), 400, "not base64")
    answer = typed.post("/v1/models/string:classify", json={"examples": [{"x": {"b64": text}}]})
    assert answer.status_code == 400


# ---- what JSON cannot hold


@pytest.mark.parametrize("path", [V1, PREDICT])
def test_an_output_that_json_cannot_hold_is_named_and_may_be_left_out(typed: Any, path: str) -> None:
    body = {"inputs": [1.5]}
    answer = typed.post(path.format("odd"), json=body)
    assert answer.status_code == 400
    message = answer.json.get("message", answer.json.get("error"))
    assert "outputs=" in message
    assert any(f"Output '{alias}' is {name}" in message for alias, name in (("b", "bfloat16"), ("c", "complex64")))
    answer = typed.post(f"{path.format('odd')}?outputs=y", json=body)
    assert answer.json["outputs"] in ([1.5], {"y": [1.5]})
    wrong = typed.post(f"{path.format('odd')}?outputs=y,nope", json=body)
    assert wrong.status_code == 400
    assert "no output 'nope'" in wrong.text
    assert "b, c, d, y" in wrong.text


def test_outputs_are_named_in_the_document_or_the_query(typed: Any) -> None:
    path = PREDICT.format("odd")
    for query, named in (("?outputs=y&outputs=b", []), ("?outputs=b,y", []), ("?outputs=b", ["y"]), ("", ["b", "y"])):
        body = {"instances": [1.5], "outputs": named}
        assert typed.post(path + query, json=body).json["predictions"] == [{"b": 1.5, "y": 1.5}]
    for wrong in (b'"y"', b"[1]", b'["\\ud800"], "nan": NaN'):
        body = b'{"instances": [1.5], "outputs": ' + wrong + b"}"
        check_error(typed.post(path, data=body), 400, "list of names")
    many = typed.post(path, json={"instances": [1.5], "outputs": [f"nope{number}" for number in range(10_000)]})
    assert many.status_code == 400
    assert len(many.data) < 1000


def test_arrays_carry_complex_numbers_and_bfloat16_as_float32(typed: Any) -> None:
    answer = typed.post(PREDICT.format("odd"), json={"inputs": [1.5]}, headers={"Accept": NPZ})
    found = arrays(answer)
    assert {alias: array.dtype.name for alias, array in found.items()} == {
        "y": "float32",
        "c": "complex64",
        "d": "complex128",
        "b": "float32",
    }
    assert (found["c"].tolist(), found["d"].tolist(), found["b"].tolist()) == ([1.5 + 1j], [1.5 - 1j], [1.5])


def test_complex_inputs_travel_as_arrays_only(typed: Any) -> None:
    given = np.array([1 + 2j, 0], np.complex64)
    answer = typed.post(PREDICT.format("complex64"), data=npz(x=given), content_type=NPZ, headers={"Accept": NPZ})
    assert arrays(answer)["x"].tolist() == given.tolist()
    check_error(typed.post(PREDICT.format("complex64"), json={"instances": [1]}), 400, "'x' is complex64", ".npz")


def test_bfloat16_rounds_to_the_nearest_even() -> None:
    values = np.float32([1.0, 1.00390625, 1.01171875, -2.5, 3.4e38, np.inf, -np.inf, 1e-45])
    assert from_bfloat16(to_bfloat16(values)).tolist() == [1.0, 1.0, 1.015625, -2.5, np.inf, np.inf, -np.inf, 0.0]
    assert np.isnan(from_bfloat16(to_bfloat16(np.float32([np.nan])))).all()


def test_the_refusal_of_a_shape_is_the_graphs_own(api: Any) -> None:
    answer = api.post(PREDICT.format("half-net"), json={"instances": [[1.5]]})
    check_error(answer, 400, "x must have shape [-1], not [1, 1]")
    assert api.post(V1.format("half-net"), json={"inputs": 1.5}).json["error"].startswith("x must have shape [-1]")
