"""Schemathesis over the gateway's own specification: answers conform to it, and nothing a client sends is a 5xx.

Here over a thousand requests, the same each time; the long run, with a gateway at :8080, is

    python -m schemathesis.cli run http://127.0.0.1:8080/tf/swagger.json -n 200 -w 2 --continue-on-failure -c CHECKS

with CHECKS as below. Left out are those that take a schema for the whole truth: it allows any bytes for a file and both
kinds of body for a prediction, and an empty array is answered by a model that takes one.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import everything
from gateway_kit import Front, needs_nginx, start_front
from toy_model_server import ModelServer

pytestmark = [
    needs_nginx,
    pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="schemathesis is missing"),
]

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance"
)


@pytest.fixture
def front(watcher: Any, tmp_path: Path) -> Iterator[Front]:
    toy = ModelServer(**everything()).start()
    watcher.document = {"models": [{"name": name, "versions": m.versions} for name, m in toy.models.items()]}
    url = f"http://127.0.0.1:{watcher.server_port}/"
    feedback = str(tmp_path / "feedback")
    running = start_front(
        "nginx",
        tmp_path / "run",
        toy.address,
        TF_SERVER_INVENTORY_URL=url,
        TENSOR_REST_FEEDBACK_DIR=feedback,
    )
    yield running
    running.stop()
    toy.stop()


def test_whatever_is_sent_the_answers_are_as_specified(front: Front, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "run", f"{front.url}/tf/swagger.json"]
    # One worker: in CPython 3.11 two threads that parse Python at once, as hypothesis does, may break each other.
    options = ["-n", "5", "-w", "1", "-c", CHECKS, "--phases", "examples,coverage,fuzzing", "--continue-on-failure"]
    same = ["--generation-deterministic", "--no-shrink"]
    done = subprocess.run([*command, *options, *same], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    requests = [line for line in front.log.read_text().splitlines() if "schemathesis" in line]
    assert len(requests) > 1000
    assert "/tf/models/half-net/predict" in done.stdout + "".join(requests)
