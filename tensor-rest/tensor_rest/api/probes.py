"""The health paths as the specification shows them; observability/health.py answers them."""

from typing import Any

TAG = {"name": "health", "description": "Whether the gateway and the model server work, and numbers for Prometheus"}


def _status(name: str, **more: Any) -> dict[str, Any]:
    properties = {"status": {"type": "string", "enum": [name]}, **more}
    return {"type": "object", "required": ["status"], "properties": properties}


def paths(errors: dict[str, Any]) -> dict[str, Any]:
    """The path items, in Swagger 2.0; `errors` are the responses of a path that is behind the guard."""
    lab = {"type": "string", "description": "The id of the lab, where it has one"}
    return {
        "/healthz": _probe(
            "healthz",
            "Whether the gateway answers",
            {"200": {"description": "The process answers", "schema": _status("ok", lab=lab)}},
        ),
        "/readyz": _probe(
            "readyz",
            "Whether the model server answers the gateway",
            {
                "200": {"description": "It does", "schema": _status("ready")},
                **{status: errors[status] for status in ("503", "504")},
            },
        ),
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "tags": [TAG["name"]],
                "summary": "Counters and durations in the text format of Prometheus",
                "description": "For callers on this machine or in a private network.",
                "produces": ["text/plain", "application/json"],
                "responses": {
                    "200": {"description": "The metrics"},
                    **{status: errors[status] for status in ("401", "403", "421", "429", "503")},
                },
            }
        },
    }


def _probe(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {
        "get": {"operationId": name, "tags": [TAG["name"]], "summary": summary, "security": [], "responses": responses}
    }
