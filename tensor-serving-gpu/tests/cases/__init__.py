"""The case table of the gRPC API: requests, and what TensorFlow Serving 2.20 answers.

A row is a request in text form and either the whole response or a status with the beginning of its text; the modules
beside this one hold the rows. Here is what they are written with: functions that return parts of requests and responses
as text. The models are those of case_models.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """One row. `gives` is the response in text form, an empty one means any; it is not looked at unless code is OK."""

    name: str
    method: str
    request: str
    gives: str = ""
    code: str = "OK"
    text: str = ""
    own_text: bool = False
    """The text is the embedded server's own, which says more: of another server only the code is compared."""
    ours: str = ""
    """Why the embedded server is stricter or safer here on purpose; the row is skipped against another server."""


def spec(model: str, signature: str = "", version: str = "") -> str:
    """Return a model_spec; the version is a number or a label."""
    fields = [f'name: "{model}"']
    if version:
        fields.append(f"version {{ value: {version} }}" if version.isdigit() else f'version_label: "{version}"')
    if signature:
        fields.append(f'signature_name: "{signature}"')
    return f"model_spec {{ {' '.join(fields)} }}"


def tensor(dtype: str, shape: str, values: str = "") -> str:
    """Return a TensorProto; the shape as in '2 1'."""
    dims = " ".join(f"dim {{ size: {size} }}" for size in shape.split())
    return f"dtype: DT_{dtype} tensor_shape {{ {dims} }} {values}"


def put(alias: str, proto: str) -> str:
    """Return an entry of PredictRequest.inputs."""
    return f'inputs {{ key: "{alias}" value {{ {proto} }} }}'


def got(alias: str, proto: str) -> str:
    """Return an entry of PredictResponse.outputs."""
    return f'outputs {{ key: "{alias}" value {{ {proto} }} }}'


def floats(*numbers: float) -> str:
    """Return numbers as float_val."""
    return f"float_val: [{', '.join(str(number) for number in numbers)}]"


def column(*numbers: float) -> str:
    """Return a float tensor [N, 1]."""
    return tensor("FLOAT", f"{len(numbers)} 1", floats(*numbers))


def row(*numbers: float) -> str:
    """Return a float tensor [N]."""
    return tensor("FLOAT", f"{len(numbers)}", floats(*numbers))


def example(**features: float) -> str:
    """Return the fields of a tf.Example of one float per feature."""
    entries = "".join(
        f'feature {{ key: "{name}" value {{ float_list {{ value: {value} }} }} }}' for name, value in features.items()
    )
    return f"features {{ {entries} }}"


def listed(*examples: str) -> str:
    """Return an Input of examples."""
    return f"input {{ example_list {{ {''.join(f'examples {{ {one} }}' for one in examples)} }} }}"


def with_context(context: str, *examples: str) -> str:
    """Return an Input of examples that share a context."""
    shared = "".join(f"examples {{ {one} }}" for one in examples) + f"context {{ {context} }}"
    return f"input {{ example_list_with_context {{ {shared} }} }}"


def task(kind: str, signature: str, model: str = "half_plus_two") -> str:
    """Return a task of MultiInference."""
    return f'tasks {{ {spec(model, signature)} method_name: "tensorflow/serving/{kind}" }}'


INVALID, MISSING, UNFIT = "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"
