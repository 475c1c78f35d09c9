"""The responses to GET: the versions of a model, and its signatures."""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2

from tensor_serving.embedded.servable import Servable


def versions(servables: Iterable[Servable]) -> dict[str, Any]:
    """Return the document of GetModelStatus; a 64-bit number is a string in protobuf's JSON."""
    return {"model_version_status": [_version(servable, servable.error) for servable in servables]}


def metadata(name: str, version: int, signatures: Mapping[str, meta_graph_pb2.SignatureDef]) -> dict[str, Any]:
    """Return the document of GetModelMetadata."""
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": {key: _signature(s) for key, s in signatures.items()}}},
    }


def _version(servable: Servable, error: Any) -> dict[str, Any]:
    return {
        "version": str(servable.version),
        "state": servable.state.name,
        "status": {"error_code": error.code.name if error else "OK", "error_message": error.text if error else ""},
    }


def _signature(signature: meta_graph_pb2.SignatureDef) -> Any:
    return json_format.MessageToDict(
        signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
