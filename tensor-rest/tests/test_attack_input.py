"""Names, JSON, arrays and forms of hostile clients: each is answered or refused, never a 5xx."""

import io
import json
import struct
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_kit import client_of, files
from gateway_kit import check_error, image_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_model_server import ModelServer

from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.backend.tensors import write
from tensor_rest.errors import BadRequestError, TooLargeError
from tensor_rest.payloads import npy, tensor_json

PREDICT = "/tf/models/half-net/predict"
CLASSIFY = "/tf/models/mnist-net/classify"
SOME = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "b64", "x"]), inner),
    max_leaves=12,
)
KINDS = [pb.DT_FLOAT, pb.DT_HALF, pb.DT_INT8, pb.DT_UINT64, pb.DT_BOOL, pb.DT_STRING]


def infos(kind: int, sizes: list[int], aliases: str = "x") -> dict[str, pb.TensorInfo]:
    shape = pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=size) for size in sizes])
    return {alias: pb.TensorInfo(dtype=kind, tensor_shape=shape) for alias in aliases}


def unless_refused(read: Callable[..., Any], *arguments: Any) -> Any:
    """What `read` makes of it, or None for a refusal; anything else is raised."""
    try:
        return read(*arguments)
    except (BadRequestError, TooLargeError):
        return None


# ---- values and arrays: what is taken has the type and shape that the signature says


@SOME
@given(JSON, st.sampled_from(KINDS), st.lists(st.sampled_from([-1, 0, 1, 2]), max_size=3), st.sampled_from(["x", "ab"]))
def test_any_json_is_a_tensor_of_the_type_or_refused(value: Any, kind: int, sizes: list[int], aliases: str) -> None:
    wanted = infos(kind, sizes, aliases)
    for read in (tensor_json.from_rows, tensor_json.from_columns):
        arrays = unless_refused(read, value, wanted)
        if arrays is None:
            continue
        assert arrays.keys() == wanted.keys()
        for array in arrays.values():
            tensor = pb.TensorProto()
            write(array, tensor)
            assert tensor.dtype == kind


@SOME
@given(st.binary(max_size=200), st.integers(0, 127), st.binary(max_size=6))
def test_any_bytes_for_an_array_are_one_or_refused(tail: bytes, at: int, noise: bytes) -> None:
    whole = npy.dumps(np.arange(6, dtype=np.int16).reshape(2, 3))
    for data in (tail, whole[:10] + tail, whole[:at] + noise + whole[at + len(noise) :], whole[: 128 - at] + tail):
        for read in (npy.loads, lambda data: npy.loads_all(data, 1000)):
            unless_refused(read, data)


@SOME
@given(st.integers(0, 400), st.binary(min_size=1, max_size=6))
def test_a_damaged_archive_is_read_or_refused(at: int, noise: bytes) -> None:
    whole = npy.dumps_all({"a": np.arange(6), "b": np.array([b"x", b"yz"], object)})
    at = min(at, len(whole) - 1)
    unless_refused(npy.loads_all, whole[:at] + noise + whole[at + len(noise) :], 10_000)


HEADERS = [
    "-" * 9000 + "1",
    "(" * 9000,
    "[" * 4000 + "]" * 4000,
    "lambda:" * 1400,
    "a" + ".a" * 4900,
    "{'descr':'<f4','shape':(-1,-4),'fortran_order':False}",
    "{'descr':'<f4','shape':(" + "1099511627775," * 30 + "),'fortran_order':False}",
    "{'descr':'<f4','shape':(" + "1," * 33 + "),'fortran_order':False}",
    "{'descr':'<f4','shape':(" + "9" * 5000 + ",),'fortran_order':False}",
    "{'descr':'|O','shape':(1,),'fortran_order':False}",
    "{'descr':'|S2147483647','shape':(0,),'fortran_order':False}",
    "{'descr':[('a','<f4',(99999,99999))],'shape':(1,),'fortran_order':False}",
    "{'descr':'f4," + "f4," * 1000 + "f4','shape':(1,),'fortran_order':False}",
]


@pytest.mark.parametrize("header", HEADERS, ids=[text[:40] for text in HEADERS])
def test_an_array_whose_header_is_a_trap_is_refused(api: Any, header: str) -> None:
    data = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + bytes(4)
    check_error(api.post(PREDICT, data=data, content_type=npy.NPY), 400)


def test_arrays_of_too_many_texts_are_refused_before_they_become_objects(api: Any) -> None:
    """Ten million texts of a byte would be half a gigabyte of objects."""
    many = npy.dumps(np.full(1_000_001, b"ab"))
    answer = api.post("/tf/models/sums-net/predict", data=many, content_type=npy.NPY)
    check_error(answer, 413, "1,000,001 texts", "at most 1,000,000")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in "ab":
            packed.writestr(f"{name}.npy", npy.dumps(np.full(600_000, b"ab")))
    answer = api.post("/tf/models/sums-net/predict", data=file.getvalue(), content_type=npy.NPZ)
    check_error(answer, 413, "1,200,000 texts")


# ---- JSON


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b'{"inputs": [1e999]}', (200, 400)),
        (b'{"inputs": [' + b"9" * 5000 + b"]}", (200, 400)),
        (b'{"inputs": [NaN, ' + b"9" * 5000 + b"]}", (400,)),
        (b'{"inputs": [1], "inputs": [2], "inputs": "x"}', (400,)),
        (b'{"inputs": [1], "signature_name": "\\ud800", "x": NaN}', (400,)),
        (b'{"inputs": {"\\ud800": [NaN]}}', (400,)),
        (b'{"\\u0000": 1, "inputs": [1]}', (200,)),
        (b'\xef\xbb\xbf{"inputs": [1]}', (200,)),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"inputs": [1]}', (400,)),
        ('{"inputs": [1]}'.encode("utf-16"), (400,)),
        (b'{"inputs": [01]}', (400,)),
        (b'{"inputs": [1,]}', (400,)),
        (b'{"inputs": [-]}', (400,)),
        (b'{"inputs": [' + b"[" * 29 + b"]" * 29 + b"]}", (400,)),
        (b'{"inputs": [' + b"[" * 31 + b"]" * 31 + b"]}", (400,)),
    ],
    ids=lambda value: None if isinstance(value, tuple) else repr(value[:40]),
)
def test_json_that_parsers_disagree_on(api: Any, body: bytes, statuses: tuple[int, ...]) -> None:
    answer = api.post(PREDICT, data=body, content_type="application/json")
    assert answer.status_code in statuses, answer.text
    assert api.post("/v1/models/half-net:predict", data=body).status_code in statuses


@pytest.mark.parametrize(
    "feature",
    [
        '"\\ud800": NaN',
        f'"{"x" * 500_000}\\ud800": NaN',
        '"x": "\\ud800", "y": NaN',
        '"x": {"b64": NaN}',
        '"x": [[NaN]]',
    ],
)
def test_examples_that_are_not_unicode_are_refused(api: Any, feature: str) -> None:
    answer = api.post("/v1/models/mnist-net:classify", data=f'{{"examples": [{{{feature}}}]}}')
    assert answer.status_code == 400
    assert set(answer.json) == {"error"}
    assert len(answer.data) < 1000


def test_what_a_client_wrote_is_not_sent_back_at_length(api: Any) -> None:
    """A megabyte in, and not one back."""
    name = "x" * 1_000_000
    for path, document in (
        (PREDICT, {"inputs": {name: [1]}}),
        (PREDICT, {"inputs": [1], "signature_name": name}),
        (PREDICT, {"instances": [{name: 1}]}),
        ("/v1/models/mnist-net:classify", {"examples": [{name: {}}]}),
        ("/v1/models/mnist-net:classify", {"examples": [{name: {"b64": 1}}]}),
    ):
        answer = api.post(path, data=json.dumps(document))
        assert answer.status_code == 400
        assert len(answer.data) < 1000, answer.data[:200]


# ---- names


NAMES = [
    *("..", ".", "%00", "a\0b", "a\r\nX-Evil: 1", "a%0d%0ab", "\u202egnp", "ｍnist-net", "MNIST-NET", "mnist-net\n"),
    *(
        "mnist-net ",
        "con",
        "a" * 64,
        "a" * 9000,
        "{limit}",
        "%s%n",
        "$(id)",
        "'--",
        "a;b",
        "_",
        "-a",
        ".lock",
        "\udcff",
    ),
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_a_name_that_is_none_never_reaches_a_model(api: Any, serves: ModelServer, name: str) -> None:
    quoted = urllib.parse.quote(name, safe="", errors="surrogateescape")
    for method, path, form in (
        ("POST", f"/tf/mnist/{quoted}", True),
        ("POST", f"/tf/models/{quoted}/classify", True),
        ("POST", f"/tf/models/{quoted}/predict", False),
        ("GET", f"/tf/models/{quoted}", False),
        ("GET", f"/tf/models/{quoted}/client", False),
        ("GET", f"/v1/models/{quoted}/metadata", False),
        ("POST", f"/v1/models/{quoted}:predict", False),
        ("POST", f"/tf/models/mnist-net/labels/{quoted}/classify", True),
        ("POST", f"/tf/models/mnist-net/versions/{quoted}/classify", True),
    ):
        sent = {"data": files(("a.png", image_file(60)))} if form else {"data": b'{"inputs": [1]}'}
        answer = api.open(path, method=method, **(sent if method == "POST" else {}))
        assert answer.status_code in (400, 404, 405, 308), (path, answer.text)
        assert "X-Evil" not in answer.headers
        assert "Traceback" not in answer.text
        assert len(answer.data) < 2000
    assert "Predict" not in serves.calls


@pytest.mark.parametrize("given_id", ["a b", "a\x7f", "x" * 65, "ä", '"}', "../..", "${jndi:x}", ""])
def test_a_request_id_that_could_do_harm_is_replaced(api: Any, given_id: str) -> None:
    answer = api.get("/nowhere", headers={"X-Request-Id": given_id})
    check_error(answer, 404)
    assert answer.headers["X-Request-Id"] != given_id


def test_an_unknown_label_is_404_for_every_call_of_serving(api: Any) -> None:
    document = {"data": b'{"examples": [{"x": 0.5}]}'}
    for method, path, sent in (
        ("GET", "/v1/models/mnist-net/labels/nope", {}),
        ("POST", "/v1/models/mnist-net/labels/nope:classify", document),
        ("POST", "/v1/models/mnist-net/labels/nope:regress", document),
    ):
        assert api.open(path, method=method, **sent).status_code == 404, path
    assert api.get("/v1/models/mnist-net/labels/stable").status_code == 200


# ---- forms and lengths


def form(*parts: str, end: str = "--XX--\r\n") -> bytes:
    return "".join(f"--XX\r\n{part}\r\n" for part in parts).encode() + end.encode()


FIELD = 'Content-Disposition: form-data; name="x"\r\n\r\ny'
FILE = 'Content-Disposition: form-data; name="image"; filename="a"'
USUAL = "multipart/form-data; boundary=XX"
FORMS = {
    "no boundary": (form(FIELD), "multipart/form-data"),
    "empty boundary": (form(FIELD), "multipart/form-data; boundary="),
    "long boundary": (b"--" + b"a" * 9000, "multipart/form-data; boundary=" + "a" * 9000),
    "quotes": (b"", 'multipart/form-data; a="' + "\\" * 4000),
    "fields": (form(*[FIELD] * 10_000), USUAL),
    "files": (form(*[f"{FILE}\r\n\r\nx"] * 10_000), USUAL),
    "header": (form(f"{FILE}\r\nX: {'a' * 5_000_000}\r\n\r\nx"), USUAL),
    "headers": (form(FILE + "".join(f"\r\nX{n}: a" for n in range(100_000)) + "\r\n\r\nx"), USUAL),
    "charset": (form(f"{FILE}; filename*=utf-16''%00%d8\r\n\r\nx"), USUAL),
    "nested": (form(f"{FILE}\r\nContent-Type: multipart/mixed; boundary=YY\r\n\r\n--YY\r\n"), USUAL),
    "no end": (form(f"{FILE}\r\n\r\nx", end="--XX"), USUAL),
    "boundaries": (b"--XX" * 2_000_000, USUAL),
    "nearly boundaries": (form(f"{FILE}\r\nContent-Type: a/b; c=d\r\n\r\n" + "\r\n--X" * 1_000_000), USUAL),
}


@pytest.mark.parametrize("trap", FORMS)
def test_a_form_that_is_a_trap_is_refused(api: Any, trap: str) -> None:
    body, content_type = FORMS[trap]
    for path in (CLASSIFY, "/predictlabel", "/tf/mnist/mnist-net"):
        answer = api.post(path, data=body, content_type=content_type)
        assert answer.status_code in (400, 413, 415), answer.text
        check_error(answer, answer.status_code)


@pytest.mark.parametrize("length", ["abc", "-1", "1_0", "+2", "0x2", "١"])
@pytest.mark.parametrize("packing", [{}, {"HTTP_CONTENT_ENCODING": "gzip"}])
def test_a_length_that_is_none_is_refused(api: Any, length: str, packing: dict[str, str]) -> None:
    answer = api.post("/predictlabel", environ_overrides={"CONTENT_LENGTH": length, **packing})
    check_error(answer, 400, "Content-Length")


@pytest.mark.parametrize("parts", [[FIELD] * 1001, [FIELD + "7" * 600_000]], ids=["parts", "field"])
def test_a_form_with_too_large_parts_is_413(serves: ModelServer, tmp_path: Path, parts: list[str]) -> None:
    client = client_of(serves, tmp_path, feedback_dir=tmp_path / "feedback")
    answer = client.put("/tf/models/mnist-net/feedback", data=form(*parts), content_type=USUAL)
    check_error(answer, 413, "at most 1,000 parts", "500,000 bytes of a field")
