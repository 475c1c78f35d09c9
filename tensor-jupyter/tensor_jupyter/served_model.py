"""A served model for notebooks: its inputs and outputs, and calls of it through the lab's gateway.

model = ServedModel("clothes", version=2)          # waits until that version answers
model                                              # its signatures and labels
model.classify(images)[0]                          # {"Trouser": 0.98, "Dress": 0.01, ...}
model.predict(text=["one", "two"])                 # JSON, by the inputs' names
model.predict_arrays(images=images)["scores"]      # the same as .npz: for many numbers
"""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway, Reply, foreign, form
from tensor_jupyter.inference.catalogue import metadata
from tensor_jupyter.inference.remote import path_of
from tensor_jupyter.publishing import served
from tensor_jupyter.rest import png
from tensor_jupyter.settings import Settings

MAX_IMAGES = 500
"""In one request; more images are sent in several requests."""

_SECONDS = 30.0  # for an answer
_JSON = {"Content-Type": "application/json"}
_NPZ = {"Content-Type": "application/x-npz", "Accept": "application/x-npz"}


class ServedModel:
    """One version of `name`, called through the gateway.

    Without `version`, the default version: `stable`, else the newest. The constructor waits up to `wait` seconds until
    the version is served. Every call raises LabError, with the gateway's message, when the lab does not run, does not
    serve the version, or rejects an input.
    """

    def __init__(
        self, name: str, version: int | None = None, wait: float = 30.0, settings: Settings | None = None
    ) -> None:
        self.name = name
        self._settings = settings or Settings.read()
        self._version = version or None
        seen = served.wait(
            name, self._settings, wait, lambda seen: version in seen.available if version else bool(seen.available)
        )
        stable = seen.labels.get("stable")
        self.version = version or (stable if stable in seen.available else seen.available[-1])

    @property
    def signatures(self) -> dict[str, dict[str, dict[str, str]]]:
        """Each signature's "inputs" and "outputs": tensors by name, such as "uint8 [*, 28, 28, 1]"; * is any size."""
        found = self._metadata()["signatures"]
        return {
            name: {
                side: {alias: _format_tensor(given) for alias, given in one[side].items()}
                for side in ("inputs", "outputs")
            }
            for name, one in sorted(found.items(), key=lambda item: (item[0] != "serving_default", item[0]))
        }

    @property
    def card(self) -> dict[str, Any]:
        """The JSON document that the model carries: labels, metrics, data set, versions; {} if it has none."""
        return dict(self._metadata()["card"])

    def classify(self, images: np.ndarray, limit: int = 3) -> list[dict[str, float]]:
        """Return the `limit` best labels of each image with their scores, best first. Images are sent as PNG files.

        images: uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3].
        """
        found: list[dict[str, float]] = []
        for start in range(0, len(images), MAX_IMAGES):
            body, headers = form([png(image) for image in images[start : start + MAX_IMAGES]])
            reply = self._post(f"/classify?limit={limit}", body, headers)
            for result in reply.document()["results"]:
                if "error" in result:
                    raise LabError(f"{self.name} cannot read image {len(found)}: {result['error']}")
                found.append({each["label"]: each["score"] for each in result["labels"]})
        return found

    def predict(self, **inputs: Any) -> dict[str, Any]:
        """Return the outputs by name, as nested lists. Inputs are sent by name, as TensorFlow Serving's JSON."""
        body = json.dumps({"inputs": inputs}, default=_plain).encode()
        return dict(self._post("/predict", body, _JSON).document()["outputs"])

    def predict_arrays(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name, as arrays. Both directions use .npz: smaller than JSON, and without rounding."""
        buffer = io.BytesIO()
        np.savez(buffer, **inputs)  # type: ignore[arg-type]
        reply = self._post("/predict", buffer.getvalue(), _NPZ)
        try:
            with np.load(io.BytesIO(reply.body), allow_pickle=False) as arrays:
                return dict(arrays)
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise foreign(reply.url, error) from error

    def __repr__(self) -> str:
        lines = [f"{self.name}, version {self.version}"]
        for name, one in self.signatures.items():
            given, answered = (", ".join(f"{alias} {kind}" for alias, kind in side.items()) for side in one.values())
            lines.append(f"  {name}: {given} -> {answered}")
        if labels := self.card.get("labels"):
            lines.append(f"  labels: {', '.join(labels)}")
        return "\n".join(lines)

    def _metadata(self) -> dict[str, Any]:
        with Gateway(self._settings, _SECONDS) as gateway:
            return metadata(gateway, self.name, self._version)

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        with Gateway(self._settings, _SECONDS) as gateway:
            reply = gateway.send("POST", f"{path_of(self.name, self._version)}{path}", body, headers)
        if reply.status != 200:
            raise LabError(reply.message)
        return reply


def _format_tensor(tensor: Mapping[str, Any]) -> str:
    sizes = tensor.get("shape")
    if sizes is None:
        return f"{tensor['dtype']} of any shape"
    return f"{tensor['dtype']} [{', '.join('*' if size < 0 else str(size) for size in sizes)}]"


def _plain(value: Any) -> Any:
    """Convert what JSON cannot represent: arrays and numpy's numbers."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise LabError(f"A {type(value).__name__} cannot be sent as JSON: give numbers, texts, or arrays of them.")
