"""Asking the lab's gateway, as any client on the network would. The standard library is enough."""

import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import numpy as np
from PIL import Image

from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

_BOUNDARY_PREFIX = "tensor-lab-"
_REQUEST_SECONDS = 10.0
_POLL_SECONDS = 0.2
_MAX_ANSWER = 2**20


@dataclass(frozen=True)
class Answer:
    """What the gateway said of one picture: its JSON document, and the model version that answered."""

    version: int
    document: dict[str, Any]


def ask(image: np.ndarray, model: str, version: int | None = None, wait: float = 30.0) -> Answer:
    """POST a picture to /tf/mnist/<model>; with `version`, wait until that one or a later one answers.

    image: uint8 [H, W] or [H, W, 1]. wait: seconds. Raises LabError when the lab does not run, refuses the picture, or
    still serves an older version when the time is over.
    """
    base = Settings.read().rest_url.rstrip("/")
    url = f"{base}/tf/mnist/{urllib.parse.quote(model)}"
    deadline = time.monotonic() + wait
    while True:
        found = _post(url, _png(image))
        if isinstance(found, Answer) and found.version >= (version or 0):
            return found
        if time.monotonic() > deadline:
            said = f"version {found.version}" if isinstance(found, Answer) else found
            wanted = f"version {version}" if version else "an answer"
            raise LabError(
                f"{url} says {said} after {wait:.0f} s; {wanted} was wanted. See the logs of tensor-serving."
            )
        time.sleep(_POLL_SECONDS)


def client(model: str, language: str) -> str:
    """A working call of a served model as text, "python" or "curl", made by the gateway from the model's signature.

    Raises LabError when the lab does not run, or does not serve the model.
    """
    settings = Settings.read()
    base = settings.rest_url.rstrip("/")
    url = f"{base}/tf/models/{urllib.parse.quote(model, safe='')}/client?lang={urllib.parse.quote(language)}"
    # The gateway writes the address it was asked under; a call is pasted outside as well.
    host = urllib.parse.urlsplit(settings.rest_public_url or base).netloc
    try:
        request = urllib.request.Request(url, headers={"Host": host})
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as response:
            return str(response.read(_MAX_ANSWER).decode())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(_MAX_ANSWER).decode(errors="replace")
        raise LabError(_message(text) or f"{url} says {error.code}.") from error
    except (OSError, HTTPException) as error:
        raise _silent(url, error) from error


def _message(text: str) -> str:
    """The gateway's own words in an error answer, "" if there are none."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, LookupError, TypeError):
        return ""


def _silent(url: str, error: Exception) -> LabError:
    reason = getattr(error, "reason", error)
    return LabError(
        f"The lab does not answer at {url} ({reason}): start it with ./bin/compose.sh up, "
        "or set LAB_REST_URL to where it runs."
    )


def _post(url: str, picture: bytes) -> Answer | str:
    """The answer, or why there is none yet: the model is not loaded, or the server behind the gateway restarts."""
    boundary = _BOUNDARY_PREFIX + uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="digit.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    body = head.encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(url, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as response:
            return Answer(int(response.headers["X-Model-Version"]), json.loads(response.read(_MAX_ANSWER)))
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(500).decode(errors="replace").strip()
        if error.code in (404, 502, 503, 504):
            return f"{error.code} {text}"
        raise LabError(f"{url} refuses the picture: {error.code} {text}") from error
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise _silent(url, error) from error
    except (HTTPException, ValueError, TypeError) as error:
        raise LabError(f"{url} does not answer as the lab's gateway does: {error}; check LAB_REST_URL.") from error


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image, np.uint8).reshape(image.shape[:2])).save(buffer, "PNG")
    return buffer.getvalue()
