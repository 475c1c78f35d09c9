"""TensorFlow Serving's own REST API under /v1: paths, documents and the shape of errors are its."""

import json
from typing import Any

import numpy as np
import pytest
from toy_model_server import Model, ModelServer, signature

from tensor_rest.backend.protos import serving_pb2 as pb


def check_refused(answer: Any, status: int, *texts: str) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.json) == {"error"}
    for text in texts:
        assert text in answer.json["error"]
    assert answer.headers["X-Request-Id"]


# ---- predict


def test_rows_and_columns_of_one_tensor(api: Any) -> None:
    for path in ("half-net", "half-net/versions/1"):
        rows = api.post(f"/v1/models/{path}:predict", data='{"instances": [1.0, 2.0, 5.0]}')
        assert rows.json == {"predictions": [2.5, 3.0, 4.5]}
        assert api.post(f"/v1/models/{path}:predict", data='{"inputs": [1.0]}').json == {"outputs": [2.5]}
    assert (rows.headers["X-Model-Name"], rows.headers["X-Model-Version"]) == ("half-net", "1")


def test_rows_and_columns_of_several_tensors_and_bytes_by_suffix(api: Any) -> None:
    rows = [{"a": [1, 2], "b": "x"}, {"a": [3, 4], "b": {"b64": "AAE="}}]
    answer = api.post("/v1/models/sums-net:predict", json={"signature_name": "serving_default", "instances": rows})
    assert answer.json == {"predictions": [{"s": 3, "t_bytes": {"b64": "eA=="}}, {"s": 7, "t_bytes": {"b64": "AAE="}}]}
    columns = {"a": [[1, 2]], "b": ["x"]}
    answer = api.post("/v1/models/sums-net:predict", json={"inputs": columns})
    assert answer.json == {"outputs": {"s": [3], "t_bytes": [{"b64": "eA=="}]}}


def test_a_label_names_a_version(api: Any) -> None:
    rows = {"instances": np.full((1, 28, 28, 1), 60).tolist()}
    answer = api.post("/v1/models/mnist-net/labels/stable:predict", json=rows)
    assert answer.json["predictions"][0].index(0.91) == 2
    check_refused(api.post("/v1/models/mnist-net/labels/nope:predict", json=rows), 404, "label 'nope'")


def test_numbers_that_are_none_are_written_as_tensorflow_serving_writes_them(api: Any) -> None:
    answer = api.post("/v1/models/half-net:predict", data='{"instances": [NaN, -Infinity, 1]}')
    assert answer.data == b'{"predictions": [NaN, -Infinity, 2.5]}'


def test_rows_of_outputs_that_have_none_are_refused(api: Any, serves: ModelServer) -> None:
    total = signature({"x": (pb.DT_FLOAT, [-1])}, {"sum": (pb.DT_FLOAT, []), "y": (pb.DT_FLOAT, [-1])})
    serves.models["total-net"] = Model(
        card=None,
        signatures={"serving_default": total},
        compute=lambda given: {"sum": given["x"].sum(), "y": given["x"]},
    )
    answer = api.post("/v1/models/total-net:predict", json={"inputs": [1, 2]})
    assert answer.json == {"outputs": {"sum": 3.0, "y": [1.0, 2.0]}}
    check_refused(api.post("/v1/models/total-net:predict", json={"instances": [1, 2]}), 400, "sum []", "inputs")


# ---- classify and regress


def test_examples_are_classified_and_regressed(api: Any) -> None:
    examples = {"examples": [{"x": 1.5, "name": "é", "n": [1, 2], "ok": True}, {"x": [0.1]}]}
    classified = api.post("/v1/models/half-net:classify", json=examples)
    assert classified.json == {"results": [[["large", 1.5]], [["small", 0.1]]]}
    assert classified.headers["X-Model-Version"] == "1"
    assert api.post("/v1/models/half-net/versions/1:regress", json=examples).json == {"results": [2.75, 2.05]}


def test_a_context_is_shared_by_all_examples(api: Any) -> None:
    shared = {"context": {"x": 0.5}, "examples": [{}, {"x": 3.5}]}
    assert api.post("/v1/models/half-net:regress", json=shared).json == {"results": [2.25, 3.75]}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "examples"),
        ({"examples": []}, "examples"),
        ({"examples": [5]}, "object"),
        ({"examples": [{"x": None}]}, "'x'"),
        ({"examples": [{"x": [1, 0.5]}]}, "mixes"),
        ({"examples": [{"x": [[1.0]]}]}, "'x'"),
        ({"examples": [{"x": {"b64": "?"}}]}, "'x'"),
        ({"examples": [{"x": {"b65": ""}}]}, "b64"),
        ({"examples": [{"x": 2**63}]}, "int64"),
        ({"examples": [{}], "context": []}, "object"),
        ({"examples": [{}], "signature_name": []}, "signature_name"),
    ],
)
def test_invalid_examples_are_refused_with_a_reason(api: Any, document: Any, text: str) -> None:
    for verb in ("classify", "regress"):
        check_refused(api.post(f"/v1/models/half-net:{verb}", json=document), 400, text)


def test_texts_that_are_no_unicode_are_refused(api: Any) -> None:
    # Only Python's own reader, which takes NaN, lets a half of a surrogate pair through.
    for feature in (r'"\ud800": 1.0', r'"x": "\ud800"'):
        body = '{"examples": [{%s, "n": NaN}]}' % feature  # noqa: UP031 - braces
        check_refused(api.post("/v1/models/half-net:classify", data=body), 400)
    body = r'{"signature_name": "\ud800", "examples": [{"x": NaN}]}'
    check_refused(api.post("/v1/models/half-net:classify", data=body), 400, "signature_name")


# ---- status and metadata


def test_the_status_of_versions(api: Any, serves: ModelServer) -> None:
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert api.get("/v1/models/half-net").json == {"model_version_status": [available]}
    serves.models["half-net"].versions = [1, 2]
    assert len(api.get("/v1/models/half-net").json["model_version_status"]) == 2
    check_refused(api.get("/v1/models/half-net/versions/9"), 404, "version 9")


def test_the_metadata_is_the_signature_map(api: Any) -> None:
    document = api.get("/v1/models/half-net/versions/1/metadata").json
    assert document["model_spec"] == {"name": "half-net", "signature_name": "", "version": "1"}
    signatures = document["metadata"]["signature_def"]["signature_def"]
    x = {
        "name": "x:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
    }
    assert signatures["serving_default"]["inputs"] == {"x": x}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"


# ---- requests at fault


def test_every_error_has_tensorflow_serving_s_shape(api: Any, serves: ModelServer) -> None:
    check_refused(api.get("/v1/models/nope"), 404, "'nope' is not served")
    check_refused(api.post("/v1/models/nope:predict", data='{"instances": [1]}'), 404, "not served")
    check_refused(api.post("/v1/models/half-net:predict", data="{"), 400, "not JSON")
    check_refused(api.post("/v1/models/half-net:predict", data="{}"), 400, "instances")
    check_refused(api.post("/v1/models/half-net:guess", data="{}"), 405)
    check_refused(api.get("/v1/nothing"), 404)
    check_refused(api.delete("/v1/models/half-net"), 405)
    serves.stop()
    check_refused(api.get("/v1/models/half-net/metadata", headers={"X-Timeout-Ms": "50"}), 503)


def test_a_client_may_call_its_json_what_it_likes(api: Any) -> None:
    body = json.dumps({"instances": [1]})
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8", None):
        assert api.post("/v1/models/half-net:predict", data=body, content_type=kind).json == {"predictions": [2.5]}
