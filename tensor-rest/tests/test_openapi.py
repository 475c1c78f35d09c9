"""OpenAPI 3.1: valid, whole, and enough for a generated client to call the running gateway."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import everything
from gateway_kit import HTTP, PROGRAMS, Front, image_file, start_front
from toy_model_server import ModelServer

from tensor_rest.api import openapi

validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is for developers")
METHODS = {"get", "post", "put", "delete"}


@pytest.fixture
def front(watcher: Any, tmp_path: Path) -> Iterator[Front]:
    toy = ModelServer(**everything()).start()
    watcher.document = {
        "models": [{"name": name, "versions": m.versions, "labels": m.labels} for name, m in toy.models.items()]
    }
    url = f"http://127.0.0.1:{watcher.server_port}/"
    running = start_front("uwsgi", tmp_path / "run", toy.address, TF_SERVER_INVENTORY_URL=url)
    yield running
    running.stop()
    toy.stop()


def calls(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method, path) for path, item in document["paths"].items() for method in item.keys() & METHODS}


def test_it_is_valid_and_has_every_operation_of_swagger_and_more(api: Any) -> None:
    old, new = api.get("/tf/swagger.json").json, api.get("/tf/openapi.json").json
    validator.validate(new)
    assert new["openapi"] == "3.1.0"
    assert calls(old) < calls(new)
    left_out = {path for _, path in calls(new) - calls(old)}
    assert "/v1/models/{model}:classify" in left_out
    assert all(path in old["info"]["description"] for path in left_out)


def test_a_model_is_an_example_and_not_a_limit(api: Any) -> None:
    item = api.get("/tf/openapi.json").json["paths"]["/tf/models/{model}/classify"]
    (model,) = [each for each in item["parameters"] if each["name"] == "model"]
    assert model["example"] == "mnist-net"
    assert model["schema"] == {"type": "string"}


def test_each_part_of_swagger_becomes_that_of_openapi() -> None:
    operation = {
        "operationId": "run",
        "consumes": ["multipart/form-data"],
        "parameters": [
            {"name": "limit", "in": "query", "type": "integer", "default": 3, "description": "How many"},
            {"name": "image", "in": "formData", "type": "file", "required": True},
            {"name": "label", "in": "formData", "type": "string", "default": "2"},
        ],
        "responses": {"200": {"description": "Yes", "schema": {"$ref": "#/definitions/Answer"}}},
    }
    answer = {"type": "object", "properties": {"example": {"type": "number", "x-nullable": True, "example": 1}}}
    key = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    swagger = {
        "info": {"title": "t", "version": "1"},
        "paths": {"/run": {"post": operation}},
        "definitions": {"Answer": answer},
        "securityDefinitions": {"key": key},
        "security": [{"key": []}],
    }
    found = openapi.convert(swagger)
    validator.validate(found)
    run = found["paths"]["/run"]["post"]
    integer = {"type": "integer", "default": 3}
    assert run["parameters"] == [{"name": "limit", "in": "query", "description": "How many", "schema": integer}]
    form = run["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["image"] == {"type": "string", "format": "binary"}
    assert form["required"] == ["image"]
    schema = run["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Answer"}
    nullable = {"type": ["number", "null"], "examples": [1]}
    assert found["components"]["schemas"]["Answer"]["properties"]["example"] == nullable
    assert (found["components"]["securitySchemes"], found["security"]) == ({"key": key}, [{"key": []}])


@pytest.mark.skipif(
    importlib.util.find_spec("openapi_python_client") is None, reason="openapi-python-client is for developers"
)
def test_a_generated_client_calls_the_gateway(front: Front, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_bytes(HTTP.get(f"{front.url}/tf/openapi.json").content)
    (tmp_path / "digit.png").write_bytes(image_file(60))
    (tmp_path / "config.yml").write_text("post_hooks: []\n")  # the generated files need not be formatted
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none"]
    options = ["--output-path", "lab_client", "--config", "config.yml", "--fail-on-warning"]
    made = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    program = [sys.executable, str(PROGRAMS / "generated_client_calls.py"), front.url]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "2 0.91",
        "[2.5, 3.0]",
        "True 404",
        "['bare-net', 'half-net', 'mnist-net', 'sums-net']",
        "True",
    ], done.stderr
