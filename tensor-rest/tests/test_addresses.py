"""Which servers a channel calls: all addresses of a target in turn, as they come and go."""

import socket
import time
from pathlib import Path

import pytest
from gateway_kit import free_port, wait_until
from rpc_kit import MAX_BYTES, Server, channel, error, serving

from tensor_rest.backend.addresses import Addresses
from tensor_rest.backend.channel import Channel
from tensor_rest.backend.status import Code, RpcError


def test_all_addresses_take_turns_and_a_dead_one_is_left_out() -> None:
    with serving() as one, serving() as two, channel(f"ipv4:{one.where},{two.where}") as made:
        for _ in range(10):
            made.call("/t/echo", b"m", 20)
        assert (len(one.calls), len(two.calls)) == (5, 5)
        one.stop().wait()
        for _ in range(10):
            made.call("/t/echo", b"m", 20)
        assert len(two.calls) == 15
        one.start()
        wait_until(lambda: made.call("/t/echo", b"m", 20) and len(one.calls) > 5)


def listing(file: Path, *servers: Server) -> None:
    file.write_text("".join(f"{server.where} 127.0.0.1:1\n" for server in servers))


def test_what_is_kept_for_an_address_that_is_not_listed_any_more_is_closed(tmp_path: Path) -> None:
    with serving() as one, serving() as two, channel(f"file:{tmp_path}/servers") as made:
        listing(tmp_path / "servers", one)
        made.call("/t/echo", b"m", 20)
        ((old, (kept,)),) = made._idle.items()
        listing(tmp_path / "servers", two)
        wait_until(lambda: made.call("/t/echo", b"m", 20) and len(two.calls) > 1)
        assert old not in made._idle
        assert kept._socket.fileno() == -1


def test_a_file_is_followed_and_what_is_wrong_in_it_changes_nothing(tmp_path: Path) -> None:
    with serving() as one, serving() as two, channel(f"file:{tmp_path}/servers") as made:
        assert error(made).details == f"file:{tmp_path}/servers cannot be looked up: [Errno 2] No such file or " + (
            f"directory: '{tmp_path}/servers'"
        )
        (tmp_path / "servers").write_text("a:1  # the inventory is missing\n")
        wrong = (
            f"{tmp_path}/servers has the line 'a:1  # the inventory is missing'; wanted host:port inventory-host:port"
        )
        wait_until(lambda: error(made).details.endswith(wrong))
        listing(tmp_path / "servers", one, two)
        wait_until(lambda: _calls(made, one, two) == (5, 5), 2)
        (tmp_path / "servers").write_text("no server\n")
        time.sleep(1.2)  # it is read once a second
        assert _calls(made, one, two) == (5, 5)
        listing(tmp_path / "servers", two)
        wait_until(lambda: _calls(made, one, two) == (0, 10), 2)


def _calls(made: Channel, *servers: Server) -> tuple[int, ...]:
    """How ten calls are spread over servers; nothing where they cannot be made."""
    before = [len(server.calls) for server in servers]
    try:
        for _ in range(10):
            made.call("/t/echo", b"m", 20)
    except RpcError:
        return ()
    return tuple(len(server.calls) - count for server, count in zip(servers, before, strict=True))


def test_addresses_that_a_name_gets_and_loses_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(where="127.0.0.1:0") as one:
        port = one.where.rpartition(":")[2]
        with serving(where=f"127.0.0.2:{port}") as two, channel(f"serving.test:{port}") as made:
            hosts = ["127.0.0.1"]
            entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(*entry, (h, int(port))) for h in hosts])
            assert _calls(made, one, two) == (10, 0)
            hosts.append("127.0.0.2")
            wait_until(lambda: _calls(made, one, two) == (5, 5), 2)
            hosts.remove("127.0.0.1")
            wait_until(lambda: _calls(made, one, two) == (0, 10), 2)


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_inventories_of_several_addresses_keep_the_scheme(
    monkeypatch: pytest.MonkeyPatch, scheme: str, port: int
) -> None:
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(*entry, (h, 9)) for h in ("127.0.0.1", "127.0.0.2")])
    urls = Addresses("serving.test:9", f"{scheme}://serving.test/list").inventories().values()
    assert list(urls) == [f"{scheme}://127.0.0.{number}:{port}/list" for number in (1, 2)]


def test_a_server_that_refuses_calls_is_avoided_for_a_while() -> None:
    with serving() as one, serving() as two, channel(f"ipv4:{one.where},{two.where}") as made:
        found = error(made, "/t/fail", b"UNAVAILABLE it shuts down")
        assert found.details == "it shuts down"
        counts = _calls(made, one, two)
        assert sorted(counts) == [0, 10]


@pytest.mark.parametrize("target", ["unix:{path}", "unix://{path}", "unix-abstract:{name}"])
def test_sockets_in_the_file_system_and_outside_of_it(target: str, tmp_path: Path) -> None:
    where = target.format(path=tmp_path / "s", name=f"tensor-lab-{free_port()}")
    with serving(where=where) as server, channel(where) as made:
        assert made.call("/t/echo", bytes(1 << 20), 20) == bytes(1 << 20)
        server.stop().wait()
        assert error(made).code is Code.UNAVAILABLE


@pytest.mark.parametrize("target", ["localhost:{}", "dns:///localhost:{}", "dns:localhost:{}", "ipv4:127.0.0.1:{}"])
def test_names_are_looked_up(target: str) -> None:
    with serving() as server, channel(target.format(server.where.rpartition(":")[2])) as made:
        for _ in range(3):
            assert made.call("/t/echo", b"m", 20) == b"m"


@pytest.mark.parametrize("target", ["serving", "::1:9000", "xds:///a:1", "host:port", "dns://8.8.8.8/a:1", "a:70000"])
def test_a_target_that_is_none_is_told(target: str) -> None:
    with pytest.raises(ValueError, match="wanted host:port"):
        Channel(target, MAX_BYTES)


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}/")
    with serving() as server, channel(server.where) as made:
        assert made.call("/t/echo", b"m", 20) == b"m"
