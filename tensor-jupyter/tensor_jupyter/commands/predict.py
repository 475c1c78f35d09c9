"""`lab predict` and `lab label`: classify images."""

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from tensor_jupyter.inference.prediction import Classifier, Prediction

PREDICT_EXAMPLES = """Examples:

  lab predict seven.png

  ls *.jpg | lab predict - --model flowers --top 3

  find . -name '*.png' | lab predict - --json | jq .labels[0]
"""

LABEL_EXAMPLES = """Examples:

  lab retrain --image-dir flowers/ && lab label rose.jpg

  lab label *.jpg | sort -k 2
"""

_DIGITS = 6  # of a score: the precision of float32
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)}

Files = Annotated[
    list[str],
    typer.Argument(
        help="Image files; - reads paths from standard input, one on each line.", metavar="FILE...", show_default=False
    ),
]
Version = Annotated[int | None, typer.Option("--version", min=1, help="This version; else the default version.")]
Label = Annotated[str | None, typer.Option("--label", help="The version under this label, as stable.")]


def predict(
    files: Files,
    model: Annotated[str, typer.Option(help="The model to call.")] = "mnist-net",
    version: Version = None,
    label: Label = None,
    top: Annotated[int, typer.Option(min=1, help="Labels for each image, at most.")] = 1,
    local: Annotated[
        bool, typer.Option("--local", help="Load the model here, from LAB_MODELS; no lab has to run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON document on every line.")] = False,
) -> None:
    """Classify images, one line each, in their order: file, label, score, and more labels with --top.

    Fields are separated by tabs. Files that cannot be read are named on stderr, and the exit code is then 1.
    """
    with errors_in_one_line():
        settings = Settings.read()
        classifier = _classifier(settings, model, version, label, top, local)
        _print(files, classifier, _document if as_json else _fields)


def label(
    files: Files,
    model: Annotated[
        str | None, typer.Option(help="The model to call; else the one that was trained last.", show_default=False)
    ] = None,
    version: Version = None,
) -> None:
    """Print only the label: for one image nothing else, for several file and label, separated by a tab.

    Without --model the served model that was trained last is called, such as one from `lab retrain`.
    """
    with errors_in_one_line():
        settings = Settings.read()
        if model is None:
            from tensor_jupyter.inference.catalogue import trained_last

            model, default = trained_last(settings)
            err.print(f"lab: {model} {version or default} is used, the model trained last; --model names another")
        only = len(files) == 1 and files != ["-"]
        _print(files, _classifier(settings, model, version, None, 1, False), _bare if only else _labelled)


def _classifier(
    settings: Settings, model: str, version: int | None, label: str | None, top: int, local: bool
) -> "Classifier":
    if version is not None and label is not None:
        raise typer.BadParameter("give --version or --label, not both: a label stands for a version.")
    if local:  # imports TensorFlow
        from tensor_jupyter.inference.local import Loaded

        return Loaded(settings, model, version, label, top)
    from tensor_jupyter.inference.remote import Served

    return Served(settings, model, version, label, top)


def _print(files: list[str], classifier: "Classifier", line: "Callable[[str, Prediction], str]") -> None:
    """Print each image's line at once; exit code 1 at the end if one could not be read."""
    from tensor_jupyter.inference import stream

    failed = False
    for found in stream.predictions_of(stream.paths(files), classifier):
        if found.prediction is None:
            failed = True
            _write(sys.stderr, f"lab: {_shown(found.path)}: {found.error}")
        else:
            _write(sys.stdout, line(found.path, found.prediction))
    if failed:
        raise typer.Exit(1)


def _write(stream: TextIO, text: str) -> None:
    """Write a line. File names are written byte for byte, also if they are not valid UTF-8."""
    stream.buffer.write(os.fsencode(text) + b"\n")
    stream.buffer.flush()


def _shown(path: str) -> str:
    """A file's name, with control characters escaped: it must not break the line or field."""
    return path.translate(_CONTROL)


def _fields(path: str, prediction: "Prediction") -> str:
    pairs = (f"{label.translate(_CONTROL)}\t{score:.4f}" for label, score in prediction.labels)
    return "\t".join([_shown(path), *pairs])


def _document(path: str, prediction: "Prediction") -> str:
    labels = [{"label": label, "score": round(score, _DIGITS)} for label, score in prediction.labels]
    return json.dumps({"file": path, "model": prediction.model, "version": prediction.version, "labels": labels})


def _labelled(path: str, prediction: "Prediction") -> str:
    return f"{_shown(path)}\t{_bare(path, prediction)}"


def _bare(path: str, prediction: "Prediction") -> str:  # noqa: ARG001 - one of several ways to write a line
    return prediction.labels[0][0].translate(_CONTROL)
