"""Broken images, some thousands (`python tests/fuzz.py` does as many as one likes), and small files of large ones."""

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import fuzz
import pytest
from api_kit import client_of, files
from gateway_kit import check_error, image_file
from PIL import Image
from toy_model_server import ModelServer

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # of what is broken

CLASSIFY = "/tf/models/mnist-net/classify"


def zipped(*entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for number, data in enumerate(entries):
            packed.writestr(f"{number}.png", data)
    return file.getvalue()


def test_a_broken_image_is_read_or_refused_with_a_4xx() -> None:
    found, broken, _ = fuzz.run(range(4000), seed=1)
    assert not broken
    assert found["read"] > 500
    assert found["400"] > 1000
    assert set(found) == {"read", "400", "413", "415"}


def test_the_same_through_the_application(api: Any) -> None:
    seeds = fuzz.seeds()
    for number in range(300):
        answer = api.post(CLASSIFY, data=files(("a.png", fuzz.case(number, 2, seeds))))
        if answer.status_code != 200:
            assert answer.status_code in (400, 413, 415), (number, answer.text)
            check_error(answer, answer.status_code)


def test_the_fuzzer_notices_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(data: bytes, *_: object) -> None:
        raise ValueError(len(data))

    monkeypatch.setattr(fuzz, "prepare", prepare)
    assert "ValueError" in fuzz.run(range(1), seed=1)[1][0]


def test_many_large_images_in_a_small_file_end_at_the_deadline(serves: ModelServer, tmp_path: Path) -> None:
    """130 KB of zip are a thousand images of 16 megapixels: minutes of work, and uWSGI would kill the worker."""
    large = io.BytesIO()
    Image.new("L", (4000, 4000)).save(large, "PNG")
    data = zipped(*[large.getvalue()] * 1000)
    assert len(data) < 400_000
    client = client_of(serves, tmp_path, timeout_seconds=0.5)
    for path in (CLASSIFY, f"{CLASSIFY}?explain=1"):
        check_error(client.post(path, data=files(("a.zip", data))), 504, "send less at once")


def test_many_zips_share_one_bound(api: Any) -> None:
    """Each is within it, all together a gigabyte."""
    one = zipped(image_file(60) + random.Random(1).randbytes(60_000) + bytes(9_000_000))
    assert len(one) < 80_000
    part = b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + one + b"\r\n"
    usual = "multipart/form-data; boundary=XX"
    assert api.post(CLASSIFY, data=part + b"--XX--\r\n", content_type=usual).status_code == 200
    answer = api.post(CLASSIFY, data=part * 100 + b"--XX--\r\n", content_type=usual)
    check_error(answer, 413, "of all in a request together")
