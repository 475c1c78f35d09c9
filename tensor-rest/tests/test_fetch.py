"""Images by URL: only from where the list says, only over addresses that are public, within bounds."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gateway_kit import image_file, wait_until

from tensor_rest.errors import ApiError, UnavailableError
from tensor_rest.images.fetch import Fetcher

IMAGE = image_file(60)


@pytest.fixture(scope="module")
def site() -> Iterator[Any]:
    """A web server on this machine; `received` are the paths and Host headers it saw."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.received.append((self.path, self.headers["Host"]))
            name = self.path.partition("?")[0].removeprefix("/")
            status, headers, body = ANSWERS.get(name, (404, {}, b""))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            try:
                for part in body() if callable(body) else (body,):
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                server.cut.set()

        def log_message(self, *_: Any) -> None:
            pass

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.received, server.cut, server.daemon_threads = [], threading.Event(), True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def drip() -> Iterator[bytes]:
    while True:
        yield b"x"
        time.sleep(0.05)


ANSWERS: dict[str, tuple[int, dict[str, str], Any]] = {
    "a.png": (200, {}, IMAGE),
    "sized.png": (200, {"Content-Length": str(len(IMAGE))}, IMAGE),
    "moved": (302, {"Location": "http://127.0.0.1:1/"}, b""),
    "gone": (410, {}, b""),
    "big": (200, {}, bytes(200_000)),
    "says-big": (200, {"Content-Length": "200000"}, b""),
    "endless": (200, {}, drip),
}


def fetcher(site: Any, *allow: str, seconds: float = 5) -> Fetcher:
    return Fetcher(allow or (f"127.0.0.1:{site.server_port}",), 100_000, seconds)


def refused(fetching: Fetcher, url: str) -> tuple[int, str]:
    with pytest.raises(ApiError) as error:
        fetching.image(url)
    return error.value.status, str(error.value)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the DNS says; `looked` counts the questions."""
    known: dict[str, list[str]] = {"looked": []}

    def look(host: str, port: int, **_: Any) -> list[Any]:
        known["looked"].append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return known


def test_a_listed_host_is_called(site: Any) -> None:
    base = f"http://127.0.0.1:{site.server_port}"
    fetching = fetcher(site)
    assert fetching.image(f"{base}/a.png?size=1#part") == IMAGE
    assert fetching.image(f"{base}/sized.png") == IMAGE
    assert site.received[-2:] == [
        ("/a.png?size=1", f"127.0.0.1:{site.server_port}"),
        ("/sized.png", f"127.0.0.1:{site.server_port}"),
    ]


def test_without_a_list_nothing_is_fetched() -> None:
    status, message = refused(Fetcher((), 1000), "http://example.com/a.png")
    assert status == 403
    assert "TENSOR_REST_URL_ALLOW" in message


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/a.png",
        "http://example.com:8080/a.png",
        "http://example.com.evil.example/",
        "http://evilexample.com/",
        "http://below/",
        "http://notbelow.example/",
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
    ],
)
def test_what_is_not_on_the_list_is_not_even_looked_up(names: dict[str, list[str]], url: str) -> None:
    fetching = Fetcher(("example.com", "*.below.example"), 1000)
    status, message = refused(fetching, url)
    assert status == 403, message
    assert names["looked"] == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.png",
        "file:///etc/passwd",
        "ftp://example.com/a",
        "gopher://example.com/",
        "http://",
        "http:///a",
        "http://user@example.com/",
        "http://example.com:80@evil.example/",
        "http://example.com\\@evil.example/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://example.com/a b",
        "http://example.com/a\r\nHost: evil",
        "http://exämple.com/",
        "http://example.com/" + "a" * 3000,
    ],
)
def test_what_is_no_plain_url_is_refused(names: dict[str, list[str]], url: str) -> None:
    assert refused(Fetcher(("example.com",), 1000), url)[0] == 400
    assert names["looked"] == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.17.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1"),
        *("fd00:ec2::254", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_a_listed_name_at_an_inner_address_is_refused(names: dict[str, list[str]], address: str) -> None:
    names["example.com"] = ["93.184.216.34", address]
    status, message = refused(Fetcher(("example.com",), 1000), "http://example.com/a.png")
    assert status == 403
    assert "public" in message


@pytest.mark.parametrize("address", ["169.254.169.254", "[fd00:ec2::254]", "[fe80::1]", "0.0.0.0", "100.100.100.200"])
def test_metadata_services_are_refused_even_if_listed(address: str) -> None:
    assert refused(Fetcher((address,), 1000), f"http://{address}/latest/meta-data/")[0] == 403


def test_a_name_is_looked_up_once_and_that_address_is_used(
    site: Any, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["a.below.example"] = ["93.184.216.34"]
    went: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        went.append(address)
        names["a.below.example"] = ["127.0.0.1"]  # what a second look would find
        family = socket.socket(socket.AF_INET)
        family.settimeout(timeout)
        family.connect(("127.0.0.1", site.server_port))
        return family

    monkeypatch.setattr(socket, "create_connection", connect)
    assert fetcher(site, "*.below.example").image("http://a.below.example./a.png") == IMAGE
    assert went == [("93.184.216.34", 80)]
    assert names["looked"] == ["a.below.example"]
    assert site.received[-1] == ("/a.png", "a.below.example")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("moved", 502, "redirects are not followed"),
        ("gone", 502, "410"),
        ("big", 413, "100000"),
        ("says-big", 413, "100000"),
        ("nowhere", 502, "404"),
    ],
)
def test_other_answers_are_refused(site: Any, path: str, status: int, text: str) -> None:
    found, message = refused(fetcher(site), f"http://127.0.0.1:{site.server_port}/{path}")
    assert found == status
    assert text in message


def test_a_refused_connection_is_a_bad_gateway() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert refused(Fetcher((f"127.0.0.1:{port}",), 1000), f"http://127.0.0.1:{port}/")[0] == 502


def test_a_site_without_tls_is_not_taken_for_one_with(site: Any) -> None:
    assert refused(fetcher(site), f"https://127.0.0.1:{site.server_port}/a.png")[0] == 502


def test_an_endless_answer_is_cut_and_only_so_many_run(site: Any) -> None:
    fetching = fetcher(site, seconds=1)
    url = f"http://127.0.0.1:{site.server_port}/endless"
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(status for status, _ in pool.map(lambda _: refused(fetching, url), range(8)))
    assert statuses == [503] * 4 + [504] * 4
    assert site.cut.wait(10)

    def answers() -> bool:
        with suppress(UnavailableError):
            return fetching.image(f"http://127.0.0.1:{site.server_port}/a.png") == IMAGE
        return False

    wait_until(answers, 10)  # the threads ended, and slots are free again


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_over_tls_the_certificate_has_to_be_for_the_name(
    site: Any, names: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = ("-subj", "/CN=lab", "-addext", "subjectAltName=DNS:images.example")
    files = ("-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    names.update({"images.example": ["93.184.216.34"], "other.example": ["93.184.216.34"]})
    seen: list[bytes] = []

    def connect(_: tuple[str, int], timeout: float) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(timeout)
        connection.connect(("127.0.0.1", secure.getsockname()[1]))
        return connection

    def serve() -> None:
        for _ in range(2):
            with suppress(OSError), context.wrap_socket(secure.accept()[0], server_side=True) as accepted:
                seen.append(accepted.recv(65536))
                accepted.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + IMAGE)

    with socket.create_server(("127.0.0.1", 0)) as secure:
        monkeypatch.setattr(socket, "create_connection", connect)
        thread = threading.Thread(target=serve)
        thread.start()
        assert fetcher(site, "images.example").image("https://images.example/a.png") == IMAGE
        assert refused(fetcher(site, "other.example"), "https://other.example/a.png")[0] == 502
        thread.join(10)
    assert len(seen) == 1
