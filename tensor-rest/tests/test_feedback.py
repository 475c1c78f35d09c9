"""Images with their right label: kept as new files, once each, within bounds, at names that are safe."""

import errno
import fcntl
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_kit import client_of, files
from gateway_kit import check_error, image_file
from PIL import Image, PngImagePlugin
from toy_model_server import CARD, Model, ModelServer

from tensor_rest.inference import feedback

TWO, FIVE = image_file(60), image_file(130)
ROUTE = "/tf/models/mnist-net/feedback"

Give = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "feedback"


@pytest.fixture
def give(serves: ModelServer, tmp_path: Path, folder: Path) -> Give:
    """give(image, label) sends feedback to an application that keeps it."""
    client = client_of(serves, tmp_path, feedback_dir=folder)

    def send(data: bytes, label: str | None, path: str = ROUTE, method: str = "POST") -> Any:
        form = files(("x.png", data)) | ({} if label is None else {"label": label})
        return client.open(path, method=method, data=form)

    return send


def kept(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def notes(folder: Path, model: str = "mnist-net") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / model / feedback.INDEX).read_text().splitlines()]


def test_a_sample_is_kept_with_its_label_and_noted(give: Give, folder: Path) -> None:
    answer = give(TWO, "7")
    assert answer.status_code == 201
    assert answer.json == {"model": "mnist-net", "version": 1, "predicted": "2", "label": "7", "stored": True}
    (path,) = kept(folder)
    assert path.startswith("mnist-net/7/")
    (note,) = notes(folder)
    assert note.pop("time").endswith("Z")
    assert note == {
        "file": path.removeprefix("mnist-net/"),
        "model": "mnist-net",
        "version": 1,
        "predicted": "2",
        "label": "7",
    }
    assert [p.name for p in folder.rglob("*.part")] == []


def test_what_is_kept_is_the_image_and_nothing_the_sender_hid_in_it(give: Give, folder: Path) -> None:
    file, hidden = io.BytesIO(), PngImagePlugin.PngInfo()
    hidden.add_text("comment", "<script>")
    Image.new("L", (28, 28), 60).save(file, "PNG", pnginfo=hidden)
    assert give(file.getvalue() + b"more behind the end", "2").status_code == 201
    data = (folder / kept(folder)[0]).read_bytes()
    assert b"script" not in data
    assert b"behind" not in data
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.full((28, 28), 60, np.uint8))


def test_the_same_image_is_kept_once_and_the_last_label_holds(give: Give, folder: Path) -> None:
    assert give(TWO, "7").status_code == 201
    jpeg = image_file(60, kind="BMP")  # other bytes, the same pixels
    for method, data in (("POST", TWO), ("PUT", TWO), ("PUT", jpeg)):
        answer = give(data, "7", method=method)
        assert (answer.status_code, answer.json["stored"]) == (200, False)
    assert give(TWO, "2").status_code == 201
    (path,) = kept(folder)
    assert path.startswith("mnist-net/2/")
    assert [note["label"] for note in notes(folder)] == ["7", "2"]


@pytest.mark.parametrize("label", ["../2", "two", "2 ", "", None, "\x00", "10"])
def test_a_label_the_model_does_not_know_is_refused(give: Give, folder: Path, label: str | None) -> None:
    check_error(give(TWO, label), 400, "label")
    assert not kept(folder)


def test_labels_become_names_that_stay_in_the_folder(give: Give, serves: ModelServer, folder: Path) -> None:
    labels = ["..", ".", "a/b", "", "ä ö", "a%2Fb", ".hidden", "x\n", "y" * 300, "ok"]
    serves.models["odd-net"] = Model(card={**CARD, "labels": labels})
    for number, label in enumerate(labels):
        answer = give(image_file(number), label, "/tf/models/odd-net/feedback")
        assert answer.status_code == {"": 400, "y" * 300: 409}.get(label, 201)
    assert {Path(path).parent.name for path in kept(folder)} == {
        *("%2E.", "%2E", "a%2Fb", "%C3%A4 %C3%B6", "a%252Fb", "%2Ehidden", "x%0A", "ok")
    }
    assert all(len(Path(path).parts) == 3 for path in kept(folder))


def test_no_more_than_the_bounds_are_kept(serves: ModelServer, tmp_path: Path, folder: Path) -> None:
    few = client_of(serves, tmp_path, feedback_dir=folder, feedback_max_samples=2)
    for level in (10, 20):
        assert few.post(ROUTE, data=files(("a", image_file(level))) | {"label": "1"}).status_code == 201
    check_error(few.post(ROUTE, data=files(("a", image_file(30))) | {"label": "1"}), 507, "full", "2 samples")
    assert few.post(ROUTE, data=files(("a", image_file(20))) | {"label": "3"}).status_code == 201  # corrected, not more
    small = client_of(serves, tmp_path, feedback_dir=folder, feedback_max_bytes=10)
    check_error(small.post(ROUTE, data=files(("a", image_file(30))) | {"label": "1"}), 507, "full")
    assert len(kept(folder)) == 2


def test_what_others_remove_frees_space(serves: ModelServer, tmp_path: Path, folder: Path) -> None:
    few = client_of(serves, tmp_path, feedback_dir=folder, feedback_max_samples=2)

    def send(level: int) -> int:
        return int(few.post(ROUTE, data=files(("a", image_file(level))) | {"label": "1"}).status_code)

    assert [send(level) for level in (10, 20, 30)] == [201, 201, 507]
    (folder / kept(folder)[0]).unlink()
    assert [send(level) for level in (40, 50)] == [201, 507]


def test_a_folder_that_another_process_has_locked_is_busy(
    give: Give, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "_LOCK_TIMEOUT_S", 0.1)
    folder.mkdir()
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_error(give(TWO, "2"), 503, "another process")
    assert give(TWO, "2").status_code == 201


def test_a_full_disk_and_a_folder_that_is_not_ours_are_reported(
    give: Give, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(code: int) -> Callable[..., None]:
        def write(*_: Any) -> None:
            raise OSError(code, "said the disk")

        return write

    monkeypatch.setattr(Path, "write_bytes", fails(errno.ENOSPC))
    check_error(give(TWO, "2"), 507, f"the disk of the folder {folder.name!r} is full")
    monkeypatch.setattr(Path, "write_bytes", fails(errno.EACCES))
    check_error(give(TWO, "2"), 503, "TENSOR_REST_FEEDBACK_DIR")
    assert not kept(folder)


def test_a_broken_image_or_an_unknown_model_is_no_sample(give: Give, folder: Path) -> None:
    check_error(give(b"rubbish", "2"), 415, "not an image")
    check_error(give(TWO, "2", "/tf/models/nope/feedback"), 404, "'nope'")
    check_error(give(TWO, "2", "/tf/models/half-net/feedback"), 409, "does not classify")
    assert not kept(folder)


def test_feedback_is_off_unless_a_folder_is_named(api: Any) -> None:
    check_error(api.post(ROUTE, data=files(("a", TWO)) | {"label": "1"}), 409, "TENSOR_REST_FEEDBACK_DIR")


def test_many_at_once_lose_nothing_and_write_whole_lines(give: Give, folder: Path) -> None:
    statuses = []

    def send(first: int) -> None:
        statuses.extend(give(image_file(level), "1").status_code for level in range(first, first + 8))

    threads = [threading.Thread(target=send, args=(first,)) for first in (0, 8, 16, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 8 + [201] * 24
    assert len(kept(folder)) == len(notes(folder)) == 24


def test_corrections_are_counted_since_the_default_version_was_made(
    serves: ModelServer, tmp_path: Path, folder: Path
) -> None:
    """One sample is older than the version, as its date says; one is newer; a card without a date counts both."""
    made = "2020-01-01T00:00:00Z"
    serves.models["dated-net"] = Model(card={**CARD, "created": made})
    serves.models["undated-net"] = Model(card={**CARD, "created": "some day"})
    client = client_of(serves, tmp_path, feedback_dir=folder)
    for model in ("dated-net", "undated-net"):
        route = f"/tf/models/{model}/feedback"
        assert client.get(route).json == {"model": model, "version": 1, "samples": 0, "since_version": 0}
        for image in (TWO, FIVE):
            assert client.post(route, data={**files(("x.png", image)), "label": "7"}).status_code == 201
        old = next((folder / model / "7").glob("*.png"))
        os.utime(old, (0, 1))
        since = {"dated-net": 1, "undated-net": 2}[model]
        assert client.get(route).json == {"model": model, "version": 1, "samples": 2, "since_version": since}
    assert client.get("/tf/models/none/feedback").status_code == 404


def test_corrections_are_not_counted_where_none_are_kept(serves: ModelServer, tmp_path: Path) -> None:
    check_error(client_of(serves, tmp_path).get(ROUTE), 409, "TENSOR_REST_FEEDBACK_DIR")
