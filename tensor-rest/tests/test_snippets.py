"""Calls as text: what the gateway writes down for a person works as it is."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import every_type, everything, half_plus_two
from gateway_kit import HTTP, check_error, image_file, start_front
from toy_model_server import Model, ModelServer, signature

from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.middleware import api_keys


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway over HTTP."""
    toy = ModelServer(**everything(), types_net=every_type(), big_net=_large()).start()
    front = start_front("uwsgi", tmp_path_factory.mktemp("front") / "run", toy.address)
    yield front.url
    front.kill()
    toy.stop()


def _large() -> Model:
    tensors = signature({"x": (pb.DT_FLOAT, [-1, 30, 30])}, {"y": (pb.DT_FLOAT, [-1])})
    return Model(card=None, signatures={"serving_default": tensors}, compute=lambda g: {"y": g["x"].mean(axis=(1, 2))})


@pytest.mark.parametrize("model", ["mnist-net", "half-net", "sums-net", "types-net", "big-net"])
@pytest.mark.parametrize("language", ["python", "curl"])
def test_the_call_a_model_gives_works_as_it_is(running: str, tmp_path: Path, model: str, language: str) -> None:
    text = HTTP.get(f"{running}/tf/models/{model}/client", params={"lang": language}).text
    (tmp_path / "image.png").write_bytes(image_file(60))
    program = [sys.executable, "-c", text, "image.png"] if language == "python" else ["sh", "-c", text]
    environment = {name: item for name, item in os.environ.items() if name != "LAB_REST_URL"}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    wanted = {"mnist-net": "0.91", "half-net": "2.0", "sums-net": "t_bytes", "types-net": "i1", "big-net": "0.0"}
    assert wanted[model] in done.stdout


def test_the_lab_s_own_address_goes_before_the_written_one(api: Any) -> None:
    for language in ("python", "curl"):
        text = api.get(f"/tf/models/half-net/client?lang={language}", headers={"Host": "127.0.0.1:1"}).text
        assert "LAB_REST_URL" in text
        assert "http://127.0.0.1:1" in text
    script = shlex.split(text.replace("${LAB_REST_URL:-http://127.0.0.1:1}", "X"))
    assert json.loads(script[script.index("-d") + 1]) == {"inputs": {"x": [0.0]}}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a gateway that wants a key, and a key."""
    folder = tmp_path_factory.mktemp("locked")
    key, line = api_keys.create("ada")
    (folder / "keys").write_text(f"{line}\n")
    toy = ModelServer(mnist_net=Model(), half_net=half_plus_two()).start()
    front = start_front("uwsgi", folder / "run", toy.address, TENSOR_REST_API_KEYS_FILE=str(folder / "keys"))
    yield front.url, key
    front.kill()
    toy.stop()


@pytest.mark.parametrize("model", ["mnist-net", "half-net"])
@pytest.mark.parametrize("language", ["python", "curl"])
def test_where_keys_are_wanted_the_call_takes_it_from_the_environment(
    locked: tuple[str, str], tmp_path: Path, model: str, language: str
) -> None:
    url, key = locked
    text = HTTP.get(
        f"{url}/tf/models/{model}/client", params={"lang": language}, headers={"Authorization": f"Bearer {key}"}
    ).text
    assert key not in text
    (tmp_path / "image.png").write_bytes(image_file(60))
    program = [sys.executable, "-c", text, "image.png"] if language == "python" else ["sh", "-c", text]
    environment = {name: item for name, item in os.environ.items() if name not in ("LAB_REST_URL", "LAB_API_KEY")}
    for more, works in (({"LAB_API_KEY": key}, True), ({"LAB_API_KEY": "wrong"}, False), ({}, False)):
        done = subprocess.run(program, cwd=tmp_path, env=environment | more, capture_output=True, text=True, timeout=30)
        assert (done.returncode == 0) is works, done.stderr
    assert "LAB_API_KEY" in done.stderr


def test_an_unknown_language_and_an_invalid_host_are_refused(api: Any) -> None:
    check_error(api.get("/tf/models/half-net/client?lang=cobol"), 400, "'cobol'", "python or curl")
    answer = api.get("/tf/models/half-net/client", headers={"Host": '127.0.0.1";reboot;"'})
    assert answer.status_code in (400, 421)
    check_error(api.get("/tf/models/nope/client"), 404, "'nope'")
