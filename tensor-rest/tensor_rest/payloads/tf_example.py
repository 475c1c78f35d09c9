"""tf.Example requests: converts the JSON of TensorFlow Serving's classify and regress calls to messages and back."""

from typing import Any

import numpy as np

from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.errors import BadRequestError
from tensor_rest.payloads.tensor_json import from_base64

_INT64 = range(-(2**63), 2**63)


def read(document: dict[str, Any]) -> pb.Input:
    """Return the `examples`, and the `context` they share. Raises a BadRequestError that names the invalid feature."""
    rows = document.get("examples")
    if not isinstance(rows, list) or not rows:
        raise BadRequestError('"examples" must be a list of at least one object: {feature: value or list of values}.')
    examples = [_example(row) for row in rows]
    if "context" in document:
        context = _example(document["context"])
        return pb.Input(example_list_with_context=pb.ExampleListWithContext(examples=examples, context=context))
    return pb.Input(example_list=pb.ExampleList(examples=examples))


def classes(result: pb.ClassificationResult) -> list[list[list[Any]]]:
    """[[label, score], ...] for each example."""
    return [[[c.label, np.float32(c.score)] for c in item.classes] for item in result.classifications]


def values(result: pb.RegressionResult) -> list[np.float32]:
    """One number for each example."""
    return [np.float32(item.value) for item in result.regressions]


def _example(row: Any) -> pb.Example:
    if not isinstance(row, dict):
        raise BadRequestError("An example must be an object: {feature: value or list of values}.")
    example = pb.Example()
    for name, value in row.items():
        try:
            example.features.feature[name].CopyFrom(_feature(name, value if isinstance(value, list) else [value]))
        except UnicodeEncodeError as error:
            raise BadRequestError(f"Feature {name[:80]!r} has a text that is not Unicode.") from error
    return example


def _feature(name: str, values: list[Any]) -> pb.Feature:
    """Whole numbers and bools are int64, numbers with a fraction float, texts and {"b64": ...} bytes; never mixed."""
    if not values:
        return pb.Feature()
    kinds = {type(value) for value in values}
    if kinds <= {int, bool}:
        if any(value not in _INT64 for value in values):
            raise BadRequestError(f"Feature {name[:80]!r} has a whole number that does not fit int64.")
        return pb.Feature(int64_list=pb.Int64List(value=map(int, values)))
    if kinds == {float}:
        with np.errstate(over="ignore"):  # what is too large for a float becomes infinity
            return pb.Feature(float_list=pb.FloatList(value=np.array(values, np.float32).tolist()))
    if kinds <= {str, dict}:
        return pb.Feature(bytes_list=pb.BytesList(value=[_bytes(name, value) for value in values]))
    raise BadRequestError(
        f"Feature {name[:80]!r} mixes types or has an unsupported one: expected only whole numbers, only numbers with "
        'a fraction, or only texts and {"b64": "..."}.'
    )


def _bytes(name: str, value: Any) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        if value.keys() == {"b64"}:
            return from_base64(value["b64"])
    except (AttributeError, TypeError, ValueError) as error:
        raise BadRequestError(f"Feature {name[:80]!r} has a text or b64 that cannot be read: {error}.") from error
    raise BadRequestError(f'Feature {name[:80]!r} has an object that is not {{"b64": "..."}}.')
