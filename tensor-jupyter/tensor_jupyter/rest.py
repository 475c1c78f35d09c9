"""One image classified through the gateway, as any client would; for the notebooks and `lab client`."""

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
    """The gateway's answer for one image.

    version: the version that answered. default: the version for requests without one. document: the gateway's JSON.
    """

    version: int
    default: int
    document: dict[str, Any]

    def __str__(self) -> str:
        best = ", ".join(f"{each['label']} ({each['score']:.4f})" for each in self.document["results"][0]["labels"])
        role = "the default" if self.version == self.default else f"not the default, which is version {self.default}"
        return f"version {self.version} answers {best}; it is {role}"


def classify(image: np.ndarray, model: str, version: int | None = None, wait: float = 30.0) -> Answer:
    """Classify an image with the served model; with `version`, as soon as that version is served.

    Args:
        image: uint8 [H, W], [H, W, 1] or [H, W, 3].
        model: Its name.
        version: The number of one version; else the default version answers.
        wait: Seconds, at most, until the model or version is served.

    Raises:
        LabError: The lab does not run, rejects the image, or does not serve the version in time.
    """
    base = f"/tf/models/{urllib.parse.quote(model, safe='')}"
    path = f"{base}/versions/{version}" if version else base
    deadline = time.monotonic() + wait
    with Gateway(Settings.read()) as gateway:
        answered, document = _classified(gateway, path, png(image), wait)
        left = max(0.0, deadline - time.monotonic())
        default = _classified(gateway, base, png(image), left)[0] if version else answered
    return Answer(answered, default, document)


def client(model: str, language: str) -> str:
    """Return code that calls a served model, in "python" or "curl"; the gateway writes it from the model's signature.

    Raises LabError when the lab does not run, or does not serve the model.
    """
    settings = Settings.read()
    path = f"/tf/models/{urllib.parse.quote(model, safe='')}/client?lang={urllib.parse.quote(language)}"
    # The gateway writes the request's Host into the text. It must be an address that works outside the lab as well.
    host = urllib.parse.urlsplit(settings.rest_public_url or settings.rest_url).netloc
    with Gateway(settings) as gateway:
        reply = gateway.send("GET", path, headers={"Host": host})
    if reply.status != 200:
        raise LabError(reply.message)
    return reply.body.decode(errors="replace")


def png(image: np.ndarray) -> bytes:
    """An image as a PNG file. image: uint8 [H, W], [H, W, 1] or [H, W, 3]."""
    buffer = io.BytesIO()
    pixels = np.asarray(image, np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _classified(gateway: Gateway, path: str, image: bytes, wait: float) -> tuple[int, dict[str, Any]]:
    """The version that answered and its document; waits while the model is not loaded or the model server restarts."""
    deadline = time.monotonic() + wait
    while True:
        reply = gateway.send("POST", f"{path}/classify", *form([image]))
        if reply.status == 200:
            try:
                return int(reply.headers["X-Model-Version"]), reply.document()
            except (ValueError, TypeError) as error:
                raise foreign(reply.url, error) from error
        if reply.status not in (404, 502, 503, 504):
            raise LabError(f"{reply.url} rejects the image: {reply.status} {reply.message}")
        if time.monotonic() > deadline:
            raise LabError(
                f"no answer from {reply.url} within {wait:.0f} s: {reply.status} {reply.message} "
                "See the logs of tensor-serving."
            )
        time.sleep(_POLL_SECONDS)
