"""Disks that are full, and volumes that are read-only, each of a small file system of its own."""

import contextlib
import itertools
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos.scene import FORM, IMAGE, Scene, form
from tests.running import SAMPLES, Answer, Lab, new_lab, request, wait_until

_FOLDERS = {"models": "models", "logs": "logs", "feedback": "feedback", "state": "run"}
_SIZE = "64m"
_IMAGES = itertools.cycle(SAMPLES)


def full(scene: Scene) -> bool:
    """Fill each disk in turn, then all; while the state's disk is full, the gateway is restarted as well."""
    lab = scene.undo.enter_context(_lab_on_small_disks(scene))
    spans = 10.0 if scene.long else 2.0
    met = [_fill(scene, lab, [name], spans) for name in _FOLDERS]
    met.append(_fill(scene, lab, list(_FOLDERS), spans))
    return all(met)


def read_only(scene: Scene) -> bool:
    """Models, logs and feedback at once: predictions go on, feedback is refused with the folder's name."""
    lab = scene.undo.enter_context(_lab_on_small_disks(scene))
    names = ("models", "logs", "feedback")
    with scene.load(20) as load:
        for name in names:
            _mount("-o", "remount,ro", str(lab.home / name))
        try:
            scene.pause(20 if scene.long else 3)
            refused = _feedback(lab)
        finally:
            for name in names:
                _mount("-o", "remount,rw", str(lab.home / name))
        kept = scene.seconds_until(lambda: _feedback(lab).status in (200, 201), 30)
    figures = scene.note_load(load.summary())
    scene.note(feedback_while_read_only=f"{refused.status} {_message(refused)}", feedback_kept_after_s=kept)
    return not figures.failed and refused.status in (503, 507) and kept < 30


@contextmanager
def _lab_on_small_disks(scene: Scene) -> Iterator[Lab]:
    """A started lab whose folders are file systems of their own; it becomes the scene's."""
    with new_lab() as lab, ExitStack() as mounts:
        for folder in _FOLDERS.values():
            place = lab.home / folder
            place.mkdir()
            _mount("-t", "tmpfs", "-o", f"size={_SIZE}", "chaos", str(place))
            mounts.callback(_unmount, place)
        mounts.callback(lab.compose, "down", code=None)
        lab.compose("up")
        scene.given = scene.lab = lab
        wait_until(scene.answers, 60, "an answer")
        yield lab


def _fill(scene: Scene, lab: Lab, names: list[str], seconds: float) -> bool:
    """Predictions go on; feedback and large bodies that cannot be kept are refused with 507; both work again after."""
    label = "all" if len(names) > 1 else names[0]
    with ExitStack() as fillers:
        for name in names:
            fillers.callback(_filled(lab.home / _FOLDERS[name]).unlink)
        with scene.load(20) as load:
            scene.pause(seconds)
            feedback, large = _feedback(lab), _large_body(lab)
        failed = scene.note_load(load.summary(), label).failed
        if "state" in names:
            lab.compose("restart", "tensor-rest", code=None)
            with scene.load(20) as load:
                scene.pause(seconds)
            failed += scene.note_load(load.summary(), f"{label}_after_restart").failed
    again = scene.seconds_until(lambda: _feedback(lab).status in (200, 201) and scene.answers(), 30)
    scene.note(**{f"{label}_feedback": f"{feedback.status} {_message(feedback)}"})
    scene.note(**{f"{label}_large_body": f"{large.status} {_message(large)}", f"{label}_recovered_after_s": again})
    clear = "feedback" not in names or (feedback.status == 507 and "folder 'feedback'" in _message(feedback))
    return not failed and clear and large.status in (200, 507) and again < 30


def _filled(folder: Path) -> Path:
    """A file that takes what is left of a disk."""
    file = folder / "chaos.full"
    with file.open("wb") as open_file:
        with contextlib.suppress(OSError):
            while True:
                open_file.write(bytes(1 << 20))
                open_file.flush()
        with contextlib.suppress(OSError):
            while True:
                os.write(open_file.fileno(), bytes(4096))
    return file


def _feedback(lab: Lab) -> Answer:
    """An image that was not kept before: the same one again would write nothing."""
    return _post(lab, "/tf/models/mnist-net/feedback", _with_label(next(_IMAGES).read_bytes()))


def _large_body(lab: Lab) -> Answer:
    """A body that nginx keeps in a file, of an image that is small for all that."""
    return _post(lab, "/tf/mnist/mnist-net", form(SAMPLES[0].read_bytes() + bytes(1 << 20)))


def _with_label(image: bytes) -> bytes:
    boundary = IMAGE.partition(b"\r\n")[0]
    field = boundary + b'\r\nContent-Disposition: form-data; name="label"\r\n\r\n1\r\n'
    return field + form(image)


def _post(lab: Lab, path: str, body: bytes) -> Answer:
    try:
        return request(urllib.request.Request(lab.url("REST", path), body, FORM))
    except OSError as error:
        return Answer(0, {}, json.dumps({"message": str(error)}).encode())


def _message(answer: Answer) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(answer.json().get("message", ""))[:120]
    return ""


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def _unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)
