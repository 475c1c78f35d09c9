"""MultiInference: several classifications and regressions of the same tf.Examples.

The graph runs once for all tasks, which are of one model; every input tensor of their signatures gets the examples.
"""

from collections.abc import Sequence

from tensorflow_serving.apis import inference_pb2

from tensor_serving.embedded import classify, examples, regress
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import invalid, unimplemented
from tensor_serving.embedded.predict import Signatures
from tensor_serving.embedded.tensors import Array


def prepare(signatures: Signatures, request: inference_pb2.MultiInferenceRequest) -> Call:
    """Return the one run of the graph for all tasks; its signature is the first task's.

    Raises ServingError when the tasks cannot be combined or a signature cannot do its task.
    """
    if not request.tasks:
        raise invalid("ModelSpec has no name specified.")  # that of the first task, which names the model
    feeds: set[str] = set()
    fetches: set[str] = set()
    keys: list[str] = []
    for task in request.tasks:
        name, key = task.model_spec.name, examples.key_of(task.model_spec.signature_name)
        if not name:
            raise invalid("Found ModelSpec with an empty model name.")
        if name != request.tasks[0].model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if key in keys:
            raise invalid(f"Duplicate evaluation of signature: {key}")
        if key not in signatures:
            raise invalid(f"Requested signature not found in model graph: {key}")
        keys.append(key)
        feed, fetched = _tensors(signatures, key, task.method_name)
        feeds.add(feed)
        fetches.update(fetched)
    values = (examples.to_array(request.input),) * len(feeds)
    return Call(keys[0], tuple(sorted(feeds)), values, tuple(sorted(fetches)))


def answer(
    signatures: Signatures, request: inference_pb2.MultiInferenceRequest, call: Call, outputs: Sequence[Array]
) -> inference_pb2.MultiInferenceResponse:
    """Return a result per task, in their order, each with its signature; the caller sets name and version."""
    response = inference_pb2.MultiInferenceResponse()
    fetched = dict(zip(call.fetches, outputs, strict=True))
    count = len(call.values[0])
    for task in request.tasks:
        key = examples.key_of(task.model_spec.signature_name)
        added = response.results.add()
        added.model_spec.signature_name = key
        if task.method_name == classify.METHOD:
            added.classification_result.CopyFrom(classify.result(signatures[key], count, fetched))
        else:
            added.regression_result.CopyFrom(regress.result(signatures[key], count, fetched))
    return response


def _tensors(signatures: Signatures, key: str, method: str) -> tuple[str, list[str]]:
    if method == classify.METHOD:
        return classify.tensors(signatures[key])
    if method == regress.METHOD:
        feed, fetch = regress.tensors(signatures[key])
        return feed, [fetch]
    raise unimplemented(f"Unsupported signature method_name: {method}")
