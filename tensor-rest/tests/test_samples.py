"""The sample digits over HTTP."""

from pathlib import Path
from typing import Any

import pytest
from api_kit import half_plus_two
from gateway_kit import unused_address
from toy_model_server import ModelServer

from tensor_rest.app import create_app
from tensor_rest.middleware.api_keys import create
from tensor_rest.settings import Settings
from tensor_rest.web import samples


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    """A client of a gateway that requires a key, and sends none."""
    (tmp_path / "keys").write_text(create("ada")[1] + "\n")
    server = ModelServer(half_net=half_plus_two())
    settings = Settings(server=server.address, inventory_url=unused_address(), api_keys_file=tmp_path / "keys")
    return create_app(settings).test_client()


def test_every_sample_is_listed_with_its_digit_and_needs_no_key(gateway: Any) -> None:
    listed = gateway.get("/samples/").json["samples"]
    assert len(listed) == 100
    assert [sample["label"] for sample in listed] == sorted("0123456789" * 10)
    name = listed[20]["name"]
    with gateway.get(f"/samples/{name}") as answer:
        assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
        assert answer.data == (samples.FOLDER / name).read_bytes()
    assert gateway.get("/tf/models").status_code == 401


def test_without_samples_the_list_is_empty(gateway: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "FOLDER", tmp_path / "none")
    assert gateway.get("/samples/").json == {"samples": []}
    assert gateway.get("/samples/mnist_2_0002.jpg").status_code == 404
