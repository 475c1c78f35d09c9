"""Asking the gateway about one picture, as any client on the network would; for the notebooks and `lab client`."""

import io
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway, foreign, form
from tensor_jupyter.settings import Settings

_POLL_SECONDS = 0.2


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
    path = f"/tf/mnist/{urllib.parse.quote(model, safe='')}"
    deadline = time.monotonic() + wait
    with Gateway(Settings.read()) as gateway:
        while True:
            found = _post(gateway, path, png(image))
            if isinstance(found, Answer) and found.version >= (version or 0):
                return found
            if time.monotonic() > deadline:
                said = f"version {found.version}" if isinstance(found, Answer) else found
                wanted = f"version {version}" if version else "an answer"
                raise LabError(
                    f"{gateway.base}{path} says {said} after {wait:.0f} s; {wanted} was wanted. "
                    "See the logs of tensor-serving."
                )
            time.sleep(_POLL_SECONDS)


def client(model: str, language: str) -> str:
    """A working call of a served model as text, "python" or "curl", made by the gateway from the model's signature.

    Raises LabError when the lab does not run, or does not serve the model.
    """
    settings = Settings.read()
    path = f"/tf/models/{urllib.parse.quote(model, safe='')}/client?lang={urllib.parse.quote(language)}"
    # The gateway writes the address it was asked under; a call is pasted outside as well.
    host = urllib.parse.urlsplit(settings.rest_public_url or settings.rest_url).netloc
    with Gateway(settings) as gateway:
        reply = gateway.send("GET", path, headers={"Host": host})
    if reply.status != 200:
        raise LabError(reply.message)
    return reply.body.decode(errors="replace")


def png(image: np.ndarray) -> bytes:
    """A picture as a PNG file. image: uint8 [H, W], [H, W, 1] or [H, W, 3]."""
    buffer = io.BytesIO()
    pixels = np.asarray(image, np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _post(gateway: Gateway, path: str, picture: bytes) -> Answer | str:
    """The answer, or why there is none yet: the model is not loaded, or the server behind the gateway restarts."""
    reply = gateway.send("POST", path, *form([picture]))
    if reply.status in (404, 502, 503, 504):
        return f"{reply.status} {reply.message}"
    if reply.status != 200:
        raise LabError(f"{reply.url} refuses the picture: {reply.status} {reply.message}")
    try:
        return Answer(int(reply.headers["X-Model-Version"]), reply.document())
    except (ValueError, TypeError) as error:
        raise foreign(reply.url, error) from error
