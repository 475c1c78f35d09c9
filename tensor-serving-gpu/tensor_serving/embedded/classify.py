"""Classify: takes tf.Examples; returns for each class its label, its score or both."""

from collections.abc import Iterable, Mapping, Sequence

from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2

from tensor_serving.embedded import examples
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import invalid
from tensor_serving.embedded.predict import Signatures
from tensor_serving.embedded.tensors import Array

METHOD = "tensorflow/serving/classify"
_CLASSES, _SCORES = "classes", "scores"


def prepare(signatures: Signatures, request: classification_pb2.ClassificationRequest) -> Call:
    """Return the run of the graph for a request. Raises ServingError when the signature cannot classify."""
    key = examples.key_of(request.model_spec.signature_name)
    feed, fetches = tensors(examples.find(signatures, key))
    return Call(key, (feed,), (examples.to_array(request.input),), tuple(sorted(set(fetches))))


def answer(
    signatures: Signatures, _request: classification_pb2.ClassificationRequest, call: Call, outputs: Sequence[Array]
) -> classification_pb2.ClassificationResponse:
    """Return the classes of each example and the signature that computed them; the caller sets name and version."""
    response = classification_pb2.ClassificationResponse()
    response.model_spec.signature_name = call.signature
    fetched = dict(zip(call.fetches, outputs, strict=True))
    response.result.CopyFrom(result(signatures[call.signature], len(call.values[0]), fetched))
    return response


def tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, list[str]]:
    """Return the tensor to feed and those to fetch. Raises INVALID_ARGUMENT when the signature cannot classify."""
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if examples.INPUTS not in signature.inputs:
        raise examples.unfit("No classification inputs found in SignatureDef: ", signature)
    fetches = [signature.outputs[alias].name for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not fetches:
        raise examples.unfit(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            "Signature was: ",
            signature,
        )
    return signature.inputs[examples.INPUTS].name, fetches


def result(
    signature: meta_graph_pb2.SignatureDef, count: int, fetched: Mapping[str, Array]
) -> classification_pb2.ClassificationResult:
    """Return the classes of each of `count` examples, out of the fetched tensors by name.

    Raises INVALID_ARGUMENT when they are not [count, number of classes] of strings and floats.
    """
    found = {
        alias: _checked(alias, fetched[signature.outputs[alias].name], wanted, count)
        for alias, wanted in ((_CLASSES, "DT_STRING"), (_SCORES, "DT_FLOAT"))
        if alias in signature.outputs
    }
    if len({array.shape[1] for array in found.values()}) > 1:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{found[_CLASSES].shape[1]} vs. {found[_SCORES].shape[1]}"
        )
    # A label that is not UTF-8 cannot be in a proto3 string; TF Serving sends it nevertheless.
    labels = [[text.decode(errors="replace") for text in row] for row in found.get(_CLASSES, ())]
    scores = found[_SCORES].tolist() if _SCORES in found else []
    answered = classification_pb2.ClassificationResult()
    for position in range(count):
        columns: dict[str, Iterable[object]] = {}
        if labels:
            columns["label"] = labels[position]
        if scores:
            columns["score"] = scores[position]
        classes = [
            classification_pb2.Class(**dict(zip(columns, values, strict=True)))
            for values in zip(*columns.values(), strict=True)
        ]
        answered.classifications.add(classes=classes)
    return answered


def _checked(alias: str, array: Array, wanted: str, count: int) -> Array:
    if array.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {examples.shape(array)}")
    if examples.dtype(array) != wanted:
        raise invalid(f"Expected {alias} Tensor of {wanted}. Got: {examples.dtype(array)}")
    if len(array) != count:
        raise invalid(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    return array
