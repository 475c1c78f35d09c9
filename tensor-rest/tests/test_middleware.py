"""The middleware through real nginx and uWSGI: keys, names, origins, limits, the access log."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import pytest
from gateway_kit import HTTP, Front, check_http_error, image_file, needs_nginx, start_front, wait_until
from toy_model_server import Model, ModelServer

from tensor_rest.middleware import api_keys

KEY, LINE = api_keys.create("ada")
PAGE = "https://app.example"
FRONTS = [pytest.param("nginx", marks=needs_nginx), pytest.param("uwsgi")]
only_nginx = pytest.mark.parametrize("front", FRONTS[:1], indirect=True, scope="module")


@pytest.fixture(scope="module")
def toy() -> Iterator[ModelServer]:
    server = ModelServer(mnist_net=Model()).start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=FRONTS)
def front(
    request: pytest.FixtureRequest, toy: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "keys").write_text(f"# API keys\n\n{LINE}\n")
    running = start_front(
        request.param,
        folder / "run",
        toy.address,
        TENSOR_REST_API_KEYS_FILE=str(folder / "keys"),
        TENSOR_REST_CORS_ORIGINS=f"{PAGE}, http://127.0.0.1:9",
        TENSOR_REST_ALLOWED_HOSTS="lab.example *.school.example",
        TENSOR_REST_TRUSTED_PROXIES="127.0.0.1",
        TENSOR_REST_REQUESTS_PER_SECOND="1",
        TENSOR_REST_CONNECTIONS_PER_CLIENT="2",
    )
    yield running
    running.stop()


def send(front: Front, method: str = "GET", path: str = "/tf/models", **headers: str) -> httpx.Response:
    given = {"X-API-Key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return HTTP.request(method, front.url + path, headers=given)


# ---- keys


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"X-API-Key": "lab_wrong"},
        {"X-API-Key": LINE.partition(":")[2]},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "\xe9" * 4000},
    ],
    ids=["none", "wrong", "the hash", "Basic", "empty", "long"],
)
def test_without_a_key_nothing_is_answered(front: Front, toy: ModelServer, header: dict[str, str]) -> None:
    before = len(toy.calls)
    for method, path in (
        ("POST", "/predictlabel"),
        ("POST", "/v1/models/mnist-net:predict"),
        ("GET", "/tf/models"),
        ("GET", "/tf/swagger.json"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
        ("GET", "/static/../tf/models"),
    ):
        response = HTTP.request(method, front.url + path, headers={k: v.encode("latin-1") for k, v in header.items()})
        assert response.status_code == 401, path
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert KEY not in response.text
        if not path.startswith("/v1/"):
            check_http_error(response, 401)
    assert len(toy.calls) == before


def test_a_key_opens_and_is_never_written_down(front: Front) -> None:
    for header in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
        given = {**header, "X-Request-Id": "keyed-1"}
        response = HTTP.post(f"{front.url}/predictlabel?q=secret", files={"image": image_file(60)}, headers=given)
        assert response.json()["most_probable_label"] == "2"
        assert "X-Key-Name" not in response.headers
    logged = wait_until(lambda: [line for line in front.log.read_text().splitlines() if "keyed-1" in line], 10)
    entry = json.loads(logged[0])
    assert (entry["key"], entry["path"], entry["status"]) == ("ada", "/predictlabel", 200)
    assert (entry["model"], entry["version"]) == ("mnist-net", "1")
    assert KEY not in front.log.read_text()
    assert "secret" not in front.log.read_text()


def test_probes_and_pages_need_none(front: Front) -> None:
    for path in ("/healthz", "/readyz", "/", "/tf/", "/static/page.js", "/swaggerui/swagger-ui-bundle.js"):
        assert HTTP.get(front.url + path).status_code == 200, path


def test_keys_come_and_go_without_a_restart(front: Front) -> None:
    file = front.run_dir.parent / "keys"
    key, line = api_keys.create("grace")
    assert HTTP.get(f"{front.url}/tf/models", headers={"X-API-Key": key}).status_code == 401
    file.write_text(f"{LINE}\n{line}\n")

    def answers(status: int) -> bool:
        """Every worker follows by itself: a few in a row."""
        statuses = [HTTP.get(f"{front.url}/tf/models", headers={"X-API-Key": key}).status_code for _ in range(12)]
        return set(statuses) == {status}

    wait_until(lambda: answers(200), 20)
    file.write_text(f"{LINE}\nnonsense\n")
    wait_until(lambda: "API keys stay as they were" in front.log.read_text() or not answers(200), 20)
    assert answers(200)
    file.write_text(f"{LINE}\n")
    wait_until(lambda: answers(401), 20)


def test_a_key_file_that_breaks_before_the_first_request_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "keys").write_text(f"  # of the lab\n{LINE}\n")
    keys = api_keys.Keys(tmp_path / "keys")
    (tmp_path / "keys").write_text("nonsense\n")
    monkeypatch.setattr(api_keys, "_LOOK_EVERY", 0)
    for _ in range(2):
        assert keys.check({"HTTP_X_API_KEY": KEY}) == "ada"
    assert caplog.text.count("API keys stay as they were: line 1 of") == 1


# ---- browsers


def test_a_strange_page_may_send_nothing(front: Front) -> None:
    for method in ("POST", "PUT", "DELETE"):
        check_http_error(send(front, method, "/predictlabel", Origin="https://evil.example"), 403)
    check_http_error(send(front, "POST", "/predictlabel", Origin="null"), 403)
    preflight_fields = {"Access_Control_Request_Method": "POST"}
    response = send(front, "OPTIONS", "/predictlabel", Origin="https://evil.example", **preflight_fields)
    check_http_error(response, 403)
    response = send(front, Origin="https://evil.example")
    assert response.status_code == 200  # the browser keeps it to itself
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "Origin" in response.headers["Vary"]


def test_our_own_page_and_listed_ones_may(front: Front) -> None:
    own = HTTP.post(
        f"{front.url}/predictlabel", files={"image": image_file(60)}, headers={"X-API-Key": KEY, "Origin": front.url}
    )
    assert own.status_code == 200
    preflight = HTTP.options(
        f"{front.url}/predictlabel", headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 204
    assert "Content-Length" not in preflight.headers
    assert "X-API-Key" in preflight.headers["Access-Control-Allow-Headers"]
    for response in (preflight, send(front, Origin=PAGE), send(front, "POST", "/predictlabel", Origin=PAGE)):
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Origin" in response.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in response.headers


@only_nginx
def test_a_listed_page_can_read_errors_of_nginx(front: Front) -> None:
    response = HTTP.post(f"{front.url}/predictlabel", content=bytes(11 << 20), headers={"Origin": PAGE})
    check_http_error(response, 413)
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "Access-Control-Allow-Origin" not in HTTP.post(f"{front.url}/x", content=bytes(11 << 20)).headers


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "lab.example.evil.example", "school.example", "127.0.0.1.evil.example"],
)
def test_a_name_that_is_not_ours_is_refused(front: Front, host: str) -> None:
    check_http_error(send(front, Host=host), 421)
    check_http_error(send(front, path="/", Host=host), 421)
    assert send(front, path="/healthz", Host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:80",
        "a.localhost",
        "tensor-rest:8080",
        "10.1.2.3",
        "[::1]:8080",
        "tensor-rest.lab.svc",
        "lab.example",
        "Lab.Example.:8080",
        "a.school.example",
    ],
)
def test_names_of_ours_are_answered(front: Front, host: str) -> None:
    assert send(front, Host=host).status_code == 200


def test_every_answer_has_the_security_headers(front: Front) -> None:
    for path in ("/", "/tf/models", "/nowhere", "/static/page.js", "/healthz"):
        headers = send(front, path=path).headers
        for name in ("X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Permissions-Policy"):
            assert len(headers.get_list(name)) == 1, (path, name)


# ---- limits of nginx


@only_nginx
def test_a_client_over_its_rate_gets_429_and_others_do_not(front: Front) -> None:
    answers = [send(front, X_Forwarded_For="198.51.100.1") for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers[:3]] == [200] * 3  # one, and twice the rate at once
    assert refused
    check_http_error(refused[0], 429)
    assert refused[0].headers["Retry-After"] == "1"
    assert send(front, X_Forwarded_For="198.51.100.2").status_code == 200
    assert send(front, path="/healthz", X_Forwarded_For="198.51.100.1").status_code == 200
    assert {send(front).status_code for _ in range(8)} == {200}  # this machine's own users are not counted


@only_nginx
def test_a_client_gets_so_many_requests_at_the_same_time(front: Front, toy: ModelServer) -> None:
    def post(address: str) -> int:
        headers = {"X-API-Key": KEY, "X-Forwarded-For": address}
        return HTTP.post(f"{front.url}/predictlabel", files={"image": image_file(60)}, headers=headers).status_code

    let_go = threading.Event()
    toy.on_images = lambda _: let_go.wait(60)
    try:
        with ThreadPoolExecutor(3) as pool:  # two are held by the model server, so one of three is refused
            sent = [pool.submit(post, "198.51.100.3") for _ in range(3)]
            refused = next(as_completed(sent, timeout=60))
            let_go.set()
            assert refused.result() == 429
            assert sorted(one.result() for one in sent) == [200, 200, 429]
    finally:
        let_go.set()
        toy.on_images = lambda _: None


# ---- back-pressure


@pytest.mark.parametrize("kind", FRONTS)
def test_stuck_requests_leave_threads_for_probes_and_refusals(kind: str, toy: ModelServer, tmp_path: Path) -> None:
    front = start_front(kind, tmp_path / "run", toy.address, TENSOR_REST_CONCURRENCY="5", TENSOR_REST_PROCESSES="1")
    let_go = threading.Event()
    toy.on_images = lambda _: let_go.wait(10)

    def post() -> int:
        return HTTP.post(f"{front.url}/predictlabel", files={"image": image_file(60)}).status_code

    try:
        with ThreadPoolExecutor(3) as pool:
            held = [pool.submit(post) for _ in range(3)]
            refused = wait_until(lambda: next((r for r in (HTTP.get(front.url),) if r.status_code != 200), None), 8)
            check_http_error(refused, 503)
            assert "busy" in refused.json()["message"]
            assert refused.headers["Retry-After"] == "1"
            assert HTTP.get(f"{front.url}/healthz").status_code == 200
            assert HTTP.get(f"{front.url}/readyz").status_code == 200
            let_go.set()
            assert [one.result() for one in held] == [200] * 3
        assert HTTP.get(front.url).status_code == 200
        assert 'tensor_rest_refused_total{reason="busy"}' in HTTP.get(f"{front.url}/metrics").text
        if kind == "nginx":  # probes have a line of their own to the workers
            (front.run_dir / "uwsgi.sock").unlink()
            check_http_error(HTTP.get(front.url), 503)
            assert HTTP.get(f"{front.url}/healthz").status_code == 200
    finally:
        let_go.set()
        toy.on_images = lambda _: None
        front.stop()
