"""A working call of a model as text, made from its signature: for a person to paste and change.

LAB_REST_URL overrides the address in it: the same text works in the lab's workbench and outside. The text never
contains an API key; where the gateway requires one, the text reads it from LAB_API_KEY.
"""

import json
import math
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from tensor_rest.backend.protos.serving_pb2 import TensorInfo
from tensor_rest.backend.tensors import type_name
from tensor_rest.errors import ConflictError
from tensor_rest.inference.metadata import SIGNATURE, ModelMetadata

_SHORT = 64  # an example writes out at most this many values
_CURL = "curl -sS --fail-with-body"
_TEXT, _TRUTH, _FLOAT, _WHOLE = '"text"', "False", "0.0", "0"


class GatewayAddress(NamedTuple):
    """The gateway's address, http://host:port, and whether it requires a key."""

    base: str
    keys: bool = False


def python(metadata: ModelMetadata, address: GatewayAddress) -> str:
    """A script for Python's standard library."""
    return _image_script(metadata, address) if metadata.classifies() else _tensor_script(metadata, address)


def curl(metadata: ModelMetadata, address: GatewayAddress) -> str:
    """A line for the shell."""
    start = f'{_CURL} -H "X-API-Key: ${{LAB_API_KEY:?}}"' if address.keys else _CURL
    if metadata.classifies():
        return f'{start} -F image=@image.png "{_shell_url(metadata, address, "classify")}"\n'
    url = f'"{_shell_url(metadata, address, "predict")}"'
    post = f"{start} -H 'Content-Type: application/json' -d"
    if _values(metadata) <= _SHORT:
        return f"{post} {shlex.quote(json.dumps(request(metadata)))} {url}\n"
    script = f"import json; print(json.dumps({_document(metadata)}))"
    return f"python3 -c {shlex.quote(script)} | {post} @- {url}\n"


LANGUAGES: dict[str, Callable[[ModelMetadata, GatewayAddress], str]] = {"python": python, "curl": curl}


def example(info: TensorInfo) -> Any:
    """Return an example value of the tensor's shape: nested lists of zeros or texts, with 1 for each open size."""
    value: Any = {_TEXT: "text", _TRUTH: False, _FLOAT: 0.0, _WHOLE: 0}[_value(info)]
    for size in reversed(_sizes(info)):
        value = [value] * size
    return value


def request(metadata: ModelMetadata) -> dict[str, Any]:
    """Return a predict request by columns that the model accepts."""
    named = {} if _name(metadata) == SIGNATURE else {"signature_name": _name(metadata)}
    return {**named, "inputs": {alias: example(info) for alias, info in _inputs(metadata)}}


def _image_script(metadata: ModelMetadata, address: GatewayAddress) -> str:
    return f'''"""What is in an image? Run it with an image's file name."""

import json
import os
import sys
import urllib.request

base = os.environ.get("LAB_REST_URL", "{address.base}").rstrip("/")
with open(sys.argv[1], "rb") as image:
    request = urllib.request.Request(
        base + "{_path(metadata, "classify")}",
        data=image.read(),
        headers={_headers("application/octet-stream", address)},
    )
with urllib.request.urlopen(request, timeout=10) as answer:
    for best in json.load(answer)["results"][0]["labels"]:
        print(best["label"], best["score"])
'''


def _tensor_script(metadata: ModelMetadata, address: GatewayAddress) -> str:
    return f'''"""Run model {metadata.model} on zeros: put your own numbers in."""

import json
import os
import urllib.request

base = os.environ.get("LAB_REST_URL", "{address.base}").rstrip("/")
document = {_document(metadata)}
request = urllib.request.Request(
    base + "{_path(metadata, "predict")}",
    data=json.dumps(document).encode(),
    headers={_headers("application/json", address)},
)
with urllib.request.urlopen(request, timeout=10) as answer:
    print(json.load(answer)["outputs"])
'''


def _headers(content_type: str, address: GatewayAddress) -> str:
    """The headers of a request as a Python expression."""
    key = ', "X-API-Key": os.environ["LAB_API_KEY"]' if address.keys else ""
    return f'{{"Content-Type": "{content_type}"{key}}}'


def _document(metadata: ModelMetadata) -> str:
    """The request as a Python expression; large tensors as comprehensions."""
    inputs = ", ".join(f"{alias!r}: {_expression(info)}" for alias, info in _inputs(metadata))
    named = "" if _name(metadata) == SIGNATURE else f"'signature_name': {_name(metadata)!r}, "
    return f"{{{named}'inputs': {{{inputs}}}}}"


def _expression(info: TensorInfo) -> str:
    sizes = _sizes(info)
    if math.prod(sizes) <= _SHORT:
        return repr(example(info))
    text = f"[{_value(info)}] * {sizes[-1]}"
    for size in reversed(sizes[:-1]):
        text = f"[{text} for _ in range({size})]"
    return text


def _name(metadata: ModelMetadata) -> str:
    """The default signature, or the first there is. Raises ConflictError where there is none."""
    if not metadata.public():
        raise ConflictError(f"Model {metadata.model!r} version {metadata.version} has no signature to call.")
    return metadata.public()[0]


def _inputs(metadata: ModelMetadata) -> list[tuple[str, TensorInfo]]:
    return sorted(metadata.signature(_name(metadata)).inputs.items())


def _values(metadata: ModelMetadata) -> int:
    return sum(math.prod(_sizes(info)) for _, info in _inputs(metadata))


def _sizes(info: TensorInfo) -> list[int]:
    """Return the shape with 1 for each open size; [1] where the rank is unknown."""
    return [1] if info.tensor_shape.unknown_rank else [max(dim.size, 1) for dim in info.tensor_shape.dim]


def _value(info: TensorInfo) -> str:
    name = type_name(info.dtype)
    if name in ("string", "bool"):
        return _TEXT if name == "string" else _TRUTH
    return _WHOLE if "int" in name else _FLOAT


def _shell_url(metadata: ModelMetadata, address: GatewayAddress, verb: str) -> str:
    return f"${{LAB_REST_URL:-{address.base}}}{_path(metadata, verb)}"


def _path(metadata: ModelMetadata, verb: str) -> str:
    return f"/tf/models/{metadata.model}/{verb}"
