"""Publish existing models: .keras and .h5 files, and SavedModel folders as they are.

No code from a file is run: Lambda layers and custom layers are refused, with a remedy.
"""

import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.card import card
from tensor_jupyter.publishing.default_version import decide, held
from tensor_jupyter.publishing.export import declared, finish, golden, publish_model
from tensor_jupyter.publishing.graph import Graph, Signature
from tensor_jupyter.publishing.independence import declare
from tensor_jupyter.publishing.keras_card import Hints, card_input, image_sizes, input_range, with_scores
from tensor_jupyter.publishing.keras_endpoint import Endpoint
from tensor_jupyter.publishing.keras_file import FILES, load_keras, saved_loss
from tensor_jupyter.publishing.replay import check
from tensor_jupyter.publishing.staging import publish, staging

_log = logging.getLogger(__name__)


def import_model(
    path: Path,
    context: Context,
    labels: Sequence[str] = (),
    data: Dataset | None = None,
    hints: Hints = Hints(),  # noqa: B008 - it never changes
    independent_rows: bool | None = None,
) -> tuple[Path, dict[str, Signature]]:
    """Publish the model at `path`; return its folder in the models volume, and its signatures.

    Args:
        path: A .keras or .h5 file, or the folder of a SavedModel.
        context: The name and the version.
        labels: The names of its scores, for the card.
        data: Its test images become golden samples, and the gate's report is made with them.
        hints: What the model's layers do not declare about its images and scores.
        independent_rows: True or False: the user's declaration; None: as the check finds.

    Raises:
        LabError: For a file that is not a model, cannot be served, or would run code of its own.
    """
    if not path.exists():
        raise LabError(f"{path} is not there.")
    if path.is_dir():
        published = _saved_model(path, context, labels, hints, independent_rows)
    elif path.suffix.lower() in FILES:
        published = _keras_file(path, context, labels, data, hints, independent_rows)
    else:
        raise LabError(f"{path.name} is not a model: give a {', '.join(FILES)} file, or the folder of a SavedModel.")
    decide(published, data, context)
    with Graph(published) as graph:
        return published, graph.signatures


def default_name(path: Path) -> str:
    """A model name made from the file's name: lower case, '-' for characters that are not allowed."""
    stem = path.resolve().name if path.is_dir() else path.stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:63] or "model"


def _saved_model(
    path: Path, context: Context, labels: Sequence[str], hints: Hints, independent_rows: bool | None
) -> Path:
    """Publish a copy of the folder, unchanged but for the card and the declaration of independent rows."""
    if not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        inside = sorted(found.parent for found in path.glob("*/saved_model.pb"))
        hint = f": give {inside[-1]}" if inside else "; wanted is the folder of a SavedModel"
        raise LabError(f"{path} holds no saved_model.pb{hint}.")
    for found in path.rglob("*"):
        if found.is_symlink() or not (found.is_file() or found.is_dir()):
            raise LabError(f"{found} is a link or a device: a model may hold only files and folders.")
    with staging(context.settings.models) as folder:
        shutil.copytree(path, folder)
        independent = declared(check(folder, foreign=True), independent_rows)
        with Graph(folder) as graph:
            theirs = "describe" in graph.signatures
        height, width = hints.size or (None, None)
        given = {"height": height, "width": width, "range": hints.pixels}
        image_input = {key: value for key, value in given.items() if value is not None}
        if labels or image_input or hints.scores or (independent and not theirs):
            about = {"name": "unknown", "command": f"lab import {path.name} --name {context.name}"}
            finish(folder, card(context.name, labels, image_input, {}, about, scores=hints.scores), independent)
        elif independent:
            declare(folder)
        with held(context):
            return publish(folder, context.settings.models, context.name, context.version, exact=context.pinned)


def _keras_file(
    path: Path,
    context: Context,
    labels: Sequence[str],
    data: Dataset | None,
    hints: Hints,
    independent_rows: bool | None,
) -> Path:
    model, loss = load_keras(path), saved_loss(path)
    names = list(labels or (data.labels if data else ()))
    endpoint = Endpoint.of(model)
    found, how = input_range(endpoint, hints)
    pixels = found or None
    samples = golden(endpoint, data=data, pixels=pixels)
    try:
        endpoint, classes, scores = with_scores(endpoint, samples, names, hints, loss, always=True)
    except Exception as error:  # whatever the layers raise
        raise LabError(_no_answer(path, str(error))) from error
    if names and classes not in (None, len(names)):
        hint = ""
        if classes == 1:
            hint = (
                " If it is a logit of the second of two classes, add --scores logits; if it is its probability, "
                "--scores probabilities."
            )
        whose = "" if labels or data is None else f" of {data.name}"
        raise LabError(f"{len(names)} labels{whose} are given for {classes} scores of {path.name}.{hint}")
    if classes:
        _check_range(path, endpoint, found, how)
    if not names and (classes or 0) > 1:
        names = [*map(str, range(classes or 0))]
    made = {"command": f"lab import {path.name} --name {context.name}"}
    about = {**(data.about if data else {"name": "unknown"}), **made}
    image_input = card_input(endpoint, data, hints, pixels)
    document = card(context.name, names, image_input, {}, about, scores=scores)
    return publish_model(endpoint, document, samples, context, independent_rows)


def _no_answer(path: Path, text: str) -> str:
    if "Table not initialized" in text:
        return (
            f"{path.name} does not hold the vocabulary of its text layer, which .h5 files lose: save the model as "
            ".keras, or give the layer its vocabulary when it is made."
        )
    return f"{path.name} cannot be called with made-up inputs of its types and shapes: {' '.join(text.split())[:300]}"


def _check_range(path: Path, endpoint: Endpoint, pixels: str | None, how: str) -> None:
    """Log the pixel range of a classifier. Raises LabError if it needs preprocessing that the file does not hold."""
    if pixels == "":
        raise LabError(
            f"{path.name} holds a {how} without the preprocessing it was trained with, so images would get wrong "
            "answers. Put its preprocess_input in front of it and save the whole, as in x = "
            "keras.applications.resnet50.preprocess_input(inputs); or import it as it is with --range 0..255."
        )
    if pixels:
        _log.log(logging.WARNING if "keras" in how else logging.INFO, "image pixels are given as %s: %s", pixels, how)
    elif image_sizes(endpoint) and next(iter(endpoint.inputs.values())).dtype.name == "float32":
        _log.warning(
            "its layers do not show the range of its pixels: 0..1 is assumed. If it was trained with another one, "
            "import it again with --range 0..255 or --range -1..1"
        )
