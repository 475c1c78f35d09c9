"""Requests that name no version or label go to the version labelled `stable`, if it is served; else to the newest."""

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from api_kit import client_of, half_plus_two
from gateway_kit import check_error, image_file, wait_until
from toy_model_server import Model, ModelServer

from tensor_rest.inference import inventory
from tensor_rest.inference.inventory import Inventory


def entry(name: str, **known: Any) -> dict[str, Any]:
    return {"name": name, "versions": [1, 2], "serving": [1, 2], "labels": {"stable": 1}, **known}


@pytest.fixture
def two(serves: ModelServer, watcher: Any) -> ModelServer:
    """mnist-net and half-net with a stable version 1 and a candidate 2."""
    serves.models["mnist-net"] = Model(versions=[1, 2], labels={"stable": 1, "candidate": 2})
    half = serves.models["half-net"] = half_plus_two()
    half.versions, half.labels = [1, 2], {"stable": 1, "candidate": 2}
    watcher.document = {"models": [entry("mnist-net"), entry("half-net")]}
    return serves


@pytest.fixture
def client(two: ModelServer, watcher: Any, tmp_path: Path) -> Any:
    return client_of(two, tmp_path, inventory_url=f"http://127.0.0.1:{watcher.server_port}/")


def form() -> dict[str, Any]:
    return {"image": (io.BytesIO(image_file(60)), "a.png")}


ROWS, EXAMPLES = json.dumps({"instances": [1]}), json.dumps({"examples": [{"x": 1.5}]})
ROUTES: list[tuple[str, Any]] = [
    ("/tf/models/mnist-net/classify", form),
    ("/tf/models/mnist-net/classify?explain=1", form),  # through Flask
    ("/tf/mnist/mnist-net", form),
    ("/predictlabel", form),
    ("/tf/models/half-net/predict", ROWS),
    ("/v1/models/half-net:predict", ROWS),
    ("/v1/models/half-net:classify", EXAMPLES),
    ("/v1/models/half-net:regress", EXAMPLES),
]


def version(client: Any, path: str, body: Any) -> str:
    answer = client.post(path, data=body() if callable(body) else body)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["X-Model-Version"])


@pytest.mark.parametrize(("path", "body"), ROUTES)
def test_every_route_goes_to_the_stable_version(client: Any, path: str, body: Any) -> None:
    assert version(client, path, body) == "1"
    named = path.replace("-net", "-net/versions/2")
    if named != path and "mnist/" not in path:
        assert version(client, named, body) == "2"


@pytest.mark.parametrize(
    "known",
    [{"labels": {}}, {"serving": [2]}, {"labels": {"candidate": 1}}],
    ids=["no label", "the labelled one is not served", "another label"],
)
@pytest.mark.parametrize(("path", "body"), ROUTES[::3])
def test_without_a_served_stable_version_the_newest_answers(
    client: Any, watcher: Any, path: str, body: Any, known: dict[str, Any]
) -> None:
    watcher.document = {"models": [entry("mnist-net", **known), entry("half-net", **known)]}
    assert version(client, path, body) == "2"


@pytest.mark.parametrize(("path", "body"), ROUTES[::3])
def test_without_a_list_the_newest_answers(two: ModelServer, tmp_path: Path, path: str, body: Any) -> None:
    assert version(client_of(two, tmp_path), path, body) == "2"


@pytest.mark.parametrize(("path", "body"), ROUTES)
def test_a_removed_label_loses_no_request(client: Any, two: ModelServer, path: str, body: Any) -> None:
    assert version(client, path, body) == "1"
    for model in two.models.values():
        model.labels = {}
    assert version(client, path, body) == "1"  # the list still has it


def test_a_label_that_moves_is_followed_at_once(client: Any, two: ModelServer) -> None:
    two.models["mnist-net"].labels = {"stable": 2}
    assert version(client, *ROUTES[0]) == "2"


def test_the_models_list_the_default_version(client: Any) -> None:
    listed = {model["name"]: model["default_version"] for model in client.get("/tf/models").json["models"]}
    assert listed == {"mnist-net": 1, "half-net": 1}
    found = client.get("/tf/models/mnist-net").json
    assert (found["default_version"], found["default"]["version"]) == (1, 1)
    assert client.get("/v1/models/mnist-net/metadata").json["model_spec"]["version"] == "1"
    assert len(client.get("/v1/models/mnist-net").json["model_version_status"]) == 2


def test_rules_follow_the_default_version(two: ModelServer, watcher: Any, tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text('{"mnist-net": {"min_score": 0.95}}')
    url = f"http://127.0.0.1:{watcher.server_port}/"
    client = client_of(two, tmp_path, inventory_url=url, rules=tmp_path / "rules.json")
    (result,) = client.post("/tf/models/mnist-net/classify", data=form()).json["results"]
    assert (result["unsure"], result["rules"][0]["version"]) == (True, 1)
    (result,) = client.post("/tf/models/mnist-net/versions/2/classify", data=form()).json["results"]
    assert "rules" not in result


def test_an_unknown_model_is_named_as_it_was_requested(client: Any) -> None:
    check_error(client.post("/tf/models/nope/predict", data=ROWS), 404, "'nope' is not served", "half-net, mnist-net")


# ---- the list behind it


def test_no_request_waits_for_a_watcher_that_hangs(client: Any, watcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert version(client, *ROUTES[0]) == "1"
    monkeypatch.setattr(inventory, "_KEPT_SECONDS", 0.0)
    client.application.extensions["gateway"].catalogue._inventory._until = time.monotonic()
    received, watcher.hold = watcher.received, threading.Event()
    try:
        for _ in range(3):
            assert version(client, *ROUTES[0]) == "1"
        wait_until(lambda: watcher.received == received + 1)  # one reads in the background; the requests are answered
    finally:
        watcher.hold.set()
    watcher.document = {"models": [entry("mnist-net", labels={})]}
    wait_until(lambda: version(client, *ROUTES[0]) == "2")


def test_after_a_pause_the_list_is_read_before_a_request_is_routed(client: Any, watcher: Any) -> None:
    watcher.document = {"models": [entry("mnist-net", labels={})]}
    assert version(client, *ROUTES[0]) == "2"
    watcher.document = {"models": [entry("mnist-net")]}
    client.application.extensions["gateway"].catalogue._inventory._until = time.monotonic() - 60
    assert version(client, *ROUTES[0]) == "1"


def test_models_keep_all_their_fields_without_watcher(
    client: Any, watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_KEPT_SECONDS", 0.0)
    ill = {"name": "ill-net", "versions": [], "quarantined": [{"version": 3, "reason": "damaged"}]}
    near = {"path": "ResNet", "reason": "capitals", "fix": "mv models/ResNet models/resnet"}
    watcher.document = {"models": [entry("mnist-net"), ill], "ignored": [near]}
    before = client.get("/tf/models").json
    assert before["ignored"] == [near]
    assert client.post("/tf/models/half-net/predict", data=ROWS).status_code == 200  # served, and not yet listed
    watcher.document = None
    wait_until(lambda: "not an inventory" in client.get("/tf/models").json["inventory"]["message"])  # read beside it
    after = client.get("/tf/models").json
    assert after["ignored"] == before["ignored"]
    models = {model["name"]: model for model in after["models"]}
    assert models.keys() == {"half-net", "ill-net", "mnist-net"}
    for model in before["models"]:
        assert models[model["name"]] == model
    assert models["half-net"].keys() == models["mnist-net"].keys()


def test_a_list_that_was_never_read_is_empty_with_a_reason() -> None:
    found = Inventory("http://127.0.0.1:9/").known()
    assert (found.models, found.ignored) == ([], [])
    assert "does not answer" in found.problem


def test_a_listed_model_that_is_still_loading_is_waited_for(
    client: Any, two: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a model server that has just started, with the machine, knows it a moment later."""
    clock, start = time.monotonic, time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock() - start + 30)
    loading = two.models.pop("half-net")
    before = len(two.calls)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(version, client, "/tf/models/half-net/predict", ROWS)
        wait_until(lambda: len(two.calls) > before + 2)
        two.models["half-net"] = loading
        assert late.result(20) == "1"


def test_a_listed_model_that_does_not_come_is_missing_after_the_grace(
    two: ModelServer, watcher: Any, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{watcher.server_port}/"
    client = client_of(two, tmp_path, inventory_url=url, grace_seconds=0.2)
    del two.models["half-net"]
    for _ in range(2):
        check_error(client.post("/tf/models/half-net/predict", data=ROWS), 404, "not served")
    check_error(client.post("/tf/models/mnist-net/labels/none/classify", data=form()), 404, "label 'none'")


@pytest.mark.parametrize(("path", "number"), [("", 1), ("/versions/2", 2), ("/labels/stable", 1)])
def test_metadata_of_a_version_names_that_version(client: Any, path: str, number: int) -> None:
    default = client.get("/tf/models/mnist-net").json["default"]
    found = client.get(f"/tf/models/mnist-net{path}/metadata")
    assert found.json == {**default, "version": number}
    assert found.headers["X-Model-Version"] == str(number)


@pytest.mark.parametrize("path", ["/versions/3", "/versions/x", "/labels/other"])
def test_metadata_of_an_unknown_version_is_not_found(client: Any, path: str) -> None:
    check_error(client.get(f"/tf/models/mnist-net{path}/metadata"), 404)
