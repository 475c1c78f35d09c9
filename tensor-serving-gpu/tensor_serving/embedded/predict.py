"""What Predict means for a loaded model. Rules and texts are those of the real server."""

from collections.abc import Iterable

from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.dtypes import as_dtype
from tensorflow_serving.apis import predict_pb2

from tensor_serving.embedded.errors import failed_precondition, invalid
from tensor_serving.embedded.runtime import Model
from tensor_serving.embedded.tensors import Array, to_array, write

DEFAULT_SIGNATURE = "serving_default"


def predict(model: Model, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Return the outputs asked for, by alias, and the signature that made them; name and version are the caller's.

    The shape of an input is not compared with the signature's: the graph decides, as in the real server, where
    half_plus_two takes a plain list though its signature says [-1, 1]. Raises ServingError.
    """
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if key not in model.signatures:
        raise failed_precondition(f'Serving signature key "{key}" not found.')
    signature = model.signatures[key]
    feeds = _feeds(signature, request)
    aliases = _aliases(signature, list(request.output_filter))
    fetches = tuple(signature.outputs[alias].name for alias in aliases)
    response = predict_pb2.PredictResponse()
    response.model_spec.signature_name = key
    for alias, value in zip(aliases, model.run(list(feeds), list(feeds.values()), fetches), strict=True):
        write(value, response.outputs[alias])
    return response


def _feeds(signature: meta_graph_pb2.SignatureDef, request: predict_pb2.PredictRequest) -> dict[str, Array]:
    """Return the value of each of the signature's inputs by the name of its tensor, in the order of these names."""
    sent, wanted = request.inputs, signature.inputs
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not signature.defaults):
        extra, missing = sent.keys() - wanted.keys(), wanted.keys() - sent.keys()
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_set(sent)}) != len({_set(wanted)}). Sent extra: {_set(extra)}. "
            f"Missing but required: {_set(missing)}."
        )
    for alias in sorted(wanted):
        if alias not in sent and alias not in signature.defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {wanted[alias].name}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {_set(sent)}, or default input alias set: "
                f"{','.join(sorted(signature.defaults))}"
            )
    if any(alias not in wanted for alias in sent):
        used = ",".join(sorted(sent.keys() & wanted.keys()))
        raise invalid(f"Inputs contains invalid name. Used request inputs: {used}, request input: {_set(sent)[1:-1]}")
    feeds = {}
    for position, alias in enumerate(sorted(wanted, key=lambda alias: wanted[alias].name)):
        proto = sent[alias] if alias in sent else signature.defaults[alias]
        feeds[wanted[alias].name] = _value(alias, position, wanted[alias], proto)
    return feeds


def _value(alias: str, position: int, info: meta_graph_pb2.TensorInfo, proto: tensor_pb2.TensorProto) -> Array:
    if info.WhichOneof("encoding") != "name":
        raise invalid(f"input {alias} is sparse or composite in this signature; only dense tensors are supported")
    value = to_array(alias, proto)
    if proto.dtype != info.dtype:
        raise invalid(f"Expects arg[{position}] to be {_dtype(info.dtype)} but {_dtype(proto.dtype)} is provided")
    return value


def _dtype(number: int) -> str:
    """Return TensorFlow's C++ name of a dtype, which differs from Python's for three of them."""
    name = as_dtype(number).name
    return {"float32": "float", "float64": "double", "float16": "half"}.get(name, str(name))


def _aliases(signature: meta_graph_pb2.SignatureDef, output_filter: list[str]) -> list[str]:
    """Return the outputs to answer; an empty filter means all."""
    for position, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_set(signature.outputs)}."
            )
        if alias in output_filter[:position]:
            raise invalid(f"duplicate output tensor alias: {alias}")
    # One order for one set, so that clients asking in another order use the same prepared call.
    return sorted(output_filter or signature.outputs)


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
