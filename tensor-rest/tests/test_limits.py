"""What holds before anything is decoded, and who gets to work: part by part."""

import gzip
import io
import json
import random
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bombs
import numpy as np
import pytest
from gateway_kit import check_error, image_file, wait_until
from PIL import Image
from toy_model_server import ModelServer

from tensor_rest.app import create_app
from tensor_rest.errors import BadRequestError, UnavailableError
from tensor_rest.images import structure_limits
from tensor_rest.images.decode import decode
from tensor_rest.images.decoding_slot import decoding_slot
from tensor_rest.middleware import api_keys
from tensor_rest.middleware.admission import Admission
from tensor_rest.observability.health import Readiness
from tensor_rest.payloads import json_depth
from tensor_rest.settings import Settings

BMP = image_file(60, (400, 400), "BMP") + random.Random(1).randbytes(3000)  # 164 kB that pack to 4
IN_FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="d"\r\n\r\n%b\r\n--x--\r\n'

# ---- the depth of JSON


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(inner) for inner in value.values()), default=0)
    return 1 + max((depth(inner) for inner in value), default=0) if isinstance(value, list) else 0


def anything(chance: random.Random, level: int = 0) -> Any:
    """JSON of some depth, with brackets and quotes in its strings."""
    kind = chance.randrange(4 if level < 8 else 2)
    if kind == 0:
        return chance.random()
    if kind == 1:
        return "".join(chance.choices('[]{}"\\,: \n\té', k=chance.randrange(12)))
    inner = [anything(chance, level + 1) for _ in range(chance.randrange(4))]
    return inner if kind == 2 else {f'{index}"[': value for index, value in enumerate(inner)}


def test_json_is_as_deep_as_it_is() -> None:
    chance = random.Random(1)
    for _ in range(500):
        value = anything(chance)
        text, deep = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode(), depth(value)
        json_depth.check_json_depth(text, deep)
        if deep:
            with pytest.raises(BadRequestError, match=f"nests {deep} levels"):
                json_depth.check_json_depth(text, deep - 1)


@pytest.mark.parametrize("text", [b"[" * 99, b'{"a":' * 99, b'"\\\\"' + b"[" * 40, b'[{"a":"\\""}]' + b"[" * 40])
def test_json_too_deep_is_refused_though_broken(text: bytes) -> None:
    with pytest.raises(BadRequestError):
        json_depth.check_json_depth(text)


@pytest.mark.parametrize("text", [b"", b"]" * 99, b'"' + b"[" * 99, b'"' + b'\\"[' * 99, b"\xff\x00", b"\\" * 99])
def test_what_is_no_json_is_left_to_the_parser(text: bytes) -> None:
    json_depth.check_json_depth(text)


def test_json_larger_than_a_chunk_is_followed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_depth, "_CHUNK", 7)
    test_json_is_as_deep_as_it_is()


# ---- back-pressure


def test_threads_may_all_be_busy_but_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    admission, now = Admission(4), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    first = [admission.enter(None) for _ in range(4)]
    now[0] += 2
    with pytest.raises(UnavailableError, match="busy"):
        admission.enter(None)
    for ticket in first[:3]:
        admission.leave(ticket)
    others = [admission.enter(None) for _ in range(3)]  # one is stuck, and that is not two
    assert len({first[3], *others}) == 4


def test_requests_that_wait_for_the_model_server_take_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, now = [4], [100.0]
    admission = Admission(4, lambda: waiting[0])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(5):
        admission.enter(None)
    now[0] += 2
    admission.enter(None)
    waiting[0] = 0
    with pytest.raises(UnavailableError, match="busy"):
        admission.enter(None)


def test_a_request_that_waited_too_long_is_refused() -> None:
    admission = Admission(4)
    admission.leave(admission.enter(time.time() - 0.5))
    with pytest.raises(UnavailableError, match="in time"):
        admission.enter(time.time() - 60)


def test_request_is_served_across_a_step_of_the_clock() -> None:
    admission = Admission(4)
    admission.leave(admission.enter(time.time() - 3600))
    admission.leave(admission.enter(time.time() + 3600))


def test_large_images_take_turns_and_small_ones_do_not_wait() -> None:
    most, at_once, lock = [0], [0], threading.Lock()

    def large(_: int) -> None:
        with decoding_slot(4_000_000):
            with lock:
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
            with decoding_slot(784):
                time.sleep(0.01)
            with lock:
                at_once[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(large, range(16)))
    assert most == [1]


# ---- files and bodies


def saved(kind: str, side: int = 200, **options: Any) -> bytes:
    file = io.BytesIO()
    noise = Image.effect_noise((side, side), 90)
    noise.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        saved("PNG", 3000),
        saved("JPEG", 2000, progressive=True),
        saved("JPEG", exif=bytes(60_000), icc_profile=bytes(500_000)),
        saved("GIF", 1500, comment=b"x" * 4000),
        saved("GIF", save_all=True, append_images=[Image.new("L", (200, 200), level) for level in range(60)]),
        saved("WEBP", 1000),
        saved("BMP", 1000),
        b"GIF89a",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=lambda data: f"{data[:4]!r} {len(data)}",
)
def test_usual_files_have_few_pieces(data: bytes) -> None:
    structure_limits.check(data)


def test_exif_beyond_measure_is_refused() -> None:
    data = bombs.png(28, 28, bombs.chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08" + bytes(100_000)), data=bombs.zeros(28 * 29))
    with pytest.raises(BadRequestError, match="EXIF"):
        decode(data, 10_000)


def packed_post(client: Any, body: bytes, encoding: str) -> Any:
    data = body or gzip.compress(IN_FORM % image_file(60))
    headers = {"Content-Encoding": encoding, "Content-Type": "multipart/form-data; boundary=x"}
    return client.post("/predictlabel", data=data, headers=headers)


def test_a_gzip_body_is_unpacked(client: Any) -> None:
    for encoding in ("gzip", "X-GZIP"):
        assert packed_post(client, b"", encoding).json["most_probable_label"] == "2"


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"", "deflate", 415),
        (b"", "gzip, gzip", 415),
        (b"", "br", 415),
        (b"not packed", "gzip", 400),
        (gzip.compress(b"x" * 999)[:-9], "gzip", 400),
        (gzip.compress(b"x" * 999)[:-4] + bytes(4), "gzip", 400),
        (gzip.compress(b"x") * 2, "gzip", 400),
        (gzip.compress(bytes(10 << 20) + b"x"), "gzip", 413),
    ],
)
def test_other_packings_and_broken_ones_are_refused(client: Any, body: bytes, encoding: str, status: int) -> None:
    check_error(packed_post(client, body, encoding), status)


def in_zip(name: str, data: bytes) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, data)
    return file.getvalue()


def npz() -> bytes:
    np.savez_compressed(file := io.BytesIO(), np.full((200, 28, 28, 1), 60, np.uint8))
    return file.getvalue()


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/predictlabel", gzip.compress(IN_FORM % BMP), {"Content-Encoding": "gzip"}),
        ("/tf/models/mnist-net/classify", IN_FORM % in_zip("a.bmp", BMP), {}),
        ("/tf/models/mnist-net/predict", npz(), {"Content-Type": "application/x-npz"}),
    ],
    ids=["gzip", "zip", "npz"],
)
def test_small_body_that_unpacks_to_a_large_one_waits_for_memory(
    server: ModelServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes, headers: dict
) -> None:
    monkeypatch.setattr("tensor_rest.payloads.body_memory._TIMEOUT_S", 0.1)
    few = {"processes": 1, "body_memory_bytes": 3 * 200_000}  # one of these bodies, not two
    app = create_app(Settings(**{**settings.model_dump(), **few}))
    headers = {"Content-Type": "multipart/form-data; boundary=x", **headers}

    def post() -> Any:
        return app.test_client().post(path, data=body, headers=headers)

    assert [post().status_code for _ in range(3)] == [200] * 3  # each releases its memory
    server.hold, server.calls = threading.Event(), []
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(post)
            wait_until(lambda: server.calls)
            check_error(post(), 503, "busy with other large requests")
            server.hold.set()
            assert first.result().status_code == 200
    finally:
        server.hold.set()


# ---- probes


def test_a_storm_of_probes_is_one_look_at_serving(client: Any, server: ModelServer) -> None:
    assert {client.get("/readyz").status_code for _ in range(50)} == {200}
    assert len(server.calls) == 1


def test_probes_do_not_wait_behind_a_look_that_hangs() -> None:
    looks, going, let_go = [], threading.Event(), threading.Event()

    def look() -> None:
        looks.append(1)
        going.set()
        let_go.wait(10)

    readiness = Readiness(look)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(readiness.check)
        assert going.wait(10)
        with pytest.raises(UnavailableError, match="not known yet"):
            readiness.check()
        let_go.set()
        first.result()
    readiness.check()
    assert len(looks) == 1


def test_readiness_follows_serving(client: Any, server: ModelServer) -> None:
    assert client.get("/readyz").status_code == 200
    server.stop()
    wait_until(lambda: client.get("/readyz").status_code == 503, 10)
    check_error(client.get("/readyz"), 503)
    assert client.get("/healthz").status_code == 200
    server.start()
    wait_until(lambda: client.get("/readyz").status_code == 200, 10)


# ---- keys


def test_keys_are_made_once_and_only_their_hash_is_kept() -> None:
    (first, line), (second, _) = api_keys.create("ada"), api_keys.create("ada")
    assert first != second
    assert len(first) > 40
    assert first not in line
    for name in ("", "a b", "a:b", "a\n", "-a", "x" * 64):
        with pytest.raises(ValueError, match="cannot name a key"):
            api_keys.create(name)
