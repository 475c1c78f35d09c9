"""Sending one sample image through the whole lab, with which `up` shows that it works."""

import urllib.request
from pathlib import Path
from typing import Any

from . import web
from .errors import EngineError, OtherLabError
from .settings import ROOT, Settings
from .waiting import wait_until

_SAMPLES = ROOT / "tensor-rest" / "data" / "mnist"
MODEL = "mnist-net"
DIGIT = 2  # in the sample image


def image() -> Path:
    """Return a shipped image of a handwritten 2."""
    return min(_SAMPLES.glob(f"mnist_{DIGIT}_*.jpg"))


def is_listed(settings: Settings) -> bool:
    """Return whether the shipped model is on the volume, whether it is served yet or not.

    Raises OSError if the gateway does not answer, HTTPError 401 if it requires an API key, and OtherLabError.
    """
    return any(model["name"] == MODEL for model in models(settings))


def served_models(settings: Settings) -> dict[str, list[int]]:
    """Return the versions that can be called now, by model. Raises OSError if the gateway fails, and OtherLabError."""
    found = {
        model["name"]: sorted(each["version"] for each in model["versions"] if each["state"] == "AVAILABLE")
        for model in models(settings)
    }
    return {name: versions for name, versions in found.items() if versions}


def classify(settings: Settings, seconds: float = 60.0) -> list[dict[str, float]]:
    """Send the image to the shipped model as soon as it is served; raises EngineError with the last error."""
    result: list[dict[str, float]] = []
    refusal = "no answer"

    def answered() -> bool:
        nonlocal refusal
        try:
            result[:] = web.fetch_list(request(settings), "classification_result", timeout=10)
        except OSError as error:
            refusal = _text(error)
        return bool(result)

    if not wait_until(answered, seconds, pause=0.2):
        raise EngineError(
            f"all services are up, but {MODEL} does not answer ({refusal}); see the logs of tensor-serving"
        )
    return result


def models(settings: Settings) -> list[dict[str, Any]]:
    """Return what GET /tf/models lists. Raises OSError if the gateway fails, and OtherLabError."""
    _check_ours(settings)
    request = urllib.request.Request(settings.url(settings.ports.rest, "/tf/models"), headers=_key(settings))
    return web.fetch_list(request, "models", timeout=10)


def _check_ours(settings: Settings) -> None:
    """Raise OtherLabError when another lab answers at this one's address: it must not get the API key."""
    gateway = settings.url(settings.ports.rest, "")
    if web.other_lab(gateway, settings.lab_id):
        raise OtherLabError(
            f"another lab answers at {gateway}, where this lab's gateway should be: stop that one, or start this one "
            "on another port with LAB_REST_PORT=PORT bin/compose.sh up"
        )


def _key(settings: Settings) -> dict[str, str]:
    return {"X-API-Key": settings.api_key} if settings.api_key else {}


def request(settings: Settings) -> urllib.request.Request:
    """Return the request that sends the sample image to the shipped model."""
    boundary = "tensor-lab-sample"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{image().name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + image().read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", **_key(settings)}
    return urllib.request.Request(settings.url(settings.ports.rest, f"/tf/mnist/{MODEL}"), body, headers)


def _text(error: OSError) -> str:
    body = error.read().decode(errors="replace") if hasattr(error, "read") else ""
    return body.strip() or str(error)
