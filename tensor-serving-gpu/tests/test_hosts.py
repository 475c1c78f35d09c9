"""Which Host and Origin header fields are refused, as a browser sends them for another site's page."""

import pytest

from tensor_serving.hosts import VARIABLE, Hosts


@pytest.mark.parametrize(
    "host",
    [
        *("", "127.0.0.1:8502", "[::1]:8501", "[::1]", "10.1.2.3", "localhost", "LOCALHOST:80", "tensor-serving:8502"),
        *("serving.lab.svc:8502", "serving.lab.svc.cluster.local", "host.docker.internal"),
        *("a.example", "x.b.example:1"),
    ],
)
def test_a_name_of_ours_is_answered(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv(VARIABLE, "A.example, *.b.example")
    assert Hosts.from_environment("0.0.0.0").refusal(host) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8502", "127.0.0.1.evil.example", "a.example.evil", "b.example", "x.y:z"]
)
def test_another_name_is_refused(host: str) -> None:
    refusal = Hosts(["a.example", "*.b.example"]).refusal(host)
    assert refusal
    assert refusal.status == 421
    assert host in refusal.message
    assert Hosts(["*"]).refusal(host) is None


@pytest.mark.parametrize(
    ("origin", "fetch_site", "status"),
    [
        ("", "", 0),
        ("http://127.0.0.1:8502", "", 0),
        ("http://127.0.0.1:8080", "same-site", 403),
        ("https://evil.example", "cross-site", 403),
        ("null", "", 403),
        ("https://lab.example", "same-origin", 0),  # a proxy that does not pass on Host
    ],
)
def test_an_origin_must_be_our_own(origin: str, fetch_site: str, status: int) -> None:
    refusal = Hosts().refusal("127.0.0.1:8502", origin, fetch_site)
    assert (refusal.status if refusal else 0) == status
