"""TensorBoard under the gateway's origin: what passes the middleware, what it gets, and the answer without it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gateway_kit import HTTP, Front, check_http_error, free_port, needs_nginx, start_front

from tensor_rest.middleware import api_keys

pytestmark = needs_nginx
KEY, LINE = api_keys.create("ada")


class Board(ThreadingHTTPServer):
    """Answers as TensorBoard does, and remembers what it was sent."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.seen: list[tuple[str, str, bytes, dict[str, str]]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Board

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, body, headers))
        self.send_response(404 if "nowhere" in self.path else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.end_headers()
        self.wfile.write(b"a board")

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def start(folder: Path, port: int, **environment: str) -> Front:
    nowhere = f"127.0.0.1:{free_port()}"
    given = {"TENSOR_REST_BOARD_SERVER": f"127.0.0.1:{port}", "TENSOR_REST_PROCESSES": "1", **environment}
    return start_front("nginx", folder / "run", nowhere, **given)


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    started = Board(free_port())
    yield started
    started.stop()


@pytest.fixture(scope="module")
def front(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    running = start(tmp_path_factory.mktemp("front"), board.server_address[1])
    yield running
    running.stop()


def test_requests_reach_tensorboard_as_they_were_sent(front: Front, board: Board) -> None:
    assert HTTP.get(f"{front.url}/tensorboard/").text == "a board"
    path = "/data/plugin/scalars%2Fx?run=a%2Fb&tag=c+d"
    HTTP.get(f"{front.url}/tensorboard{path}", headers={"X-API-Key": "k", "Authorization": "Bearer k"})
    HTTP.post(f"{front.url}/tensorboard/data/timeSeries", content=b"requests=[]", headers={"Origin": front.url})
    assert [seen[:3] for seen in board.seen[-3:]] == [
        ("GET", "/", b""),
        ("GET", path, b""),
        ("POST", "/data/timeSeries", b"requests=[]"),
    ]
    HTTP.get(f"{front.url}/font-roboto/a.woff2")
    assert board.seen.pop()[1] == "/font-roboto/a.woff2"
    assert not {"x-api-key", "authorization"} & set(board.seen[-2][3])
    assert HTTP.get(f"{front.url}/tensorboard/nowhere").text == "a board"  # its own 404
    redirect = HTTP.get(f"{front.url}/tensorboard")
    assert (redirect.status_code, redirect.headers["Location"]) == (301, "/tensorboard/")
    assert '<a href="/tensorboard/">TensorBoard</a>' in HTTP.get(front.url).text


def test_bodies_of_any_length_and_form_reach_tensorboard(front: Front, board: Board) -> None:
    for length in (10, 50_000, 300_000):
        content = b"x" * length
        for sent in (content, iter([content])):  # with its length, and chunked
            assert HTTP.post(f"{front.url}/tensorboard/data/timeSeries", content=sent).text == "a board"
            assert board.seen.pop()[2] == content


def test_its_answers_keep_their_policy_and_may_not_be_framed_elsewhere(front: Front) -> None:
    headers = HTTP.get(f"{front.url}/tensorboard/").headers
    assert headers.get_list("Content-Security-Policy") == ["default-src 'self'", "frame-ancestors 'self'"]
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers.get_list("Server") == ["nginx"]


def test_the_gateways_rules_for_names_and_origins_hold(front: Front, board: Board) -> None:
    before = len(board.seen)
    check_http_error(HTTP.get(f"{front.url}/tensorboard/data/runs", headers={"Host": "evil.example"}), 421)
    strange = {"Origin": "https://evil.example"}
    check_http_error(HTTP.post(f"{front.url}/tensorboard/data/timeSeries", content=b"x", headers=strange), 403)
    check_http_error(HTTP.delete(f"{front.url}/tensorboard/data/runs"), 405)
    assert len(board.seen) == before


def test_with_api_keys_it_wants_one_and_the_page_links_to_its_own_port(board: Board, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{LINE}\n")
    own = "http://127.0.0.1:6006/"
    given = {"TENSOR_REST_API_KEYS_FILE": str(tmp_path / "keys"), "TENSOR_REST_BOARD_URL": own}
    front = start(tmp_path, board.server_address[1], **given)
    try:
        check_http_error(HTTP.get(f"{front.url}/tensorboard/"), 401)
        assert HTTP.get(f"{front.url}/tensorboard/", headers={"X-API-Key": KEY}).status_code == 200
        assert f'<a href="{own}">TensorBoard</a>' in HTTP.get(front.url).text
    finally:
        front.stop()


def test_without_tensorboard_the_answer_is_502_until_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    front = start(tmp_path, port)
    try:
        response = HTTP.get(f"{front.url}/tensorboard/")
        check_http_error(response, 502)
        assert "TensorBoard does not answer" in response.json()["message"]
        assert response.headers["Retry-After"] == "1"
        assert HTTP.get(f"{front.url}/healthz").status_code == 200
        board = Board(port)
        assert HTTP.get(f"{front.url}/tensorboard/").text == "a board"
        board.stop()
    finally:
        front.stop()


def test_a_name_that_is_not_known_yet_does_not_keep_the_gateway_down(tmp_path: Path) -> None:
    front = start(tmp_path, 0, TENSOR_REST_BOARD_SERVER="board.invalid:6006")
    try:
        check_http_error(HTTP.get(f"{front.url}/tensorboard/"), 502)
    finally:
        front.stop()


def test_without_nginx_or_an_address_there_is_no_such_page(tmp_path: Path) -> None:
    front = start_front("uwsgi", tmp_path / "run", f"127.0.0.1:{free_port()}", TENSOR_REST_BOARD_SERVER="127.0.0.1:1")
    try:
        check_http_error(HTTP.get(f"{front.url}/tensorboard/"), 404)
    finally:
        front.stop()
