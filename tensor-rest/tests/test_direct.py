"""GET /tf/route: the way to a model server with a version, and a token of the contract's form; off without a key."""

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import client_of, everything
from gateway_kit import check_error, unused_address
from pydantic import ValidationError
from toy_model_server import ModelServer

from tensor_rest.app import create_app
from tensor_rest.inference.direct_routes import TOKEN_SECONDS, make_token
from tensor_rest.settings import Settings

CONTRACT = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
KEY, TOKEN = re.findall(r"^(?:key|token) += (\S+)$", CONTRACT, re.MULTILINE)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "route.key"
    file.write_text(f"{KEY}\n")
    return file


@pytest.fixture
def server() -> Iterator[ModelServer]:
    started = ModelServer(**everything()).start()
    yield started
    started.stop()


@pytest.fixture
def client(server: ModelServer, key: Path, tmp_path: Path) -> Any:
    return client_of(server, tmp_path / "run", route_key_file=key, route_port=9001)


def test_the_token_of_the_contract_is_made() -> None:
    assert make_token(KEY.encode(), "mnist-net", 4102444800) == TOKEN


def test_a_route_names_a_model_server_the_version_and_a_token(client: Any, server: ModelServer) -> None:
    for query in ("model=mnist-net", "model=mnist-net&version=1", "model=mnist-net&label=stable"):
        answer = client.get(f"/tf/route?{query}")
        assert answer.status_code == 200
        found = answer.json
        token = found.pop("token")
        host = server.address.rpartition(":")[0]
        expected = {"endpoint": f"{host}:9001", "model": "mnist-net", "version": 1, "expires_in": TOKEN_SECONDS}
        assert found == expected
        payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert payload["model"] == "mnist-net"
        assert 0 < payload["expires"] - time.time() <= TOKEN_SECONDS
        assert token == make_token(KEY.encode(), "mnist-net", payload["expires"])
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Model-Version"] == "1"


def test_the_routes_name_every_model_server(server: ModelServer, key: Path, tmp_path: Path) -> None:
    other = ModelServer(**everything()).start()
    both = f"ipv4:{server.address},{other.address.replace('127.0.0.1', '127.0.0.2')}"
    settings = Settings(server=both, inventory_url=unused_address(), run_dir=tmp_path / "run", route_key_file=key)
    client = create_app(settings).test_client()
    found = {client.get("/tf/route?model=mnist-net").json["endpoint"] for _ in range(60)}
    assert found == {"127.0.0.1:9001", "127.0.0.2:9001"}
    other.stop()


def test_what_is_not_served_has_no_route(client: Any) -> None:
    check_error(client.get("/tf/route?model=unknown"), 404, "unknown")
    check_error(client.get("/tf/route?model=mnist-net&version=7"), 404)
    check_error(client.get("/tf/route?model=mnist-net&label=blue"), 404)
    check_error(client.get("/tf/route"), 400, "model")
    check_error(client.get("/tf/route?model=mnist-net&version=1&label=stable"), 400)


def test_without_a_key_there_is_no_route(server: ModelServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path / "run")
    check_error(client.get("/tf/route?model=mnist-net"), 404)
    assert "/tf/route" not in client.get("/tf/swagger.json").json["paths"]


def test_the_specification_has_it_with_a_key(client: Any) -> None:
    operation = client.get("/tf/swagger.json").json["paths"]["/tf/route"]["get"]
    assert [each["name"] for each in operation["parameters"]] == ["model", "version", "label"]


def test_a_key_that_is_short_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x" * 31 + "\n")
    with pytest.raises(ValidationError, match="the key has less than 32 bytes"):
        Settings(route_key_file=tmp_path / "key")


def test_a_key_that_cannot_be_read_is_named_at_the_start(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ValidationError, match="it cannot be read: Permission denied"):
        Settings(route_key_file=key)
