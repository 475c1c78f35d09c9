"""Pictures with the label a person gave them, kept where the workbench can train from them.

    <folder>/<model>/<label>/<sha256 of the pixels>.png     the picture, decoded and written anew
    <folder>/<model>/index.jsonl                            one line per new picture or label: time, file, version,
                                                            predicted, label

A label stands in a path percent-encoded. A picture has one label, the last one given. The folder may be read at any
time: a picture appears by one rename.
"""

import fcntl
import hashlib
import io
import json
import os
import re
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .errors import BadRequestError, ConflictError, FullError, UnavailableError

INDEX = "index.jsonl"
_LONGEST_NAME = 200  # bytes of a label's folder
_LONGEST_INDEX = 64 << 20  # bytes; a label changed to and fro adds a line each time


@dataclass(frozen=True)
class Kept:
    """A sample: its path below the folder, and whether it is new there."""

    path: str
    new: bool


class Feedback:
    """The samples in `folder` (None: none are kept), at most `most_samples` and `most_bytes` of all models."""

    def __init__(self, folder: Path | None, most_samples: int, most_bytes: int) -> None:
        self._folder = folder
        self._most_samples = most_samples
        self._most_bytes = most_bytes

    def folder(self) -> Path:
        """Where samples are kept. Raises ConflictError if they are not."""
        if self._folder is None:
            raise ConflictError("Feedback is not kept here; set TENSOR_REST_FEEDBACK_DIR to a folder to keep it.")
        return self._folder

    def keep(self, picture: Image.Image, model: str, version: int, predicted: str, label: str) -> Kept:
        """Store the picture under `label` and note it. The label is one of the model's: whoever calls has checked.

        Raises FullError when there is no room, UnavailableError when the folder cannot be written.
        """
        folder = self.folder()
        content = _png(picture)
        name = f"{hashlib.sha256(picture.tobytes() + repr((picture.mode, picture.size)).encode()).hexdigest()}.png"
        path = folder / model / _encoded(label) / name
        note = {"model": model, "version": version, "predicted": predicted, "label": label}
        try:
            with _locked(folder):
                return self._stored(folder, path, content, note)
        except OSError as error:
            if error.errno in (28, 122):  # ENOSPC, EDQUOT
                raise FullError("Feedback is not kept: the disk is full.") from error
            raise UnavailableError(
                f"Feedback cannot be kept: {error.strerror}; see TENSOR_REST_FEEDBACK_DIR."
            ) from error

    def _stored(self, folder: Path, path: Path, content: bytes, note: dict[str, object]) -> Kept:
        """With the lock held: the picture, then its line."""
        where = path.relative_to(folder).as_posix()
        if path.exists():
            return Kept(where, new=False)
        others = list(path.parents[1].glob(f"*/{path.name}"))
        self._check_room(folder, len(content), path.parents[1] / INDEX, moved=bool(others))
        _share(path.parents[1])
        _share(path.parent)
        fresh = folder / f".{os.getpid()}.part"
        fresh.write_bytes(content)
        fresh.rename(path)
        for other in others:
            other.unlink(missing_ok=True)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": now, "file": path.relative_to(path.parents[1]).as_posix(), **note})
        with (path.parents[1] / INDEX).open("a", encoding="utf-8") as index:
            index.write(line + "\n")
        return Kept(where, new=True)

    def _check_room(self, folder: Path, size: int, index: Path, *, moved: bool) -> None:
        samples = [file.stat().st_size for file in folder.glob("*/*/*.png")]
        if not moved and (len(samples) >= self._most_samples or sum(samples) + size > self._most_bytes):
            raise FullError(
                f"Feedback is full: {len(samples)} samples of {sum(samples)} bytes are kept; at most "
                f"{self._most_samples} and {self._most_bytes} are (TENSOR_REST_FEEDBACK_MAX_SAMPLES, _MAX_BYTES)."
            )
        if index.exists() and index.stat().st_size > _LONGEST_INDEX:
            raise FullError(f"Feedback is full: {index.name} has over {_LONGEST_INDEX} bytes.")


def _share(folder: Path) -> None:
    """Make a folder in which the group may tidy up: the workbench runs as another user of it."""
    if not folder.exists():
        folder.mkdir()
        folder.chmod(0o2775)


def check_label(label: str, labels: list[str], model: str) -> None:
    """Raise BadRequestError if `label` is none of the model's, ConflictError if it cannot be a folder's name."""
    if label not in labels:
        some = ", ".join(repr(known) for known in labels[:20]) + (", ..." if len(labels) > 20 else "")
        raise BadRequestError(f"{label[:80]!r} is no label of model {model!r}; it knows {some}.")
    if len(_encoded(label)) > _LONGEST_NAME:
        raise ConflictError(f"The label is too long to be kept: {_LONGEST_NAME} bytes, percent-encoded, are the most.")


def _encoded(label: str) -> str:
    """A file name that means this label alone: never empty, hidden, or a way up."""
    return re.sub(r"^\.", "%2E", urllib.parse.quote(label, safe=" ")) or "%"


def _png(picture: Image.Image) -> bytes:
    """A new file of the pixels alone: no metadata, no second frame, nothing else the sender hid in his."""
    file = io.BytesIO()
    Image.frombytes(picture.mode, picture.size, picture.tobytes()).save(file, "PNG")
    return file.getvalue()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time over all workers."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
