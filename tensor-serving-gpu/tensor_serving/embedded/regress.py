"""Regress: takes tf.Examples; returns one number for each."""

from collections.abc import Mapping, Sequence

from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import regression_pb2

from tensor_serving.embedded import examples
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import invalid
from tensor_serving.embedded.predict import Signatures
from tensor_serving.embedded.tensors import Array

METHOD = "tensorflow/serving/regress"
_OUTPUTS = "outputs"


def prepare(signatures: Signatures, request: regression_pb2.RegressionRequest) -> Call:
    """Return the run of the graph for a request. Raises ServingError when the signature cannot regress."""
    key = examples.key_of(request.model_spec.signature_name)
    feed, fetch = tensors(examples.find(signatures, key))
    return Call(key, (feed,), (examples.to_array(request.input),), (fetch,))


def answer(
    signatures: Signatures, _request: regression_pb2.RegressionRequest, call: Call, outputs: Sequence[Array]
) -> regression_pb2.RegressionResponse:
    """Return the number of each example and the signature that computed them; the caller sets name and version."""
    response = regression_pb2.RegressionResponse()
    response.model_spec.signature_name = call.signature
    fetched = dict(zip(call.fetches, outputs, strict=True))
    response.result.CopyFrom(result(signatures[call.signature], len(call.values[0]), fetched))
    return response


def tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, str]:
    """Return the tensor to feed and the one to fetch. Raises INVALID_ARGUMENT when the signature cannot regress."""
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if examples.INPUTS not in signature.inputs:
        raise examples.unfit("No regression inputs found in SignatureDef: ", signature)
    if _OUTPUTS not in signature.outputs:
        raise examples.unfit("No regression outputs found in SignatureDef: ", signature)
    return signature.inputs[examples.INPUTS].name, signature.outputs[_OUTPUTS].name


def result(
    signature: meta_graph_pb2.SignatureDef, count: int, fetched: Mapping[str, Array]
) -> regression_pb2.RegressionResult:
    """Return the number of each of `count` examples, out of the fetched tensors by name.

    Raises INVALID_ARGUMENT when they are not floats, [count] or [count, 1].
    """
    array = fetched[signature.outputs[_OUTPUTS].name]
    if array.ndim != 1 and (array.ndim != 2 or array.shape[1] != 1):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {examples.shape(array)}"
        )
    if len(array) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if examples.dtype(array) != "DT_FLOAT":
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {examples.dtype(array)}")
    values = array.ravel().tolist()
    return regression_pb2.RegressionResult(regressions=[regression_pb2.Regression(value=value) for value in values])
