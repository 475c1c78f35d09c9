"""The specification: valid, complete, and enough to call every live model by it alone."""

import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import client_of, every_type, half_plus_two
from gateway_kit import check_error, image_file, wait_until
from toy_model_server import ModelServer

from tensor_rest.api import specification as live_specification
from tensor_rest.middleware import api_keys

validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is for developers")


@pytest.fixture
def lists(serves: ModelServer, tmp_path: Path, watcher: Any) -> Any:
    """A client of an application that knows a watcher, which lists what is served."""
    relist(watcher, serves)
    return client_of(serves, tmp_path, inventory_url=watcher_url(watcher), timeout_seconds=30)


def watcher_url(watcher: Any) -> str:
    return f"http://127.0.0.1:{watcher.server_port}/"


def relist(watcher: Any, serves: ModelServer) -> None:
    models = [
        {"name": name, "versions": model.versions, "labels": model.labels} for name, model in serves.models.items()
    ]
    watcher.document = {"models": models}


def specification(client: Any) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/tf/swagger.json").json
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method in methods.keys() & {"get", "post", "put", "delete"}:
            yield path, method, methods[method]


def value(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """The smallest value a schema allows."""
    if "$ref" in schema:
        return value(document["definitions"][schema["$ref"].rpartition("/")[2]], document)
    if "example" in schema:
        return schema["example"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [value(schema["items"], document)] * schema.get("minItems", 0)
    if schema.get("type") == "object":
        return {name: value(schema["properties"][name], document) for name in schema.get("required", [])}
    return {"integer": schema.get("minimum", 0), "number": 0.5, "string": "x", "boolean": True}[schema["type"]]


def call(client: Any, document: dict[str, Any], place: tuple[str, str]) -> Any:
    """Call an operation with nothing known but its specification, and an image."""
    path, method = place
    operation = document["paths"][path][method]
    form: dict[str, Any] = {}
    body = None
    for parameter in [*document["paths"][path].get("parameters", []), *operation.get("parameters", [])]:
        name, where = parameter["name"], parameter["in"]
        if where == "path":
            path = path.replace(f"{{{name}}}", str(parameter["default"]))
        elif where == "formData" and parameter.get("required"):
            is_file = parameter["type"] == "file"
            form[name] = (io.BytesIO(image_file(60)), "x.png") if is_file else parameter["default"]
        elif where == "body":
            body = value(parameter["schema"], document)
    return client.open(path, method=method.upper(), **({"json": body} if body is not None else {"data": form or None}))


def test_it_is_valid_and_every_operation_has_a_name_of_its_own(lists: Any) -> None:
    document = specification(lists)
    validator.validate(document)
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_openapi_holds_every_route_of_the_application(api: Any) -> None:
    paths = set(api.get("/tf/openapi.json").json["paths"])
    rules = {re.sub(r"<(\w+)>", r"{\1}", rule.rule) for rule in api.application.url_map.iter_rules()}
    wanted = ("/tf/m", "/v1", "/predict", "/healthz", "/readyz", "/metrics")
    assert {rule for rule in rules if rule.startswith(wanted)} <= paths


def test_operations_are_grouped_and_have_whole_summaries(lists: Any) -> None:
    groups = {"digits", "classify", "predict", "models", "TensorFlow Serving REST", "health"}
    document = specification(lists)
    assert groups <= {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        assert operation["tags"][0] in groups | set(of_models(document)), path
        rest = operation.get("description", "")  # where Flask-RESTX cuts a summary, the rest begins in a sentence
        assert operation["summary"][0].isupper(), (method, path)
        assert not rest[:1].islower(), (method, path, operation["summary"])


def test_models_versions_and_labels_have_a_default_and_a_list(lists: Any) -> None:
    paths = specification(lists)["paths"]
    general = {each["name"]: each for each in paths["/tf/models/{model}/versions/{version}/predict"]["parameters"]}
    assert general["model"]["default"] == "mnist-net"
    assert set(general["model"]["enum"]) == {"mnist-net", "bare-net", "half-net", "sums-net"}
    assert (general["version"]["type"], general["version"]["default"]) == ("integer", 1)
    images = {each["name"]: each for each in paths["/tf/models/{model}/labels/{label}/classify"]["parameters"]}
    assert (images["model"]["enum"], images["label"]["default"]) == (["mnist-net"], "stable")


def test_what_the_guard_answers_is_documented(lists: Any) -> None:
    document = specification(lists)
    for path, method, operation in operations(document):
        if path not in ("/healthz", "/readyz"):
            assert {"401", "403", "421", "429", "503"} <= operation["responses"].keys(), path
        if method != "get":
            assert {"408", "411", "413", "415"} <= operation["responses"].keys(), path


def test_what_no_model_can_answer_is_named_and_not_listed(lists: Any) -> None:
    document = specification(lists)
    assert "/v1/models/{model}:regress" not in document["paths"]
    assert "/tf/models/{model}/feedback" not in document["paths"]
    assert "a model with a regress signature: `POST /v1/models/{model}" in document["info"]["description"]
    assert "TENSOR_REST_FEEDBACK_DIR: `GET /tf/models/{model}/feedback`" in document["info"]["description"]


def test_without_a_served_model_only_what_works_is_listed(tmp_path: Path) -> None:
    empty = ModelServer().start()
    client = client_of(empty, tmp_path)
    old, new = client.get("/tf/swagger.json").json, client.get("/tf/openapi.json").json
    empty.stop()
    assert "/tf/models" in old["paths"]
    assert not [path for path in old["paths"] if "{model}" in path]
    assert new["paths"]["/tf/models/{model}"]["get"]["x-missing"] == "a served model"
    assert "x-needs" not in json.dumps([old, new])


def test_every_live_model_has_its_own_typed_calls(lists: Any) -> None:
    document = specification(lists)
    body = document["paths"]["/tf/models/sums-net/predict"]["post"]["parameters"][0]["schema"]
    inputs = body["properties"]["inputs"]
    assert inputs["required"] == ["a", "b"]
    a = inputs["properties"]["a"]
    assert (a["type"], a["minItems"], a["items"]["minItems"], a["items"]["maxItems"]) == ("array", 1, 2, 2)
    assert a["items"]["items"] == {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
    assert a["description"] == "int32 [-1, 2] (-1: any)"
    assert body["example"]["inputs"] == {"a": [[0, 0]], "b": ["text"]}
    assert "/tf/models/sums-net/classify" not in document["paths"]
    assert "/tf/models/mnist-net/classify" in document["paths"]
    assert {"mnist-net", "bare-net", "half-net", "sums-net"} <= {tag["name"] for tag in document["tags"]}


def test_every_live_path_answers_to_a_call_made_of_the_specification_alone(lists: Any, serves: ModelServer) -> None:
    serves.models["types-net"] = every_type()
    document = specification(lists)
    assert len([path for path in document["paths"] if "{" not in path]) > 6
    for path, method, _ in operations(document):
        if "{" not in path:
            answer = call(lists, document, (path, method))
            assert answer.status_code == 200, (path, answer.text)


def test_every_operation_answers_2xx_as_it_stands(lists: Any) -> None:
    document = specification(lists)
    for path, method, _ in operations(document):
        answer = call(lists, document, (path, method))
        assert answer.status_code in (200, 201), (path, answer.status_code, answer.text)


def of_models(document: dict[str, Any]) -> list[str]:
    """The models that have a path of their own."""
    found = [re.fullmatch(r"/tf/models/([^{}]+)/predict", path) for path in document["paths"]]
    return sorted(match[1] for match in found if match)


def test_a_model_that_comes_is_in_it_and_one_that_goes_is_not(lists: Any, serves: ModelServer, watcher: Any) -> None:
    assert "new-net" not in of_models(specification(lists))
    serves.models["new-net"] = half_plus_two()
    relist(watcher, serves)
    wait_until(lambda: "new-net" in of_models(specification(lists)))
    del serves.models["new-net"]
    relist(watcher, serves)
    wait_until(lambda: "new-net" not in of_models(specification(lists)))


def test_what_is_listed_and_not_served_is_left_out_until_it_is(lists: Any, serves: ModelServer, watcher: Any) -> None:
    serves.models["new-net"] = half_plus_two()
    relist(watcher, serves)
    coming = serves.models.pop("new-net")
    assert "new-net" not in of_models(specification(lists))
    serves.models["new-net"] = coming
    wait_until(lambda: "new-net" in of_models(specification(lists)))


def test_a_new_version_changes_the_schema(lists: Any, serves: ModelServer, watcher: Any) -> None:
    path = "/tf/models/half-net/predict"
    before = specification(lists)["paths"][path]
    serves.models["half-net"].versions = [1, 2]
    serves.models["half-net"].signatures = serves.models["sums-net"].signatures
    relist(watcher, serves)
    wait_until(lambda: specification(lists)["paths"][path] != before)


def test_model_server_is_called_only_for_what_is_new(lists: Any, serves: ModelServer, watcher: Any) -> None:
    specification(lists)
    before = len(serves.calls)
    first = specification(lists)
    assert first == specification(lists)
    assert len(serves.calls) == before
    serves.models["half-net"].versions = [1, 2]
    relist(watcher, serves)
    wait_until(lambda: "Version 2" in str([tag for tag in specification(lists)["tags"] if tag["name"] == "half-net"]))
    assert serves.calls[before:] == ["GetModelMetadata"]


def test_it_is_bounded_and_keeps_what_is_known_without_model_server(
    lists: Any, serves: ModelServer, watcher: Any
) -> None:
    for number in range(60):
        serves.models[f"many-{number}"] = half_plus_two()
    relist(watcher, serves)
    known = of_models(specification(lists))
    assert len(known) == 50
    serves.stop()
    watcher.document["models"].insert(0, {"name": "a-new-net", "versions": [1]})
    headers = {"X-Timeout-Ms": "100"}
    wait_until(lambda: of_models(lists.get("/tf/swagger.json", headers=headers).json) == [*known[:-1]])


def test_a_model_server_that_hangs_holds_up_one_caller_for_a_moment(
    serves: ModelServer, watcher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relist(watcher, serves)
    client = client_of(serves, tmp_path, inventory_url=watcher_url(watcher), timeout_seconds=60)
    monkeypatch.setattr(live_specification, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(live_specification, "_LOOK_AGAIN_SECONDS", 60)
    serves.hold = threading.Event()
    try:
        for _ in range(3):
            assert of_models(specification(client)) == []
        assert serves.calls == ["GetModelMetadata"]
    finally:
        serves.hold.set()


def test_it_names_the_key_where_one_is_required(lists: Any, serves: ModelServer, tmp_path: Path) -> None:
    open_to_all = specification(lists)
    assert "securityDefinitions" not in open_to_all
    key, line = api_keys.create("ada")
    (tmp_path / "keys").write_text(line)
    locked = client_of(serves, tmp_path, api_keys_file=tmp_path / "keys")
    check_error(locked.get("/tf/swagger.json"), 401)
    document = locked.get("/tf/swagger.json", headers={"X-API-Key": key}).json
    validator.validate(document)
    assert document["securityDefinitions"] == {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
    assert document["security"] == [{"key": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
