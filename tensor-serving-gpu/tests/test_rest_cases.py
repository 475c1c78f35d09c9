"""The case table of the REST API, against the embedded server, or with --rest-server HOST:PORT against another one."""

import json
import re

import pytest
from case_server import CaseServer
from rest_cases import RestCase, answered, refused
from rest_kit import Answer, send


@pytest.fixture(scope="module")
def address(served_cases: CaseServer) -> str:
    if served_cases.rest is None:
        pytest.skip("no --rest-server")
    return served_cases.rest


@pytest.mark.parametrize("row", [*answered.ROWS, *refused.ROWS], ids=lambda row: re.sub(r"\W+", "-", row.name))
def test_the_answer_is_that_of_the_real_server(address: str, served_cases: CaseServer, row: RestCase) -> None:
    model = re.split("[:/?]", row.path)[0]
    if not served_cases.embedded and model.isidentifier() and model != "nope" and not _has(address, model):
        pytest.skip(f"the server has no model {model}")
    if row.ours and not served_cases.embedded:
        pytest.skip(f"ours on purpose: {row.ours}")
    answer = send(address, f"/v1/models/{row.path}", row.body, row.method)
    assert answer.headers["content-type"] == "application/json"
    if row.status == 200:
        # As text: NaN is equal to NaN there.
        assert (answer.status, _sorted(answer.document)) == (200, _sorted(row.gives)), answer.body
    else:
        _is_refused(answer, row, bool(served_cases.embedded))


def _has(address: str, model: str) -> bool:
    return send(address, f"/v1/models/{model}").status == 200


def _is_refused(answer: Answer, row: RestCase, ours: bool) -> None:
    assert answer.status == row.status, answer.body
    if ours:
        assert answer.error[: len(row.text)] == row.text
    assert b"Traceback" not in answer.body


def _sorted(document: object) -> str:
    return json.dumps(document, sort_keys=True)


def test_metadata_is_the_signatures(address: str) -> None:
    document = send(address, "/v1/models/keras2/metadata").document
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert document["model_spec"] == {"name": "keras2", "signature_name": "", "version": "1"}
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["dense_input"] == {
        "dtype": "DT_FLOAT",
        "name": "serving_default_dense_input:0",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
    }


def test_status_without_a_model_is_an_error(address: str) -> None:
    assert send(address, "/v1/models").error == "Missing model name in request."
