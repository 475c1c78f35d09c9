"""Predict: translates a request into a Call and outputs into a response, with TF Serving's rules and texts.

    prepare    a request -> the run of the graph for it
    answer     the run's outputs -> the response
    call_for   the same as prepare for inputs that are arrays already

Nothing here waits or runs a graph. The shape of an input is not compared with the signature's: the graph decides, as in
TF Serving, where half_plus_two accepts a plain list although its signature declares [-1, 1].
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from tensor_serving.embedded import dtypes
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError, failed_precondition, invalid
from tensor_serving.embedded.tensors import Array, to_array, write

DEFAULT_SIGNATURE = "serving_default"

Signatures = Mapping[str, meta_graph_pb2.SignatureDef]


def prepare(signatures: Signatures, request: predict_pb2.PredictRequest) -> Call:
    """Return the run of the graph for a request. Raises ServingError when a name in it does not exist."""
    key, plan = _find(signatures, request.model_spec.signature_name)
    sent = request.inputs
    if not plan.takes(sent):
        _check_names(plan.signature, sent)
    values = tuple(
        _checked(position, alias, dtype, sent[alias] if alias in sent else plan.signature.defaults[alias])
        for position, (alias, dtype) in enumerate(plan.inputs)
    )
    return Call(key, plan.feeds, values, _fetches(plan, request.output_filter))


def answer(
    signatures: Signatures, request: predict_pb2.PredictRequest, call: Call, outputs: Sequence[Array]
) -> predict_pb2.PredictResponse:
    """Return the requested outputs by alias and the signature that made them; the caller sets name and version."""
    response = predict_pb2.PredictResponse()
    response.model_spec.signature_name = call.signature
    names = _plan(signatures[call.signature]).outputs
    for alias in request.output_filter or names:
        write(outputs[call.fetches.index(names[alias])], response.outputs[alias])
    return response


def call_for(
    signatures: Signatures, signature_name: str, inputs: Mapping[str, Array], output_filter: Sequence[str] = ()
) -> tuple[Call, dict[str, int]]:
    """Return the run of the graph for these inputs, and where in its outputs each requested alias is found.

    The arrays must have the signature's dtypes. An empty signature name is the default one, an empty filter
    means all outputs. Raises ServingError like prepare().
    """
    key, plan = _find(signatures, signature_name)
    if not plan.takes(inputs):
        _check_names(plan.signature, inputs)
    values = tuple(
        inputs[alias] if alias in inputs else to_array(alias, plan.signature.defaults[alias])
        for alias, _ in plan.inputs
    )
    call = Call(key, plan.feeds, values, _fetches(plan, output_filter))
    return call, {alias: call.fetches.index(plan.outputs[alias]) for alias in output_filter or sorted(plan.outputs)}


@dataclass(frozen=True, slots=True)
class _Plan:
    """A signature in the form that calls need: reading the message itself would cost each call as much as its tensors.

    Inputs are pairs of alias and dtype in the order of their tensors' names, outputs are tensor names by alias.
    """

    signature: meta_graph_pb2.SignatureDef
    inputs: tuple[tuple[str, int], ...]
    feeds: tuple[str, ...]
    outputs: dict[str, str]
    fetches: tuple[str, ...]

    def takes(self, sent: Collection[str]) -> bool:
        """Return whether these are exactly the inputs."""
        return len(sent) == len(self.inputs) and all(alias in sent for alias, _ in self.inputs)


# By the message's id(). Each plan keeps a reference to its message, so that the id is not reused.
_plans: dict[int, _Plan] = {}
_MAX_PLANS = 1000


def _plan(signature: meta_graph_pb2.SignatureDef) -> _Plan:
    plan = _plans.get(id(signature))
    if plan is None:
        by_name = sorted((info.name, alias, info.dtype) for alias, info in signature.inputs.items())
        outputs = {alias: signature.outputs[alias].name for alias in sorted(signature.outputs)}
        feeds = tuple(name for name, _, _ in by_name)
        inputs = tuple((alias, dtype) for _, alias, dtype in by_name)
        plan = _Plan(signature, inputs, feeds, outputs, tuple(sorted(set(outputs.values()))))
        if len(_plans) >= _MAX_PLANS:  # most are of unloaded models; two threads may add one at the same time
            _plans.clear()
        _plans[id(signature)] = plan
    return plan


def _find(signatures: Signatures, name: str) -> tuple[str, _Plan]:
    key = name or DEFAULT_SIGNATURE
    signature = signatures.get(key)
    if signature is None:
        raise failed_precondition(f'Serving signature key "{key}" not found.')
    plan = _plan(signature)
    if "" in plan.feeds:
        raise _sparse("input", next(alias for alias, info in signature.inputs.items() if not info.name))
    return key, plan


def _check_names(signature: meta_graph_pb2.SignatureDef, sent: Collection[str]) -> None:
    """Refuse inputs that are not the signature's; one that is missing may have a default."""
    wanted, defaults = signature.inputs, signature.defaults
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not defaults):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_set(sent)}) != len({_set(wanted)}). Sent extra: {_set(set(sent) - set(wanted))}. "
            f"Missing but required: {_set(set(wanted) - set(sent))}."
        )
    for alias in sorted(wanted):
        if alias not in sent and alias not in defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {wanted[alias].name}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {_set(sent)}, or default input alias set: "
                f"{_list(defaults)}"
            )
    if not set(sent) <= set(wanted):
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {_list(set(sent) & set(wanted))}, "
            f"request input: {_list(sent)}"
        )


def _checked(position: int, alias: str, dtype: int, proto: tensor_pb2.TensorProto) -> Array:
    value = to_array(alias, proto)
    if proto.dtype != dtype:
        raise invalid(f"Expects arg[{position}] to be {dtypes.name(dtype)} but {dtypes.name(proto.dtype)} is provided")
    return value


def _fetches(plan: _Plan, output_filter: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tensors to fetch; an empty filter means all outputs."""
    fetches = plan.fetches
    if output_filter:
        for position, alias in enumerate(output_filter):
            if alias not in plan.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {alias} "
                    f"Outputs expected to be in the set {_set(plan.outputs)}."
                )
            if alias in output_filter[:position]:
                raise invalid(f"duplicate output tensor alias: {alias}")
        # Sorted, so that all orders of the same outputs share one entry.
        fetches = tuple(sorted({plan.outputs[alias] for alias in output_filter}))
    if "" in fetches:
        raise _sparse("output", next(alias for alias in output_filter or plan.outputs if not plan.outputs[alias]))
    return fetches


def _sparse(kind: str, alias: str) -> ServingError:
    return invalid(f"{kind} {alias} is sparse or composite in this signature; only dense tensors are supported")


def _list(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _set(names: Iterable[str]) -> str:
    return f"{{{_list(names)}}}"
