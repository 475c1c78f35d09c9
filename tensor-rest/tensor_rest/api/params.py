"""Fills the specification's general operations with what is served: models, versions, labels, and bodies that work.

An operation names in `x-needs` what a model must have for it. Where no served model has it, the operation gets
`x-missing` instead: OpenAPI 3.1 keeps it, for it is part of the API; Swagger UI shows only what can be executed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensor_rest.api import snippets
from tensor_rest.inference.metadata import ModelMetadata

Document = dict[str, Any]

IMAGES = "a model that classifies images"
DIGITS = "a model that classifies images of digits"
TENSORS = "a model whose inputs are short enough to write out here (larger ones are sent as .npy)"
CLASSIFY = "a model with a classify signature"
REGRESS = "a model with a regress signature"
LABEL = "a version with a label; `lab models label` sets one"
FOLDER = "a folder for feedback, TENSOR_REST_FEEDBACK_DIR"
METHODS = ("get", "post", "put")

_MAX_EXAMPLE_CHARS = 20_000
_SAMPLE_LABEL = "2"  # of the image that Swagger UI sends where no file is chosen (static/swagger.js)


@dataclass(frozen=True)
class Served:
    """A served model: the metadata of its default version, all its versions and its labels."""

    metadata: ModelMetadata
    versions: list[int] = field(default_factory=list)
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.metadata.model


def body(metadata: ModelMetadata) -> Document | None:
    """A predict request that the model takes; None if it has no signature, or if the request is too large to show."""
    if not metadata.public():
        return None
    request = snippets.request(metadata)
    return request if len(str(request)) <= _MAX_EXAMPLE_CHARS else None


def fill(document: Document, served: list[Served], default_model: str) -> Document:
    """Return `document` with the served models, versions and labels in its general operations."""
    ordered = sorted(served, key=lambda model: model.name != default_model)
    paths = {path: _filled(path, item, ordered, default_model) for path, item in document["paths"].items()}
    return {**document, "paths": paths}


def executable(document: Document) -> Document:
    """`document` without the operations that no served model can answer; its description names them."""
    paths: Document = {}
    missing: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if "x-missing" in item.get(method, {}):
                missing.setdefault(item[method]["x-missing"], []).append(f"`{method.upper()} {path}`")
        kept = {key: value for key, value in item.items() if key not in METHODS or "x-missing" not in value}
        if kept.keys() & set(METHODS):
            paths[path] = kept
    lines = [f"- {what}: {', '.join(operations)}" for what, operations in missing.items()]
    note = "\n\nNot listed below, because nothing in this lab can answer them now. They need\n\n" if lines else ""
    description = document["info"]["description"] + note + "\n".join(lines)
    return {**document, "info": {**document["info"], "description": description}, "paths": paths}


def _filled(path: str, item: Document, served: list[Served], default_model: str) -> Document:
    needs = next((item[method].get("x-needs") for method in METHODS if method in item), None)
    if needs is None and "{model}" not in path:
        return item
    suits = _SUITS.get(needs)
    suitable = [model for model in served if (suits(model.metadata) if suits else needs is None)]
    if "{model}" not in path:
        suitable = [model for model in suitable if model.name == default_model]
    missing = needs
    if "{label}" in path and suitable:
        suitable, missing = [model for model in suitable if model.labels], LABEL
    filled = {**item}
    for method in [method for method in METHODS if method in item]:
        operation = {key: value for key, value in item[method].items() if key != "x-needs"}
        if suitable:
            operation["parameters"] = [_parameter(each, suitable) for each in operation.get("parameters", [])]
        else:
            operation["x-missing"] = missing or "a served model"
        filled[method] = operation
    if suitable and "parameters" in item:
        filled["parameters"] = [_parameter(each, suitable) for each in item["parameters"]]
    return filled


def _parameter(parameter: Document, suitable: list[Served]) -> Document:
    """Return a parameter with values for the first of the suitable models."""
    first, where, name = suitable[0], parameter["in"], parameter["name"]
    if where == "path" and name == "model":
        return {**parameter, "default": first.name, "enum": [model.name for model in suitable]}
    if where == "path" and name == "version":
        versions = ", ".join(map(str, first.versions or [first.metadata.version]))
        return {
            **parameter,
            "type": "integer",
            "default": first.metadata.version,
            "description": f"Number of a version; model {first.name} has {versions}",
        }
    if where == "path" and name == "label":
        labels = ", ".join(f"{label} ({version})" for label, version in sorted(first.labels.items()))
        return {
            **parameter,
            "default": min(first.labels, key=lambda label: (label != "stable", label)),
            "description": f"Label of a version; model {first.name} has {labels}",
        }
    if where == "formData" and name == "label":
        return {**parameter, "default": _label(first.metadata)}
    if where == "body" and parameter["schema"].get("$ref", "").endswith("/PredictRequest"):
        return {**parameter, "schema": {"allOf": [parameter["schema"]], "example": body(first.metadata)}}
    return parameter


def _label(metadata: ModelMetadata) -> str:
    labels = metadata.card.labels if metadata.card and metadata.card.labels else [_SAMPLE_LABEL]
    return _SAMPLE_LABEL if _SAMPLE_LABEL in labels else labels[0]


def _classifies_digits(metadata: ModelMetadata) -> bool:
    labels: Iterable[str] = metadata.card.labels if metadata.card and metadata.card.labels else ["0"]
    return metadata.classifies() and all(label.isascii() and label.isdigit() for label in labels)


def _has_method(method: str) -> Callable[[ModelMetadata], bool]:
    return lambda metadata: any(signature.method_name.endswith(method) for signature in metadata.signatures.values())


_SUITS: dict[str | None, Callable[[ModelMetadata], bool]] = {
    IMAGES: ModelMetadata.classifies,
    DIGITS: _classifies_digits,
    TENSORS: lambda metadata: body(metadata) is not None,
    CLASSIFY: _has_method("/classify"),
    REGRESS: _has_method("/regress"),
}
