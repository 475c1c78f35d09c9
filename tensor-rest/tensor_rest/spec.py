"""The specification (Swagger 2) with every live model in it: concrete paths, typed by the model's signatures."""

import copy
import threading
from typing import Any

import numpy as np

from . import snippets
from .catalogue import Catalogue
from .errors import ApiError, ConflictError, DeadlineError, UnavailableError
from .models import Profile, Profiles, Target
from .wire.serving_pb2 import TensorInfo
from .wire.tensors import WireError, numpy_type, type_name

_MOST_MODELS = 50
_MOST_VALUES = 1024  # of an example written out

Document = dict[str, Any]


class LiveSpecification:
    """`of` a fixed specification makes one with the models served now; made anew only when those change."""

    def __init__(self, catalogue: Catalogue, profiles: Profiles) -> None:
        self._catalogue = catalogue
        self._profiles = profiles
        self._lock = threading.Lock()
        self._made: tuple[list[tuple[str, int]], Document] | None = None

    def of(self, fixed: Document) -> Document:
        """`fixed` with the paths of at most 50 models; those whose signatures cannot be had now are left out."""
        live = self._live()
        state = [(profile.model, profile.version) for profile in live]
        with self._lock:
            if self._made is None or self._made[0] != state:
                self._made = state, _extended(fixed, live)
            return self._made[1]

    def _live(self) -> list[Profile]:
        entries, _ = self._catalogue.entries()
        found = []
        for entry in entries[:_MOST_MODELS]:
            try:
                found.append(self._profiles.read(Target(entry.name)))
            except (UnavailableError, DeadlineError):
                break  # the others would be no better off
            except ApiError:
                continue
        return found


def _extended(fixed: Document, live: list[Profile]) -> Document:
    document = copy.copy(fixed)
    document["paths"] = {**fixed["paths"]}
    document["tags"] = [*fixed.get("tags", [])]
    for profile in live:
        paths = _paths(profile, fixed["paths"])
        if paths:
            document["paths"] |= paths
            description = f"Version {profile.version}: its own calls, typed by its signatures"
            document["tags"].append({"name": profile.model, "description": description})
    return document


def _paths(profile: Profile, fixed: Document) -> Document:
    """The calls of one model, after those of any model in the fixed specification."""
    paths = {}
    base = f"/tf/models/{profile.model}"
    if profile.public():
        paths[f"{base}/predict"] = {"post": _predict(profile, fixed["/tf/models/{model}/predict"]["post"])}
    try:
        profile.vision()
    except ConflictError:
        return paths
    general = fixed["/tf/models/{model}/classify"]["post"]
    paths[f"{base}/classify"] = {"post": _own(profile, general, "classify")}
    return paths


def _own(profile: Profile, general: Document, verb: str) -> Document:
    """A general operation as the model's own."""
    return {**general, "operationId": f"{verb}.{profile.model}", "tags": [profile.model]}


def _predict(profile: Profile, general: Document) -> Document:
    name = profile.public()[0]
    signature = profile.signature(name)
    inputs = _object({alias: schema(info) for alias, info in signature.inputs.items()})
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"signature_name": {"type": "string", "default": name, "enum": [name]}, "inputs": inputs},
    }
    request = snippets.request(profile)
    if len(str(request)) <= _MOST_VALUES * 4:
        body["example"] = {"signature_name": name, **request}
    outputs = _object({alias: schema(info, is_answer=True) for alias, info in signature.outputs.items()})
    answer = {
        "type": "object",
        "required": ["model", "version", "signature", "outputs"],
        "properties": {
            "model": {"type": "string", "enum": [profile.model]},
            "version": {"type": "integer"},
            "signature": {"type": "string"},
            "outputs": outputs,
        },
    }
    others = ", ".join(profile.public()[1:])
    return {
        **_own(profile, general, "predict"),
        "summary": f"Run {name}" + (f" (other signatures, by the general call: {others})" if others else ""),
        "parameters": [{"name": "payload", "in": "body", "required": True, "schema": body}],
        "responses": {**general["responses"], "200": {"description": "What the model answers", "schema": answer}},
    }


def schema(info: TensorInfo, *, is_answer: bool = False) -> Document:
    """A tensor as JSON: nested arrays of its sizes, of numbers in the range of its type."""
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
        return {} if is_answer else {"type": "string"}  # bytes that are no text are {"b64": ...}
    if dtype.kind == "b":
        return {"type": "boolean"}
    if dtype.kind == "f":
        return {"type": "number", **({"x-nullable": True} if is_answer else {})}  # NaN is null
    limits = np.iinfo(dtype)
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}


def _object(properties: Document) -> Document:
    return {"type": "object", "required": sorted(properties), "properties": properties}
