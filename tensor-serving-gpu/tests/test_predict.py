"""From requests to runs of the graph and back, where no model of ours goes."""

from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2

from tensor_serving.embedded import classify, examples, predict
from tensor_serving.embedded.errors import ServingError


def _signatures(text: str) -> dict[str, meta_graph_pb2.SignatureDef]:
    return {"serving_default": text_format.Parse(text, meta_graph_pb2.SignatureDef())}


def _entry(kind: str, alias: str, info: str) -> str:
    return f'{kind} {{ key: "{alias}" value {{ {info} }} }}'


TWINS = _signatures(
    _entry("inputs", "b", 'name: "a:0" dtype: DT_FLOAT')
    + _entry("inputs", "a", 'name: "b:0" dtype: DT_INT32')
    + _entry("outputs", "one", 'name: "y:0" dtype: DT_FLOAT')
    + _entry("outputs", "two", 'name: "y:0" dtype: DT_FLOAT')
    + _entry("outputs", "other", 'name: "x:0" dtype: DT_FLOAT')
    + _entry("defaults", "a", "dtype: DT_INT32 tensor_shape {} int_val: 7")
)
SPARSE = _signatures(_entry("inputs", "x", 'coo_sparse { values_tensor_name: "v:0" } dtype: DT_FLOAT'))
SPARSE_OUTPUT = _signatures(
    _entry("outputs", "y", 'coo_sparse { values_tensor_name: "v:0" } dtype: DT_FLOAT')
    + _entry("outputs", "z", 'name: "z:0" dtype: DT_FLOAT')
)


def _request(text: str) -> predict_pb2.PredictRequest:
    return text_format.Parse(text, predict_pb2.PredictRequest())


def test_feeds_and_fetches_are_in_the_order_of_their_names_and_each_is_fetched_once() -> None:
    sent = "inputs { key: 'b' value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: 1 } }"
    request = _request(sent)
    call = predict.prepare(TWINS, request)
    assert (call.signature, call.feeds, call.fetches) == ("serving_default", ("a:0", "b:0"), ("x:0", "y:0"))
    assert [value.tolist() for value in call.values] == [[1.0], 7]
    answer = predict.answer(TWINS, request, call, [np.float32([1]), np.float32([2])])
    found = {alias: list(proto.float_val) for alias, proto in answer.outputs.items()}
    assert found == {"one": [2.0], "two": [2.0], "other": [1.0]}
    again = predict.prepare(TWINS, _request(f"{sent} output_filter: ['two', 'one']"))
    assert again.fetches == ("y:0",)


def test_a_wrong_dtype_is_refused_before_it_can_join_a_batch() -> None:
    sent = "inputs { key: 'b' value { dtype: DT_HALF tensor_shape { dim { size: 1 } } half_val: 1 } }"
    with pytest.raises(ServingError, match=r"Expects arg\[0\] to be float but half is provided"):
        predict.prepare(TWINS, _request(sent))


def test_arrays_take_the_same_way_as_messages() -> None:
    call, places = predict.call_for(TWINS, "", {"b": np.float32([1])})
    assert (call.feeds, call.fetches, call.values[1].tolist()) == (("a:0", "b:0"), ("x:0", "y:0"), 7)
    assert places == {"one": 1, "other": 0, "two": 1}
    call, places = predict.call_for(TWINS, "serving_default", {"b": np.float32([1])}, ["two"])
    assert (call.fetches, places) == (("y:0",), {"two": 0})
    with pytest.raises(ServingError, match="Signature input alias: b"):
        predict.call_for(TWINS, "", {"a": np.int32([1])})
    with pytest.raises(ServingError, match='Serving signature key "nope" not found'):
        predict.call_for(TWINS, "nope", {})


@pytest.mark.parametrize(
    ("signatures", "request_text", "text"),
    [
        (SPARSE, "inputs { key: 'x' value { dtype: DT_FLOAT } }", "input x is sparse or composite in this signature"),
        (SPARSE_OUTPUT, "", "output y is sparse or composite in this signature"),
        (SPARSE_OUTPUT, "output_filter: 'y'", "output y is sparse or composite in this signature"),
    ],
)
def test_sparse_tensors_are_refused(signatures: Any, request_text: str, text: str) -> None:
    with pytest.raises(ServingError, match=text):
        predict.prepare(signatures, _request(request_text))


def test_a_dense_output_beside_a_sparse_one_can_be_had() -> None:
    assert predict.prepare(SPARSE_OUTPUT, _request("output_filter: 'z'")).fetches == ("z:0",)


def test_a_signature_of_another_model_is_not_taken_for_one_that_is_gone() -> None:
    for number in range(2000):
        signatures = _signatures(_entry("outputs", "y", f'name: "y{number}:0" dtype: DT_FLOAT'))
        assert predict.prepare(signatures, _request("")).fetches == (f"y{number}:0",)


def test_examples_are_the_bytes_the_client_sent_behind_their_context() -> None:
    given = text_format.Parse(
        "example_list_with_context { examples { features { feature { key: 'a' } } } examples {} "
        "context { features { feature { key: 'b' } } } }",
        input_pb2.Input(),
    )
    context = given.example_list_with_context.context.SerializeToString()
    first = given.example_list_with_context.examples[0].SerializeToString()
    assert examples.to_array(given).tolist() == [context + first, context]


def test_labels_that_are_no_text_are_mended() -> None:
    signature = _signatures(_entry("outputs", "classes", 'name: "c:0" dtype: DT_STRING'))["serving_default"]
    found = classify.result(signature, 1, {"c:0": np.array([[b"\xffa", b"b"]], dtype=object)})
    assert [one.label for one in found.classifications[0].classes] == ["\ufffda", "b"]
