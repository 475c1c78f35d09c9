"""Predictions of a served model through the gateway: several images in one request, over one connection."""

import time
import urllib.parse
from typing import Any

from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway, Reply, foreign, form
from tensor_jupyter.inference.prediction import Prediction
from tensor_jupyter.settings import Settings

_SECONDS = 60.0  # timeout of a call; the gateway's own deadline is shorter
_RETRY_TIMEOUT_S = 30.0  # while the gateway is busy, or its model server restarts
_WAIT_SECONDS = 0.5  # at least, between two tries
_BUSY = (429, 502, 503, 504)
_REFUSED = (400, 413, 415)  # the images were rejected


class Served:
    """A model of the lab, its default version unless `version` or `label` names one; `top` labels for each image."""

    def __init__(
        self, settings: Settings, model: str, version: int | None = None, label: str | None = None, top: int = 1
    ) -> None:
        self._gateway = Gateway(settings, _SECONDS)
        self._model = model
        self._path = f"{path_of(model, version, label)}/classify?limit={top}"
        # A model that was just published will be served soon; any other unknown name is an error.
        self._published = (settings.models / model).is_dir()

    def classify(self, images: list[bytes]) -> list[Prediction]:
        """See Classifier."""
        reply = self._send(images)
        if reply.status == 200:
            return predictions(reply, len(images))
        if reply.status not in _REFUSED:
            raise LabError(reply.message)
        if len(images) == 1:
            return [Prediction(self._model, 0, error=reply.message)]
        # Either none can be read, and the reply has the first one's error, or there are too many.
        middle = len(images) // 2
        return self.classify(images[:middle]) + self.classify(images[middle:])

    def _send(self, images: list[bytes]) -> Reply:
        deadline = time.monotonic() + _RETRY_TIMEOUT_S
        retried = (*_BUSY, 404) if self._published else _BUSY
        while True:
            reply = self._gateway.send("POST", self._path, *form(images))
            wait = max(_WAIT_SECONDS, reply.retry_after)
            if reply.status not in retried or time.monotonic() + wait > deadline:
                self._published &= reply.status != 200
                return reply
            time.sleep(wait)


def predictions(reply: Reply, count: int) -> list[Prediction]:
    """The `count` predictions in a reply of `classify`. Raises SilentError when it is not the gateway's."""
    document = reply.document()
    try:
        found = [_prediction({**document, **result}) for result in document["results"]]
    except (LookupError, TypeError, ValueError) as error:
        raise foreign(reply.url, repr(error)) from error
    if len(found) != count:
        raise foreign(reply.url, f"{len(found)} results for {count} images")
    return found


def path_of(model: str, version: int | None = None, label: str | None = None) -> str:
    """/tf/models/<model>, with its version or label. Raises LabError when both are given."""
    if version is not None and label is not None:
        raise LabError("Give --version or --label, not both: a label stands for a version.")
    path = f"/tf/models/{urllib.parse.quote(model, safe='')}"
    if version is not None:
        return f"{path}/versions/{version}"
    return f"{path}/labels/{urllib.parse.quote(label, safe='')}" if label is not None else path


def _prediction(result: dict[str, Any]) -> Prediction:
    """result: an image's result, over the answer's model and version; a rule may have had another model answer."""
    model, version = str(result["model"]), int(result["version"])
    if "error" in result:
        return Prediction(model, version, error=str(result["error"]))
    labels = tuple((str(one["label"]), float(one["score"])) for one in result["labels"])
    if not labels:
        raise ValueError("no labels")
    return Prediction(model, version, labels)
