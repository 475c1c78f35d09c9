"""nginx in front of the gateway: its configuration, and its own answers when uWSGI is unavailable."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_kit import HTTP, NGINX, check_http_error, free_port, needs_nginx, start_front
from toy_model_server import Model, ModelServer

from tensor_rest.server.nginx import render
from tensor_rest.settings import Settings


@pytest.fixture(scope="module")
def toy() -> Iterator[ModelServer]:
    server = ModelServer(mnist_net=Model()).start()
    yield server
    server.stop()


@needs_nginx
def test_nginx_without_uwsgi_answers_503_in_our_shape(toy: ModelServer, tmp_path: Path) -> None:
    front = start_front("nginx", tmp_path / "run", toy.address)
    try:
        front.processes[0].terminate()
        front.processes[0].wait(20)
        response = HTTP.get(f"{front.url}/readyz")
        check_http_error(response, 503)
        assert response.headers["Retry-After"] == "1"
        assert response.headers["Server"] == "nginx"
        for path in ("/static/page.js", "/swaggerui/swagger-ui-bundle.js"):  # these need no worker
            response = HTTP.get(front.url + path)
            assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-cache")
            assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        check_http_error(HTTP.get(f"{front.url}/static/../nginx.conf"), 503)
        check_http_error(HTTP.get(f"{front.url}/static/nope.js"), 404)
    finally:
        front.stop()
        front.kill()


@needs_nginx
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "nginx").mkdir()
    config = tmp_path / "nginx.conf"
    assert "listen [::1]:8080 " in render(Settings(run_dir=tmp_path, host="::1", port=8080))
    config.write_text(render(Settings(run_dir=tmp_path, port=free_port())))  # nginx tries the port, too
    assert NGINX is not None
    command = [NGINX, "-e", "stderr", "-p", f"{tmp_path}/", "-c", "nginx.conf", "-t"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr


def test_resolver_of_nginx_is_the_first_dns_server_without_interface(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# of a phone\nnameserver fe80::1%eth0\nnameserver\t2001:db8::1\nnameserver 192.0.2.1\n")
    assert "resolver [2001:db8::1] valid=5s;" in render(Settings(run_dir=tmp_path), file)
    file.write_text("nameserver fe80::1%eth0\nnameserver\n")
    assert "resolver " not in render(Settings(run_dir=tmp_path), file)
