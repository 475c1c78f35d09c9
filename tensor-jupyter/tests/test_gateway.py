"""The kept connection to the gateway, over real sockets; faults are staged by a server of the tests' own."""

import socket
import threading

import inference_kit as kit
import pytest

from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway, SilentError
from tensor_jupyter.publishing import served
from tensor_jupyter.rest import client
from tensor_jupyter.settings import Settings


@pytest.fixture
def server(monkeypatch):
    with kit.serving(kit.Gateway()) as server:
        monkeypatch.setenv("LAB_REST_URL", server.url)
        yield server
        server.shutdown()


def settings(tmp_path, **more):
    return Settings.read(data=tmp_path, **more)


def test_one_connection_serves_many_calls(server, tmp_path):
    with Gateway(settings(tmp_path)) as gateway:
        assert [gateway.send("GET", "/tf/models/shades").status for _ in range(3)] == [200] * 3
    assert server.connections == 1


def test_a_kept_connection_that_was_closed_is_opened_anew(server, tmp_path):
    server.closes = True
    with Gateway(settings(tmp_path)) as gateway:
        assert [gateway.send("GET", "/tf/models").status for _ in range(3)] == [200] * 3
    assert server.connections == 3


def test_the_key_of_the_environment_or_a_file_is_sent_by_all_calls(server, tmp_path, monkeypatch):
    server.key = "lab_secret"
    (tmp_path / "mine").write_text("lab_secret\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api-key").write_text("lab_secret")
    for variable, value in (
        ("LAB_API_KEY", "lab_secret"),
        ("LAB_API_KEY_FILE", str(tmp_path / "mine")),
        ("LAB_DATA", str(tmp_path / "data")),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(variable, value)
            assert client("shades", "curl")
            with Gateway(Settings.read()) as gateway:
                assert gateway.send("GET", "/tf/models").status == 200


def test_without_the_key_or_with_a_wrong_one_the_error_names_the_variables_and_no_key(server, tmp_path):
    server.key = "lab_secret"
    with pytest.raises(SilentError, match=r"wants an API key: set LAB_API_KEY, or .* LAB_API_KEY_FILE"):
        served.fetch(settings(tmp_path))
    wrong = settings(tmp_path, api_key="lab_wrong")
    with pytest.raises(SilentError, match="does not take the API key that was sent: set LAB_API_KEY") as caught:
        served.fetch(wrong)
    assert "lab_wrong" not in f"{caught.value}{wrong!r}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "is empty"), *((content, "not hold an API key") for content in (b"two words", b"a\r\nX-Evil: b", b"\xff"))],
)
def test_a_file_without_a_key_is_reported_without_its_content(tmp_path, content, expected):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(LabError, match=expected) as caught:
        settings(tmp_path, api_key_file=tmp_path / "key").key()
    assert "Evil" not in str(caught.value)


def test_a_named_file_must_be_there_the_usual_one_need_not(tmp_path):
    assert settings(tmp_path).key() == ""
    with pytest.raises(LabError, match="missing cannot be read: No such file"):
        settings(tmp_path, api_key_file=tmp_path / "missing").key()


def test_no_proxy_of_the_environment_gets_to_see_a_call(server, tmp_path, monkeypatch, dead_mirror):
    monkeypatch.setenv("http_proxy", dead_mirror)
    with Gateway(settings(tmp_path)) as gateway:
        assert gateway.send("GET", "/tf/models").status == 200
    assert server.requests


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:port"])
def test_what_is_no_address_is_reported(tmp_path, url):
    with pytest.raises(LabError, match=r"LAB_REST_URL is .* expected http://HOST:PORT"):
        Gateway(settings(tmp_path, rest_url=url))


def answering(answer, tmp_path):
    """Staged: what a server answers before it has read the body, and then hangs up on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with Gateway(settings(tmp_path, rest_url=url)) as gateway:
                return gateway.send("POST", "/tf/models/x/classify", b"x" * 2**22)
        finally:
            thread.join()


def test_an_answer_that_comes_before_the_body_is_read_is_the_answer(tmp_path):
    reply = answering(b'HTTP/1.1 413 x\r\nContent-Length: 21\r\n\r\n{"message":"too much"}', tmp_path)
    assert reply.status == 413


def test_a_redirect_is_not_followed_the_key_would_go_with_it(tmp_path):
    location = b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    assert answering(location, tmp_path).status == 302


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n[]"])
def test_what_is_no_gateway_is_reported(tmp_path, answer):
    with pytest.raises(SilentError, match="does not answer as the lab's gateway does"):
        answering(answer, tmp_path).document()


@pytest.mark.parametrize("lab", ["", "mine"])
def test_a_gateway_of_the_lab_or_without_an_id_is_called(server, tmp_path, monkeypatch, lab):
    server.lab, server.key = lab, "lab_secret"
    monkeypatch.setenv("LAB_ID", "mine")
    monkeypatch.setenv("LAB_API_KEY", "lab_secret")
    with Gateway(settings(tmp_path)) as gateway:
        assert [gateway.send("GET", "/tf/models").status for _ in range(2)] == [200] * 2
    assert server.keys == [None]  # checked once, on the connection that is kept
    assert server.connections == 1


def test_a_gateway_that_closes_each_connection_is_called_again(server, tmp_path, monkeypatch):
    server.closes, server.lab = True, "mine"
    monkeypatch.setenv("LAB_ID", "mine")
    with Gateway(settings(tmp_path)) as gateway:
        assert [gateway.send("GET", "/tf/models").status for _ in range(3)] == [200] * 3


def test_another_labs_gateway_is_sent_neither_key_nor_request(server, tmp_path, monkeypatch):
    server.lab = "another"
    monkeypatch.setenv("LAB_ID", "mine")
    monkeypatch.setenv("LAB_API_KEY", "lab_secret")
    with Gateway(settings(tmp_path)) as gateway, pytest.raises(SilentError, match="Another lab answers at http"):
        gateway.send("GET", "/tf/models")
    assert server.requests == [("GET", "/healthz")]
    assert server.keys == [None]


def test_a_gateway_that_is_not_ready_answers_for_the_request(server, tmp_path, monkeypatch):
    server.refusals = [502]
    monkeypatch.setenv("LAB_ID", "mine")
    with Gateway(settings(tmp_path)) as gateway:
        assert gateway.send("GET", "/tf/models").status == 502
        server.closes = True
        assert gateway.send("GET", "/tf/models").status == 200


def test_what_is_not_a_gateway_is_sent_no_key(server, tmp_path, monkeypatch):
    server.refusals = [404]
    monkeypatch.setenv("LAB_ID", "mine")
    with (
        Gateway(settings(tmp_path)) as gateway,
        pytest.raises(SilentError, match="does not answer as the lab's gateway"),
    ):
        gateway.send("GET", "/tf/models")
    assert server.requests == [("GET", "/healthz")]
