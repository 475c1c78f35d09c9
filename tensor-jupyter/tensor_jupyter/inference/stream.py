"""Classify image files in order; paths that have arrived so far are sent in one request, without waiting for others."""

import os
import select
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tensor_jupyter.data.image_files import MAX_BYTES
from tensor_jupyter.inference.prediction import Classifier, Prediction

_MAX_IMAGES = 32  # images in one request, at most
_MAX_REQUEST_BYTES = 8 * 2**20  # bytes in one request, at most, unless one image has more
_READ = 2**16


@dataclass(frozen=True)
class FilePrediction:
    """A file's path, as it was given, and its prediction, or why there is none."""

    path: str
    prediction: Prediction | None
    error: str = ""


def paths(words: Iterable[str], stdin: int = 0) -> Iterator[str | None]:
    """Yield the paths in `words`; for `-`, those on the lines of file descriptor `stdin`. None: no further one yet."""
    for word in words:
        if word == "-":
            yield from _lines(stdin)
        else:
            yield word


def predictions_of(found: Iterable[str | None], classifier: Classifier) -> Iterator[FilePrediction]:
    """Yield the prediction of `classifier` for each file. None among the paths: send those before it now.

    Raises LabError when the model itself cannot answer.
    """
    waiting: list[tuple[str, bytes | str]] = []
    size = 0
    for path in found:
        if path is None:
            yield from _predicted(waiting, classifier)
            waiting, size = [], 0
            continue
        content = _content(path)
        length = len(content) if isinstance(content, bytes) else 0
        if waiting and (len(waiting) == _MAX_IMAGES or size + length > _MAX_REQUEST_BYTES):
            yield from _predicted(waiting, classifier)
            waiting, size = [], 0
        waiting.append((path, content))
        size += length
    yield from _predicted(waiting, classifier)


def _predicted(files: list[tuple[str, bytes | str]], classifier: Classifier) -> Iterator[FilePrediction]:
    images = [content for _, content in files if isinstance(content, bytes)]
    predictions = iter(classifier.classify(images) if images else [])
    for path, content in files:
        if isinstance(content, str):
            yield FilePrediction(path, None, content)
            continue
        prediction = next(predictions)
        yield FilePrediction(path, None, prediction.error) if prediction.error else FilePrediction(path, prediction)


def _content(path: str) -> bytes | str:
    """The file's bytes, or why it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a Path would change the spelling, as of a//b
            return "it is not a file"
        with open(path, "rb") as file:  # noqa: PTH123
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if not content:
        return "it is empty"
    return content if len(content) <= MAX_BYTES else f"it has more than {MAX_BYTES} bytes"


def _lines(stdin: int) -> Iterator[str | None]:
    """Each line that is not empty; None whenever reading the next one would block."""
    left = b""
    while True:
        if not select.select([stdin], [], [], 0)[0]:
            yield None
        chunk = os.read(stdin, _READ)
        *lines, left = (left + chunk).split(b"\n")
        if not chunk and left:  # the last line may lack its end
            lines, left = [left], b""
        yield from (os.fsdecode(line.removesuffix(b"\r")) for line in lines if line.strip())
        if not chunk:
            return
