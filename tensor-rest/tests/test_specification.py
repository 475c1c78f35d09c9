"""The specification: valid, complete, and enough to call every live model by it alone. And the calls it writes down."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import client_of, everything, half_plus_two
from gateway_kit import check_error, picture, start_front
from toy_model_server import Model, ModelServer, signature

from tensor_rest.wire import serving_pb2 as pb

validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is for developers")


@pytest.fixture
def lists(serves: ModelServer, tmp_path: Path, watcher: Any) -> Any:
    """A client of an application that knows a watcher, which lists what is served."""
    relist(watcher, serves)
    return client_of(serves, tmp_path, inventory_url=f"http://127.0.0.1:{watcher.server_port}/")


def relist(watcher: Any, serves: ModelServer) -> None:
    models = [{"name": name, "versions": model.versions} for name, model in serves.models.items()]
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
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [value(schema["items"], document)] * schema.get("minItems", 0)
    if schema.get("type") == "object":
        return {name: value(schema["properties"][name], document) for name in schema.get("required", [])}
    return {"integer": schema.get("minimum", 0), "number": 0.5, "string": "x", "boolean": True}[schema["type"]]


def call(client: Any, document: dict[str, Any], place: tuple[str, str], **arguments: Any) -> Any:
    """Call an operation with nothing known but its specification (and a picture, and names for its path)."""
    path, method = place
    operation = document["paths"][path][method]
    form: dict[str, Any] = {}
    body = None
    for parameter in operation.get("parameters", []):
        name, where = parameter["name"], parameter["in"]
        if where == "path":
            path = path.replace(f"{{{name}}}", str(arguments[name]))
        elif where == "formData" and parameter.get("required"):
            is_file = parameter["type"] == "file"
            form[name] = (io.BytesIO(picture(60)), "x.png") if is_file else arguments[name]
        elif where == "body":
            body = value(parameter["schema"], document)
    return client.open(path, method=method.upper(), **({"json": body} if body is not None else {"data": form or None}))


def test_it_is_valid_and_every_operation_has_a_name_of_its_own(lists: Any) -> None:
    document = specification(lists)
    validator.validate(document)
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_it_holds_every_route_of_the_application(api: Any) -> None:
    fixed = {path for path in specification(api)["paths"] if "{" in path or path.count("/") < 4}
    rules = {re.sub(r"<(\w+)>", r"{\1}", rule.rule) for rule in api.application.url_map.iter_rules()}
    assert {rule for rule in rules if rule.startswith(("/tf/m", "/v1", "/predict"))} <= fixed


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
    serves.models["types-net"] = _every_type()
    document = specification(lists)
    assert len([path for path in document["paths"] if "{" not in path]) > 6
    for path, method, _ in operations(document):
        if "{" not in path:
            answer = call(lists, document, (path, method))
            assert answer.status_code == 200, (path, answer.text)


def test_the_general_paths_answer_as_specified(lists: Any) -> None:
    names = {"model": "mnist-net", "version": 1, "label": "stable"}
    document = specification(lists)
    for path, method, operation in operations(document):
        answer = call(lists, document, (path, method), **names)
        assert str(answer.status_code) in operation["responses"], (path, answer.status_code, answer.text)


def test_a_model_that_comes_is_in_it_at_once_and_one_that_goes_is_not(
    lists: Any, serves: ModelServer, watcher: Any
) -> None:
    assert "/tf/models/new-net/predict" not in specification(lists)["paths"]
    serves.models["new-net"] = half_plus_two()
    relist(watcher, serves)
    assert "/tf/models/new-net/predict" in specification(lists)["paths"]
    del serves.models["new-net"]
    assert "/tf/models/new-net/predict" not in specification(lists)["paths"]  # listed still, served no more


def test_a_new_version_changes_the_schema(lists: Any, serves: ModelServer) -> None:
    path = "/tf/models/half-net/predict"
    before = specification(lists)["paths"][path]
    serves.models["half-net"].versions = [1, 2]
    serves.models["half-net"].signatures = serves.models["sums-net"].signatures
    assert specification(lists)["paths"][path] != before


def test_it_is_bounded_and_there_while_serving_is_away(lists: Any, serves: ModelServer, watcher: Any) -> None:
    for number in range(60):
        serves.models[f"many-{number}"] = half_plus_two()
    relist(watcher, serves)
    document = specification(lists)
    assert len([path for path in document["paths"] if re.fullmatch(r"/tf/models/[^{}]+/predict", path)]) == 50
    serves.stop()
    away = lists.get("/tf/swagger.json", headers={"X-Timeout-Ms": "100"})
    assert away.status_code == 200
    assert not [path for path in away.json["paths"] if re.fullmatch(r"/tf/models/[^{}]+/predict", path)]


def _every_type() -> Model:
    kinds = [pb.DT_FLOAT, pb.DT_DOUBLE, pb.DT_HALF, pb.DT_INT8, pb.DT_INT16, pb.DT_INT64, pb.DT_UINT16, pb.DT_UINT64]
    tensors = {f"i{kind}": (kind, [-1, 2]) for kind in [*kinds, pb.DT_BOOL, pb.DT_STRING]}
    echo = signature(tensors, tensors)
    return Model(card=None, signatures={"other": echo}, compute=lambda given: given)


# ---- calls as text


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway over HTTP."""
    toy = ModelServer(**everything(), types_net=_every_type(), big_net=_large()).start()
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
    import httpx

    text = httpx.get(f"{running}/tf/models/{model}/client", params={"lang": language}).text
    (tmp_path / "picture.png").write_bytes(picture(60))
    program = [sys.executable, "-c", text, "picture.png"] if language == "python" else ["sh", "-c", text]
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


def test_a_language_that_is_not_spoken_and_a_host_that_is_no_address_are_refused(api: Any) -> None:
    check_error(api.get("/tf/models/half-net/client?lang=cobol"), 400, "'cobol'", "python or curl")
    answer = api.get("/tf/models/half-net/client", headers={"Host": '127.0.0.1";reboot;"'})
    assert answer.status_code in (400, 421)
    check_error(api.get("/tf/models/nope/client"), 404, "'nope'")
