"""Images with the label a person gave them, kept where the workbench can train on them.

    <folder>/<model>/<label>/<sha256 of the pixels>.png     the image, decoded and written anew
    <folder>/<model>/index.jsonl                            one line per new image or label: time, file, version,
                                                            predicted, label

Labels in paths are percent-encoded. An image has one label, the last one given. The folder may be read at any time:
an image's file appears by a rename. All work on files is done in a thread, so a slow disk blocks no other request.
"""

import fcntl
import hashlib
import io
import json
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tensor_rest.errors import BadRequestError, ConflictError, FullError, UnavailableError
from tensor_rest.runtime import offload

INDEX = "index.jsonl"
_MAX_NAME_BYTES = 200  # bytes of a label's folder
_MAX_INDEX_BYTES = 64 << 20  # bytes; a label that is changed back and forth adds a line each time
_LOCK_TIMEOUT_S = 5.0  # to wait for earlier requests, and for the lock of another process
_LOCK_INTERVAL_S = 0.05
_LOCKED = "Feedback cannot be kept now: another process has locked its folder."


@dataclass(frozen=True)
class Kept:
    """A sample: its path below the folder, and whether it is new there."""

    path: str
    new: bool


class Feedback:
    """The samples in `folder` (None: none are kept), at most `max_samples` and `max_bytes` of all models."""

    def __init__(self, folder: Path | None, max_samples: int, max_bytes: int) -> None:
        self._folder = folder
        self._max_samples = max_samples
        self._max_bytes = max_bytes
        self._counts = _Counts()
        self._turn = threading.Lock()  # one request at a time occupies a thread

    def folder(self) -> Path:
        """Return where samples are kept. Raises ConflictError if none are kept."""
        if self._folder is None:
            raise ConflictError("Feedback is not kept here; set TENSOR_REST_FEEDBACK_DIR to a folder to keep it.")
        return self._folder

    def keep(self, image: Image.Image, model: str, version: int, predicted: str, label: str) -> Kept:
        """Store the image under `label`, with a line in the index. The caller has checked that the model has the label.

        Raises FullError when the limit is reached, UnavailableError when the folder cannot be written.
        """
        folder = self.folder()
        content, name = offload.run(_file, image)
        path = folder / model / _encoded(label) / name
        note = {"model": model, "version": version, "predicted": predicted, "label": label}
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        if not self._turn.acquire(timeout=_LOCK_TIMEOUT_S):
            raise UnavailableError(_LOCKED)
        try:
            while (kept := offload.run(self._store, folder, path, content, note)) is None:
                if time.monotonic() > deadline:
                    raise UnavailableError(_LOCKED)
                time.sleep(_LOCK_INTERVAL_S)
            return kept
        except OSError as error:
            if error.errno in (28, 122):  # ENOSPC, EDQUOT
                raise FullError(f"Feedback is not kept: the disk of the folder {folder.name!r} is full.") from error
            raise UnavailableError(
                f"Feedback cannot be kept: {error.strerror}; see TENSOR_REST_FEEDBACK_DIR."
            ) from error
        finally:
            self._turn.release()

    def count(self, model: str, since: float) -> tuple[int, int]:
        """Return how many samples the model has, and how many of them were kept after `since`, seconds of Unix time."""
        return offload.run(_dated, self.folder() / model, since)

    def _store(self, folder: Path, path: Path, content: bytes, note: dict[str, object]) -> Kept | None:
        """In a thread: keep the image; None if another process has the folder's lock."""
        with _locked(folder) as locked:
            return self._stored(folder, path, content, note) if locked else None

    def _stored(self, folder: Path, path: Path, content: bytes, note: dict[str, object]) -> Kept:
        """With the lock held: write the image, then its line in the index."""
        where = path.relative_to(folder).as_posix()
        if path.exists():
            return Kept(where, new=False)
        others = list(path.parents[1].glob(f"*/{path.name}"))
        self._check_space(folder, len(content), path.parents[1] / INDEX, moved=bool(others))
        _share(path.parents[1])
        _share(path.parent)
        fresh = folder / f".{os.getpid()}.part"
        fresh.write_bytes(content)
        fresh.rename(path)
        self._counts.change(path.parent, 1, len(content))
        for other in others:
            size = other.stat().st_size
            other.unlink(missing_ok=True)
            self._counts.change(other.parent, -1, -size)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": now, "file": path.relative_to(path.parents[1]).as_posix(), **note})
        with (path.parents[1] / INDEX).open("a", encoding="utf-8") as index:
            index.write(line + "\n")
        return Kept(where, new=True)

    def _check_space(self, folder: Path, size: int, index: Path, *, moved: bool) -> None:
        samples, size_of_all = self._counts.total(folder)
        if not moved and (samples >= self._max_samples or size_of_all + size > self._max_bytes):
            raise FullError(
                f"Feedback is full: {samples} samples of {size_of_all} bytes are kept; at most "
                f"{self._max_samples} and {self._max_bytes} are (TENSOR_REST_FEEDBACK_MAX_SAMPLES, _MAX_BYTES)."
            )
        if index.exists() and index.stat().st_size > _MAX_INDEX_BYTES:
            raise FullError(f"Feedback is full: {index.name} has over {_MAX_INDEX_BYTES} bytes.")


class _Counts:
    """Number and bytes of the samples, by label's folder; counted again when another process has changed a folder.

    A change by another process at the same time as one of this process may be missed until the next change.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, int]] = {}  # by folder: when it was changed, samples, bytes

    def total(self, folder: Path) -> tuple[int, int]:
        """Samples and bytes of all labels of all models."""
        found = {}
        for model in _folders(folder):
            for label in _folders(model):
                changed = Path(label).stat().st_mtime_ns
                known = self._known.get(label)
                found[label] = known if known and known[0] == changed else (changed, *_counted(label))
        self._known = found
        return sum(count for _, count, _ in found.values()), sum(size for *_, size in found.values())

    def change(self, label: Path, samples: int, size: int) -> None:
        """Record this process's own change of a label's folder."""
        _, count, total = self._known.get(str(label), (0, 0, 0))
        self._known[str(label)] = (label.stat().st_mtime_ns, count + samples, total + size)


def _folders(folder: str | Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.path for entry in entries if entry.is_dir()]


def _counted(label: str) -> tuple[int, int]:
    with os.scandir(label) as entries:
        sizes = [entry.stat().st_size for entry in entries if entry.name.endswith(".png")]
    return len(sizes), sum(sizes)


def _dated(model: Path, since: float) -> tuple[int, int]:
    if not model.is_dir():
        return 0, 0
    samples = new = 0
    for label in _folders(model):
        with os.scandir(label) as entries:
            dates = [entry.stat().st_mtime for entry in entries if entry.name.endswith(".png")]
        samples, new = samples + len(dates), new + sum(date > since for date in dates)
    return samples, new


def _share(folder: Path) -> None:
    """Make a folder whose files its group may delete: the workbench runs as another user of that group."""
    if not folder.exists():
        folder.mkdir()
        folder.chmod(0o2775)


def check_label(label: str, labels: list[str], model: str) -> None:
    """Raise BadRequestError if the model has no such label, ConflictError if it cannot be a folder's name."""
    if label not in labels:
        some = ", ".join(repr(known) for known in labels[:20]) + (", ..." if len(labels) > 20 else "")
        raise BadRequestError(f"{label[:80]!r} is not a label of model {model!r}; its labels are {some}.")
    if len(_encoded(label)) > _MAX_NAME_BYTES:
        raise ConflictError(f"The label is too long: at most {_MAX_NAME_BYTES} bytes, percent-encoded, are kept.")


def _encoded(label: str) -> str:
    """Return a file name that stands for this label only: never empty, hidden or `..`."""
    return re.sub(r"^\.", "%2E", urllib.parse.quote(label, safe=" ")) or "%"


def _file(image: Image.Image) -> tuple[bytes, str]:
    """Return a new PNG file of the pixels alone, without metadata or further frames, and its name."""
    pixels, file = image.tobytes(), io.BytesIO()
    Image.frombytes(image.mode, image.size, pixels).save(file, "PNG")
    return file.getvalue(), f"{hashlib.sha256(pixels + repr((image.mode, image.size)).encode()).hexdigest()}.png"


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Try to lock the folder against other processes; yields whether the lock is held."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
