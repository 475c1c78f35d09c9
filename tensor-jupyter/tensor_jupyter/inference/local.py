"""Predictions of a version that is loaded into this process, from its graph; no lab has to run."""

import numpy as np

from tensor_jupyter.data import image_files as files
from tensor_jupyter.data.dataset import ImageSpec
from tensor_jupyter.errors import LabError
from tensor_jupyter.inference.prediction import Prediction
from tensor_jupyter.publishing.graph import DEFAULT, Graph, Signature
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.settings import Settings


class Loaded:
    """A version in the models volume: of `version` or `label`, else the default one; `top` labels for each image.

    Images are preprocessed as the model's card specifies, as in the gateway. Raises LabError when there is no such
    version, or it does not classify images.
    """

    def __init__(
        self, settings: Settings, model: str, version: int | None = None, label: str | None = None, top: int = 1
    ) -> None:
        registry = Registry(settings.models, model)
        self._model, self._top = model, top
        self._version = _chosen(registry, version, label)
        self._graph = Graph(registry.folder(self._version))
        card = self._graph.card() or {}
        self._labels = [str(name) for name in card.get("labels") or ()]
        signature = self._graph.signatures.get(DEFAULT)
        whose = f"{model} {self._version} does not classify images"
        if signature is None:
            raise LabError(f"{whose}: it has no signature {DEFAULT}.")
        self._input, self._output = _aliases(signature, whose)
        taken = signature.inputs[self._input]
        self._sizes = taken.shape or ()
        self._floats = taken.dtype == "float32"
        self._range = (card.get("input") or {}).get("range") or ("0..1" if self._floats else "0..255")
        self._logits = card.get("scores", "logits" if "logits" in self._output.lower() else "") == "logits"
        self._form = _form(self._sizes, card.get("input") or {}, whose)

    def classify(self, images: list[bytes]) -> list[Prediction]:
        """See Classifier."""
        read = [self._read(content) for content in images]
        decoded = [one for one in read if not isinstance(one, str)]
        rankings = iter(self._rankings(np.stack(decoded)) if decoded else [])
        return [
            Prediction(self._model, self._version, error=one)
            if isinstance(one, str)
            else Prediction(self._model, self._version, next(rankings))
            for one in read
        ]

    def _read(self, content: bytes) -> np.ndarray | str:
        try:
            return files.read(content, self._form)
        except files.UnreadableError as error:
            return f"{error}."

    def _rankings(self, images: np.ndarray) -> list[tuple[tuple[str, float], ...]]:
        rows = images[..., 0] if len(self._sizes) == 3 else images
        given = _levels(rows, self._range) if self._floats else rows
        parts = np.split(given, len(given)) if self._sizes[0] == 1 else [given]
        scores = np.concatenate([self._graph.run(DEFAULT, {self._input: part})[self._output] for part in parts])
        if scores.ndim != 2 or len(scores) != len(images):
            raise LabError(
                f"{self._model} {self._version} answers scores of shape {scores.shape}, not a row for each image."
            )
        if self._logits:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = powers / powers.sum(axis=1, keepdims=True)
        labels = self._labels or [str(number) for number in range(scores.shape[1])]
        if len(labels) != scores.shape[1]:
            raise LabError(f"{self._model} {self._version} has {len(labels)} labels for {scores.shape[1]} scores.")
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self._top].tolist()
        return [tuple((labels[i], float(row[i])) for i in order) for order, row in zip(best, scores, strict=True)]


def _levels(rows: np.ndarray, wanted: str) -> np.ndarray:
    """uint8 as float32 in the range that the card names."""
    levels: np.ndarray = rows.astype(np.float32)
    if wanted == "0..1":
        levels /= np.float32(255)
    elif wanted == "-1..1":
        levels = levels / np.float32(127.5) - np.float32(1)
    return levels


def _chosen(registry: Registry, version: int | None, label: str | None) -> int:
    """Return the version that the gateway would call: of `version` or `label`, else the default one."""
    if version is not None and label is not None:
        raise LabError("Give --version or --label, not both: a label stands for a version.")
    if version is not None:
        return version
    conf, there = registry.settings(), registry.numbers()
    if label is None:
        return conf.default(there) or max(there, default=0)
    if label not in conf.labels:
        raise LabError(f"{registry.name} has no label {label!r}; there are: {', '.join(conf.labels) or 'none'}.")
    return conf.labels[label]


def _aliases(signature: Signature, whose: str) -> tuple[str, str]:
    """The input that takes images and the output with the scores."""
    inputs = [
        alias
        for alias, tensor in signature.inputs.items()
        if tensor.dtype in ("uint8", "float32") and len(tensor.shape or ()) in (3, 4)
    ]
    outputs = [
        alias
        for alias, tensor in signature.outputs.items()
        if tensor.dtype == "float32" and len(tensor.shape or ()) == 2
    ]
    if "scores" in outputs:
        outputs = ["scores"]
    if len(inputs) != 1 or len(signature.inputs) != 1 or len(outputs) != 1:
        raise LabError(
            f"{whose}: expected one input of uint8 or float32 [N,H,W,C] and an output scores of float32 [N,classes]."
        )
    return inputs[0], outputs[0]


def _form(sizes: tuple[int, ...], given: dict[str, object], whose: str) -> ImageSpec:
    """Return the form that images are converted to: sizes that the signature leaves open are taken from the card."""
    _, height, width, channels = (*sizes, 1)[:4]
    try:
        known = {key: value for key, value in given.items() if value is not None and key != "range"}
        named = ImageSpec(**{"height": -1, "width": -1, "channels": -1, **known})  # type: ignore[arg-type]
    except TypeError as error:
        raise LabError(f"{whose}: `input` of its card is not valid ({error}).") from error
    form = ImageSpec(
        height if height > 0 else named.height,
        width if width > 0 else named.width,
        channels if channels > 0 else max(1, named.channels),
        named.polarity,
        named.centering,
    )
    if min(form.height, form.width) < 1 or form.channels not in (1, 3):
        raise LabError(f"{whose}: their size and channels are neither in its signature nor in its card.")
    return form
