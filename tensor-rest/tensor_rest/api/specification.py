"""The specification (Swagger 2) with every served model in it: concrete paths, typed by the model's signatures."""

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_rest.api import params
from tensor_rest.api.params import Served
from tensor_rest.backend.protos.serving_pb2 import TensorInfo
from tensor_rest.backend.tensors import BFLOAT16, WireError, numpy_type, type_name
from tensor_rest.errors import ApiError, DeadlineError, UnavailableError
from tensor_rest.inference.catalogue import Catalogue
from tensor_rest.inference.listing import Model
from tensor_rest.inference.metadata import MetadataCache, ModelMetadata, Target
from tensor_rest.runtime import request_context

_MAX_MODELS = 50
_LOOK_SECONDS = 2.0  # for all models together
_LOOK_AGAIN_SECONDS = 1.0

Document = dict[str, Any]


@dataclass(frozen=True)
class _Section:
    """What one version of a model adds to the specification."""

    metadata: ModelMetadata
    paths: Document


class LiveSpecification:
    """A `fixed` specification with the models served now.

    The model server is called only for models whose default version in the inventory differs from the one in the
    document, or is not listed: at most once a second, for at most two seconds, by one thread at a time.
    """

    def __init__(self, catalogue: Catalogue, metadata_cache: MetadataCache, default_model: str) -> None:
        self._catalogue = catalogue
        self._metadata_cache = metadata_cache
        self._default_model = default_model
        self._lock = threading.Lock()
        self._sections: dict[str, _Section] = {}  # by model
        self._listed: dict[str, Model] = {}  # when the document was made
        self._document: Document | None = None
        self._next_look = 0.0

    def of(self, fixed: Document) -> Document:
        """`fixed` with the paths of at most 50 models; those whose signatures could not be read yet are left out."""
        entries, unlisted = self._catalogue.entries()
        served = [entry for entry in entries if entry.default_version or unlisted]
        listed = {entry.name: entry for entry in served[:_MAX_MODELS]}
        if self._lock.acquire(timeout=_LOOK_SECONDS if self._document is None else 0):
            try:
                self._refresh(listed, fixed)
            finally:
                self._lock.release()
        return self._document or params.fill(fixed, [], self._default_model)

    def _refresh(self, listed: dict[str, Model], fixed: Document) -> None:
        known = {name: section.metadata.version for name, section in self._sections.items()}
        expected = {name: entry.default_version for name, entry in listed.items()}
        unknown = [name for name, version in expected.items() if version is None or version != known.get(name)]
        if listed == self._listed and (not unknown or time.monotonic() < self._next_look):
            return
        self._listed = listed
        self._learn(unknown, fixed)
        self._next_look = time.monotonic() + _LOOK_AGAIN_SECONDS
        self._sections = {name: self._sections[name] for name in listed if name in self._sections}
        self._document = self._extended(fixed)

    def _learn(self, models: list[str], fixed: Document) -> None:
        """Read the signatures of these models; known ones are kept while the model server does not answer."""
        by, soon = request_context.current(), time.monotonic() + _LOOK_SECONDS
        request_context.begin(by.request_id, min(by.deadline or soon, soon))
        try:
            for name in models:
                try:
                    metadata = self._metadata_cache.read(self._catalogue.resolve(Target(name)))
                except (UnavailableError, DeadlineError):
                    break  # the calls for the others would fail as well
                except ApiError:
                    self._sections.pop(name, None)
                    continue
                if name not in self._sections or self._sections[name].metadata.version != metadata.version:
                    self._sections[name] = _Section(metadata, _paths(metadata, fixed["paths"]))
        finally:
            request_context.begin(*by)

    def _extended(self, fixed: Document) -> Document:
        served = []
        for name, section in self._sections.items():
            entry = self._listed[name]
            versions = entry.serving or entry.versions
            labels = {label: version for label, version in entry.labels.items() if version in versions}
            served.append(Served(section.metadata, versions, labels))
        document = params.fill(fixed, served, self._default_model)
        document["tags"] = [*fixed.get("tags", [])]
        for name, section in self._sections.items():
            if section.paths:
                document["paths"] |= section.paths
                description = f"Version {section.metadata.version}: its own calls, typed by its signatures"
                document["tags"].append({"name": name, "description": description})
        return document


def _paths(metadata: ModelMetadata, fixed: Document) -> Document:
    """Return the operations of one model, made from the general ones in the fixed specification."""
    paths = {}
    base = f"/tf/models/{metadata.model}"
    if metadata.public():
        paths[f"{base}/predict"] = {"post": _predict(metadata, fixed["/tf/models/{model}/predict"]["post"])}
    if metadata.classifies():
        general = fixed["/tf/models/{model}/classify"]["post"]
        paths[f"{base}/classify"] = {"post": _own(metadata, general, "classify")}
    return paths


def _own(metadata: ModelMetadata, general: Document, verb: str) -> Document:
    """Return a copy of a general operation for one model."""
    own = {key: value for key, value in general.items() if key != "x-needs"}
    return {**own, "operationId": f"{verb}.{metadata.model}", "tags": [metadata.model]}


def _predict(metadata: ModelMetadata, general: Document) -> Document:
    name = metadata.public()[0]
    signature = metadata.signature(name)
    inputs = _object({alias: schema(info) for alias, info in signature.inputs.items()})
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"signature_name": {"type": "string", "default": name, "enum": [name]}, "inputs": inputs},
    }
    request = params.body(metadata)
    if request is not None:
        body["example"] = {"signature_name": name, **request}
    outputs = _object({alias: schema(info, is_answer=True) for alias, info in signature.outputs.items()})
    answer = {
        "type": "object",
        "required": ["model", "version", "signature", "outputs"],
        "properties": {
            "model": {"type": "string", "enum": [metadata.model]},
            "version": {"type": "integer"},
            "signature": {"type": "string"},
            "outputs": outputs,
        },
    }
    others = ", ".join(metadata.public()[1:])
    return {
        **_own(metadata, general, "predict"),
        "summary": f"Run {name}" + (f" (other signatures, by the general call: {others})" if others else ""),
        "parameters": [{"name": "payload", "in": "body", "required": True, "schema": body}],
        "responses": {**general["responses"], "200": {"description": "What the model answers", "schema": answer}},
        **({} if request is not None else {"x-missing": params.TENSORS}),
    }


def schema(info: TensorInfo, *, is_answer: bool = False) -> Document:
    """Return the JSON schema of a tensor: nested arrays of its sizes, with numbers in the range of its dtype."""
    if info.tensor_shape.unknown_rank:
        return {"description": f"{type_name(info.dtype)}, of any shape"}
    found = _value(info, is_answer)
    for dim in reversed(info.tensor_shape.dim):
        found = {"type": "array", "items": found}
        if dim.size >= 0:
            found |= {"minItems": dim.size, "maxItems": dim.size}
        elif not is_answer:
            found["minItems"] = 1
    shape = [dim.size for dim in info.tensor_shape.dim]
    return {**found, "description": f"{type_name(info.dtype)} {shape} (-1: any)"}


def _value(info: TensorInfo, is_answer: bool) -> Document:
    try:
        dtype = numpy_type(info.dtype)
    except WireError:
        return {"description": type_name(info.dtype)}
    if dtype.hasobject:
        return {} if is_answer else {"type": "string"}  # bytes that are not UTF-8 are {"b64": ...}
    if dtype.kind == "b":
        return {"type": "boolean"}
    if dtype.kind == "c":
        return {"description": f"{type_name(info.dtype)}, which JSON cannot hold"}
    if dtype.kind == "f" or dtype == BFLOAT16:
        return {"type": "number", **({"x-nullable": True} if is_answer else {})}  # NaN is null
    limits = np.iinfo(dtype)
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}


def _object(properties: Document) -> Document:
    return {"type": "object", "required": sorted(properties), "properties": properties}
