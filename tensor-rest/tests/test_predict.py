"""The generic predict: any model, any signature, JSON and NumPy's formats in and out."""

import io
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gateway_kit import check_error, wait_until
from toy_model_server import ModelServer

NPY, NPZ = "application/x-npy", "application/x-npz"


def npy(array: Any, save: Callable[..., None] = np.save, **arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, *([] if array is None else [array]), **arrays)
    return file.getvalue()


# ---- JSON


def test_rows_and_columns_of_one_input(api: Any) -> None:
    rows = api.post("/tf/models/half-net/predict", json={"instances": [1, 2.5, 0]})
    assert rows.json == {
        "model": "half-net",
        "version": 1,
        "signature": "serving_default",
        "predictions": [2.5, 3.25, 2.0],
    }
    assert (rows.headers["X-Model-Name"], rows.headers["X-Model-Version"]) == ("half-net", "1")
    for inputs in ([1, 2.5], {"x": [1, 2.5]}):
        columns = api.post("/tf/models/half-net/predict", json={"inputs": inputs})
        assert columns.json["outputs"] == {"y": [2.5, 3.25]}
        assert "predictions" not in columns.json


def test_rows_and_columns_of_several_inputs(api: Any) -> None:
    rows = [{"a": [1, 2], "b": "x"}, {"a": [3, -4], "b": {"b64": "/w=="}}]
    answer = api.post("/tf/models/sums-net/predict", json={"instances": rows}).json
    assert answer["predictions"] == [{"s": 3, "t_bytes": "x"}, {"s": -1, "t_bytes": {"b64": "/w=="}}]
    answer = api.post("/tf/models/sums-net/predict", json={"inputs": {"a": [[1, 2]], "b": ["ä"]}}).json
    assert answer["outputs"] == {"s": [3], "t_bytes": ["ä"]}


def test_another_signature_by_query_or_by_name(api: Any) -> None:
    answers = [
        api.post("/tf/models/sums-net/predict?signature=sum", json={"inputs": [200, 100]}),
        api.post("/tf/models/sums-net/predict", json={"signature_name": "sum", "inputs": [200, 100]}),
    ]
    for answer in answers:
        assert (answer.json["signature"], answer.json["outputs"]) == ("sum", {"s": 300})
    differ = api.post("/tf/models/sums-net/predict?signature=sum", json={"signature_name": "x", "inputs": [1, 2]})
    check_error(differ, 400, "'sum'", "'x'", "differ")
    check_error(
        api.post("/tf/models/sums-net/predict?signature=nope", json={"inputs": [1]}),
        400,
        "'nope'",
        "serving_default, sum",
    )


def test_a_version_or_label_is_requested(api: Any, serves: ModelServer) -> None:
    serves.models["half-net"].versions = [1, 2]
    serves.models["half-net"].labels = {"canary": 1}
    body = {"instances": [1]}
    assert api.post("/tf/models/half-net/predict", json=body).json["version"] == 2
    assert api.post("/tf/models/half-net/versions/1/predict", json=body).json["version"] == 1
    assert api.post("/tf/models/half-net/labels/canary/predict", json=body).json["version"] == 1
    check_error(api.post("/tf/models/half-net/versions/3/predict", json=body), 404, "version 3", "Its versions: 1, 2")
    check_error(api.post("/tf/models/half-net/labels/nope/predict", json=body), 404, "label 'nope'")
    for wrong in ("x", "-1", "1.0", "9" * 30):
        check_error(api.post(f"/tf/models/half-net/versions/{wrong}/predict", json=body), 404, "cannot be a version")
    check_error(api.post("/tf/models/half-net/labels/a%00b/predict", json=body), 404, "cannot be a label")


def test_not_a_number_is_null_in_json_and_itself_in_npy(api: Any) -> None:
    body = '{"instances": [1, NaN, Infinity]}'
    assert api.post("/tf/models/half-net/predict", data=body).json["predictions"] == [2.5, None, None]
    answer = api.post("/tf/models/half-net/predict", data=body, headers={"Accept": NPY})
    assert np.array_equal(np.load(io.BytesIO(answer.data)), np.float32([2.5, np.nan, np.inf]), equal_nan=True)


def test_floats_are_as_short_as_float32_allows(api: Any) -> None:
    assert b'"predictions":[2.1]' in api.post("/tf/models/half-net/predict", json={"instances": [0.2]}).data


@pytest.mark.parametrize(
    ("document", "texts"),
    [
        ({}, ["neither"]),
        ({"instances": [1], "inputs": [1]}, ["both"]),
        ({"instances": []}, ["at least one row"]),
        ({"instances": 1}, ["list"]),
        ({"instances": ["1"]}, ["'x' is float", "wanted numbers, found a text"]),
        ({"instances": [True]}, ["found true or false"]),
        ({"instances": [None]}, ["found null"]),
        ({"instances": [[1], [1, 2]]}, ["ragged"]),
        ({"instances": [{"x": [1]}, {"x": [[1]]}]}, ["ragged"]),
        ({"instances": [1, [2]]}, ["ragged"]),
        ({"instances": [[], [1]]}, ["ragged"]),
        ({"instances": [{"z": 1}]}, ["'z'", "wanted exactly 'x'"]),
        ({"instances": [{"x": 1}, 2]}, ["Row 1"]),
        ({"inputs": {"z": [1]}}, ["'z'", "'x'"]),
        ({"instances": [1], "signature_name": 5}, ["signature_name"]),
        ([], ["JSON list", "object"]),
        (5, ["JSON int"]),
    ],
)
def test_json_of_another_shape_is_refused_with_a_reason(api: Any, document: Any, texts: list[str]) -> None:
    check_error(api.post("/tf/models/half-net/predict", json=document), 400, *texts)


@pytest.mark.parametrize(
    ("inputs", "texts"),
    [
        ({"a": [[1.5, 2]], "b": ["x"]}, ["'a' is int32", "number with a fraction"]),
        ({"a": [[3000000000, 2]], "b": ["x"]}, ["does not fit int32"]),
        ({"a": [[1, 2]], "b": [5]}, ["'b' is string", "a whole number"]),
        ({"a": [[1, 2]], "b": [{"b64": "?"}]}, ["not base64"]),
        ({"a": [[1, 2]], "b": [{"c": ""}]}, ["b64"]),
        ([1, 2], ["'a', 'b'", "an object by alias"]),
        ({"a": [[1, 2]]}, ["wanted 'a', 'b'"]),
    ],
)
def test_typed_inputs_are_checked_before_the_model_server_is_called(
    api: Any, serves: ModelServer, inputs: Any, texts: list[str]
) -> None:
    check_error(api.post("/tf/models/sums-net/predict", json={"inputs": inputs}), 400, *texts)
    assert "Predict" not in serves.calls


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "empty"),
        (b"{", 400, "not JSON"),
        (b'{"instances": [1e999999]', 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"instances": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "nests"),
        (b"[" * 5_000_000, 413, "5,000,000 lists"),
        (b'{"instances": [NaN', 400, "not JSON"),
        (b'{"instances": ["' + b"x" * 1_000_000 + b'"' + b', ""' * 100_000 + b"]}", 400, "found a text"),
    ],
)
def test_invalid_json_is_refused_with_a_reason(api: Any, body: bytes, status: int, text: str) -> None:
    check_error(api.post("/tf/models/half-net/predict", data=body), status, text)


def test_texts_of_very_different_length_take_only_their_own_memory(api: Any, serves: ModelServer) -> None:
    rows = [{"a": [0, 0], "b": "x" * 1_000_000}] + [{"a": [0, 0], "b": ""}] * 20_000
    answer = api.post("/tf/models/sums-net/predict", json={"instances": rows})
    assert len(answer.json["predictions"]) == 20_001
    assert serves.calls.count("Predict") == 1  # and so many rows are one call


def test_large_bodies_wait_for_each_other_and_small_ones_do_not(
    api: Any, serves: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensor_rest.payloads.json_body._SLOT_TIMEOUT_S", 0.05)
    path, large = "/tf/models/half-net/predict", json.dumps({"instances": [0.5] * 200_000})
    assert api.post(path, data=large).status_code == 200
    serves.hold = held = threading.Event()
    first = threading.Thread(target=api.post, args=(path,), kwargs={"data": large})
    first.start()
    wait_until(lambda: serves.calls.count("Predict") == 2)
    check_error(api.post(path, data=large), 503, "other large requests")
    check_error(api.post(path, data=npy(np.zeros(1_200_000)), content_type=NPY), 503, "other large requests")
    serves.hold = None
    assert api.post("/tf/models/sums-net/predict?signature=sum", json={"inputs": [1, 2]}).status_code == 200
    held.set()
    first.join()
    assert api.post(path, data=large).status_code == 200


# ---- arrays


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8", "<f2", "<i8", "u1"])
def test_an_array_of_any_number_type_is_taken(api: Any, dtype: str) -> None:
    answer = api.post("/tf/models/half-net/predict", data=npy(np.array([1, 2], dtype)), content_type=NPY)
    assert answer.json["outputs"] == {"y": [2.5, 3.0]}


def test_arrays_go_in_and_out_by_alias(api: Any) -> None:
    a = np.asfortranarray([[1, 2], [3, 4]], dtype=np.int64)
    for save in (np.savez, np.savez_compressed):
        body = npy(None, save, a=a, b=np.array(["x", "yz"]))
        answer = api.post("/tf/models/sums-net/predict", data=body, content_type=NPZ, headers={"Accept": NPZ})
        assert answer.content_type == NPZ
        arrays = np.load(io.BytesIO(answer.data), allow_pickle=False)
        assert arrays["s"].tolist() == [3, 7]
        assert arrays["t_bytes"].tolist() == [b"x", b"yz"]
        assert arrays["s"].dtype == np.int32


def test_several_outputs_are_no_single_array(api: Any) -> None:
    body = {"inputs": {"a": [[1, 2]], "b": ["x"]}}
    answer = api.post("/tf/models/sums-net/predict", json=body, headers={"Accept": NPY})
    check_error(answer, 400, "2 arrays", NPZ)


def forged(header: str, values: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not an .npy"),
        (b"rubbish rubbish", "not an .npy"),
        (npy(np.zeros(4, np.float32))[:-1], "it has 15"),
        (npy(np.zeros(4, np.float32)) + b"x", "it has 17"),
        (npy(np.array([{}], dtype=object)), "never pickled"),
        (npy(np.zeros(1, "datetime64[s]")), "datetime64"),
        (npy(np.zeros(1, [("a", "f4")])), "wanted numbers"),
        (forged("{'descr': '<f4', 'fortran_order': False, 'shape': (549755813888, 1000)}"), "bytes; it has 0"),
        (forged("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}"), "not a tuple of sizes"),
        (forged("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000,)}"), "than its bytes can hold"),
        (forged("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 60 + ")}", b"1234"), "more dimensions"),
        (forged("(" * 4000 + ")" * 4000), "cannot be read"),
        (forged("{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}" + " " * 12_000), "header of 12055 bytes"),
        (forged("__import__('os').abort()"), "cannot be read"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "header of 2147483647 bytes"),
        (npy(np.array(["a"])), "does not fit"),
    ],
)
def test_an_invalid_array_is_refused_with_a_reason(api: Any, serves: ModelServer, body: bytes, text: str) -> None:
    check_error(api.post("/tf/models/half-net/predict", data=body, content_type=NPY), 400, text)
    assert "Predict" not in serves.calls


def test_whole_numbers_must_fit_and_floats_are_none(api: Any) -> None:
    for array, fits in (([200, 100], True), ([256, 0], False), ([-1, 0], False), ([1.0, 2.0], False)):
        answer = api.post("/tf/models/sums-net/predict?signature=sum", data=npy(np.array(array)), content_type=NPY)
        assert answer.status_code == (200 if fits else 400)


_NPZ = npy(None, np.savez, a=np.zeros(2))


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"rubbish", 400, "not an .npz"),
        (npy(None, np.savez, a=np.zeros(2))[:-30], 400, "not an .npz"),
        (_NPZ[:-22] + b"PK\x06\x07" + bytes(16) + _NPZ[-22:], 400, "of the kind zip64"),
        (npy(None, np.savez, **{f"a{n}": np.zeros(1) for n in range(100)}), 400, "100 arrays"),
        (npy(None, np.savez, **{f"{n:0400}": np.zeros(1) for n in range(200)}), 413, "lists too much"),
        (npy(None, np.savez_compressed, x=np.zeros(30_000_000, np.uint8)), 413, "too many bytes"),
        (npy(None, np.savez, x=np.ones(9)).replace(b"\x93NUMPY", b"\x93NUMPZ"), 400, "cannot be read"),
    ],
)
def test_an_invalid_npz_is_refused_with_a_reason(api: Any, body: bytes, status: int, text: str) -> None:
    check_error(api.post("/tf/models/half-net/predict", data=body, content_type=NPZ), status, text)


@pytest.mark.parametrize("kind", [NPY, NPZ])
def test_changed_bytes_are_refused_or_harmless(api: Any, kind: str) -> None:
    random = np.random.default_rng(1)
    whole = npy(np.ones(3)) if kind == NPY else npy(None, np.savez_compressed, x=np.ones(3))
    for _ in range(300):
        body = bytearray(whole)
        for place in random.integers(len(body), size=random.integers(1, 6)):
            body[place] = random.integers(256)
        answer = api.post("/tf/models/half-net/predict", data=bytes(body), content_type=kind)
        assert answer.status_code in (200, 400, 413), answer.text


def test_a_form_is_no_tensor(api: Any) -> None:
    check_error(
        api.post("/tf/models/half-net/predict", data={"a": "1"}, content_type="multipart/form-data"), 415, ".npy"
    )


# ---- versions that change


def test_inputs_are_made_for_the_version_that_answers(api: Any, serves: ModelServer) -> None:
    assert api.post("/tf/models/half-net/predict", json={"instances": [1]}).status_code == 200
    sums = serves.models["sums-net"]
    serves.models["half-net"] = sums
    sums.versions = [2]
    answer = api.post("/tf/models/half-net/predict", json={"instances": [{"a": [1, 2], "b": "x"}]})
    assert (answer.status_code, answer.json["version"]) == (200, 2)
    check_error(api.post("/tf/models/half-net/predict", json={"instances": [1]}), 400, "'a', 'b'")


def test_an_unknown_model_is_404_and_a_bad_name_never_reaches_serving(api: Any, serves: ModelServer) -> None:
    check_error(api.post("/tf/models/nope/predict", json={"instances": [1]}), 404, "'nope' is not served")
    serves.calls.clear()
    for name in ("UP", "a%00b", "%2e%2e", "ä", "a" * 64):
        answer = api.post(f"/tf/models/{name}/predict", data=json.dumps({"instances": [1]}))
        check_error(answer, 404, "cannot be a model")
    assert serves.calls == []
