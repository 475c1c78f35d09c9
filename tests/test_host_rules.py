"""The gateway and the model server accept the same host names.

Services do not import each other, so each implements the rule; this test compares the two.
"""

from hypothesis import given
from hypothesis import strategies as st

from tensor_rest.errors import MisdirectedError
from tensor_rest.middleware.hosts_cors import Browser
from tensor_rest.settings import Settings
from tensor_serving.hosts import Hosts

LISTED = ("lab.example", "*.farm.example")
GATEWAY = Browser(Settings(allowed_hosts=LISTED, host="127.0.0.1"))
MODEL_SERVER = Hosts(LISTED)

names = st.sampled_from(
    [
        *("", "localhost", "LOCALHOST", "tensor-serving", "a.b", "127.0.0.1", "127.0.0.1.evil.example", "1.2.3"),
        *("[::1]", "::1", "[::1", "[fe80::1%25eth0]", "lab.example", "x.lab.example", "farm.example", "a.farm.example"),
        *("a.svc", "a.svc.cluster.local", "svc", "x.internal", "internal.evil", "*", "é.example", "a b"),
    ]
)
headers = st.builds(
    "".join, st.tuples(names, st.sampled_from(["", ".", ".."]), st.sampled_from(["", ":", ":80", ":x"]))
)


@given(headers | st.text(max_size=30))
def test_both_know_the_same_names(host: str) -> None:
    try:
        GATEWAY.check({"HTTP_HOST": host, "REQUEST_METHOD": "GET"})
        known = True
    except MisdirectedError:
        known = False
    assert (MODEL_SERVER.refusal(host) is None) == known
