"""Models that people have, made into served versions: .keras and .h5 files, and SavedModel folders as they are.

No code out of a file is run: Lambda layers and layers of somebody's own are refused, with a word on what to do.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.card import card
from tensor_jupyter.publishing.default_version import decide, hold
from tensor_jupyter.publishing.describe import add_card
from tensor_jupyter.publishing.export import inputs, publish_model
from tensor_jupyter.publishing.graph import Graph, Signature
from tensor_jupyter.publishing.replay import check
from tensor_jupyter.publishing.staging import publish, staging

GOLDEN_SAMPLES = 4
"""How many made-up requests travel with a Keras model of which no pictures are known."""

_OPEN_SIZE = 8  # where a model leaves a size open, in those requests
_FILES = (".keras", ".h5", ".hdf5")


def import_model(
    path: Path, context: Context, labels: Sequence[str] = (), data: Dataset | None = None
) -> tuple[Path, dict[str, Signature]]:
    """Publish the model at `path`; returns its folder in the models volume, and its signatures.

    labels: the names of its scores, for the card; where there are none, a card is only written for a Keras model. data:
    its test pictures become golden samples, and the gate's report is made with them. Raises LabError for what is no
    model, cannot be served, or would run code of its own.
    """
    if not path.exists():
        raise LabError(f"{path} is not there.")
    if path.is_dir():
        published = _saved_model(path, context, labels)
    elif path.suffix.lower() in _FILES:
        published = _keras_file(path, context, labels, data)
    else:
        raise LabError(f"{path.name} is no model: give a {', '.join(_FILES)} file, or the folder of a SavedModel.")
    decide(published, data, context)
    with Graph(published) as graph:
        return published, graph.signatures


def default_name(path: Path) -> str:
    """What a model is called after its file: lower case, '-' for what a name cannot hold."""
    stem = path.resolve().name if path.is_dir() else path.stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:63] or "model"


def _saved_model(path: Path, context: Context, labels: Sequence[str]) -> Path:
    """Copied file by file, and unchanged but for the card, if labels are given."""
    if not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        inside = sorted(found.parent for found in path.glob("*/saved_model.pb"))
        hint = f": give {inside[-1]}" if inside else "; wanted is the folder of a SavedModel"
        raise LabError(f"{path} holds no saved_model.pb{hint}.")
    for found in path.rglob("*"):
        if found.is_symlink() or not (found.is_file() or found.is_dir()):
            raise LabError(f"{found} is a link or a device, not a file; a model is copied without such.")
    with staging(context.settings.models) as folder:
        shutil.copytree(path, folder)
        if labels:
            add_card(folder, json.dumps(card(context.name, labels, None, {}, {"name": "unknown"})))
        check(folder, foreign=True)
        hold(context)
        return publish(folder, context.settings.models, context.name, context.version, exact=context.pinned)


def _keras_file(path: Path, context: Context, labels: Sequence[str], data: Dataset | None) -> Path:
    model = load_keras(path)
    golden = _golden(model, data)
    first = next(iter(golden.values()))
    picture = None
    if len(golden) == 1 and first.ndim == 4:
        keys = ("height", "width", "channels")
        picture = data.picture.card() if data else dict(zip(keys, first.shape[1:], strict=True))
    classes = model.outputs[0].shape[-1] if len(model.outputs[0].shape) == 2 else None
    names = list(labels or (data.labels if data else ()) or map(str, range(classes or 0)))
    if labels and classes is not None and len(labels) != classes:
        raise LabError(f"{len(labels)} labels are given for {classes} scores of {path.name}.")
    made = {"command": f"lab import {path.name} --name {context.name}"}
    about = {**(data.about if data else {"name": "unknown"}), **made}
    text = json.dumps(card(context.name, names, picture, {}, about))
    return publish_model(model, text, golden, context)


def load_keras(path: Path) -> keras.Model:
    """The model of a .keras or .h5 file, to predict with. Raises LabError; no code out of the file is run."""
    try:
        if path.suffix.lower() != ".keras":
            _refuse_weights(path)
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except LabError:
        raise
    except Exception as error:  # Keras raises whatever the file makes it raise
        raise LabError(_reason(path, str(error))) from error
    if not getattr(model, "built", False) or not getattr(model, "inputs", None):
        raise LabError(f"{path.name} does not say what it takes: build the model, or call it once, before saving it.")
    return model


def _refuse_weights(path: Path) -> None:
    """The commonest .h5 file that is no model."""
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise LabError(
                f"{path.name} holds weights without their network: load them into it, and save the whole model."
            )


def _reason(path: Path, text: str) -> str:
    line = " ".join(text.split())[:300]
    if "ambda" in text:
        return (
            f"{path.name} has a Lambda layer, which is Python code out of a file, and is not run. Replace it by one "
            "of Keras's layers (Rescaling for a scaling), or export the model where it was made with "
            "model.export(folder), and import that folder."
        )
    if "Could not locate" in text or "Unknown layer" in text or "custom_object" in text:
        return (
            f"{path.name} has a layer of its own that only its program knows: export it there with "
            f"model.export(folder), and import that folder. Keras says: {line.split('. ')[0]}."
        )
    return f"{path.name} cannot be read as a Keras model: {line or 'no reason given'}"


def _golden(model: keras.Model, data: Dataset | None) -> dict[str, np.ndarray]:
    """Requests to replay: test pictures where they fit, else random numbers of each input's type and shape."""
    found = {}
    random = np.random.default_rng(0)
    for alias, given in inputs(model).items():
        dtype, sizes = str(given.dtype), tuple(given.shape[1:])
        if data is not None and tuple(data.test.images.shape[1:]) == sizes:
            images = data.test.images[np.linspace(0, len(data.test) - 1, GOLDEN_SAMPLES, dtype=int)]
            found[alias] = images if dtype == "uint8" else images.astype(dtype) / 255  # as the gateway does
        else:
            values = random.random((GOLDEN_SAMPLES, *(size or _OPEN_SIZE for size in sizes)))
            found[alias] = (values * (255 if dtype == "uint8" else 1)).astype(dtype)
    return found
