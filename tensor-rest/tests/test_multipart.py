"""Untrusted forms and zips: every spelling of a form gives the same files, and bounds hold before unpacking."""

import io
import random
import struct
import zipfile
from typing import Any

import flask
import pytest
from gateway_kit import image_file

from tensor_rest.app import _Request
from tensor_rest.errors import ApiError, BadRequestError, TooLargeError
from tensor_rest.payloads import multipart

MAX_BYTES = 4 << 20
PLAIN = "multipart/form-data; boundary=XX"


def request(body: bytes, content_type: str = "multipart/form-data; boundary=XX") -> Any:
    """The context of a POST with this body."""
    app = flask.Flask("test")
    app.request_class = _Request
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    return app.test_request_context("/", method="POST", data=body, content_type=content_type)


def files(body: bytes, content_type: str = "multipart/form-data; boundary=XX") -> list[multipart.File]:
    with request(body, content_type):
        return multipart.images(flask.request)


def part(data: bytes, name: str = "image", file: str = "a.png", extra: str = "\r\nContent-Type: image/png") -> bytes:
    head = f'--XX\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"{extra}\r\n\r\n'
    return head.encode() + data + b"\r\n"


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        for name, data in entries:
            packed.writestr(name, data)
    return file.getvalue()


def in_form(data: bytes) -> bytes:
    return part(data) + b"--XX--\r\n"


def refused(kind: type[ApiError], data: bytes, text: str) -> None:
    with pytest.raises(kind) as caught:
        files(in_form(data))
    assert text in str(caught.value)


# ---- forms


@pytest.mark.parametrize(
    "body",
    [
        part(b"DATA") + b"--XX--\r\n",
        part(b"DATA") + b"--XX--",
        part(b"DATA", extra="") + b"--XX--\r\n",
        b"a preamble\r\n" + part(b"DATA") + b"--XX--\r\nan epilogue",
        part(b"DATA", extra="\r\nX-Odd: 1") + b"--XX--\r\n",
        part(b"DATA").replace(b"Content-Disposition: form-data", b"content-disposition:form-data") + b"--XX--\r\n",
        part(b"DATA", name="data") + b"--XX--\r\n",
        part(b"DATA", name="") + b"--XX--\r\n",
        part(b"", name="other", file="") + part(b"DATA") + b"--XX--\r\n",
        b'--XX\r\nContent-Disposition: form-data; name="limit"\r\n\r\n3\r\n' + part(b"DATA") + b"--XX--\r\n",
    ],
    ids=[
        "usual",
        "no line end",
        "no type",
        "preamble",
        "odd header",
        "lower case",
        "field",
        "no field",
        "no file chosen",
        "text",
    ],
)
def test_every_spelling_of_a_form_gives_the_file(body: bytes) -> None:
    assert files(body) == [("a.png", b"DATA")]


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"x--XX", b"a\r\n--XY\r\nb", b"\r\n\r\n", b"\r\n--X", bytes(range(256)) * 9]
)
def test_what_is_in_the_file_does_not_matter(data: bytes) -> None:
    assert files(in_form(data)) == [("a.png", data)]
    with request(in_form(data)):
        assert multipart.image(flask.request) == data


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=XX"),
        (b"--XX--\r\n", "multipart/form-data; boundary=XX"),
        (in_form(b"DATA"), "multipart/form-data; boundary=YY"),
        (in_form(b"DATA"), "multipart/form-data"),
        (in_form(b"DATA"), "text/plain"),
        (part(b"", file="") + b"--XX--\r\n", "multipart/form-data; boundary=XX"),
        (b'--XX\r\nContent-Disposition: form-data; name="image"\r\n\r\n3\r\n--XX--\r\n', PLAIN),
    ],
    ids=["empty", "no part", "other boundary", "no boundary", "no form", "no file chosen", "text only"],
)
def test_a_request_without_the_file_is_400_with_an_example(body: bytes, content_type: str) -> None:
    with pytest.raises(BadRequestError, match="this request has no file"):
        files(body, content_type)


def test_the_own_reader_agrees_with_the_parser_or_leaves_it_to_it() -> None:
    """On forms with bytes changed, cut out and doubled: whatever it takes apart, Werkzeug takes apart alike."""
    chance = random.Random(7)
    whole = part(b"one\r\n--X") + part(b"two", file="b.png") + b"--XX--\r\n"
    taken = 0
    for _ in range(3000):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            at, length = chance.randrange(len(body)), chance.randint(0, 4)
            body[at : at + length] = bytes(chance.choices(b'\r\n-X"; a\0=', k=chance.randint(0, 4)))
        found = multipart.usual(bytes(body), b"XX")
        if found is not None:
            taken += 1
            with request(bytes(body)):
                parsed = [(f.filename, f.read()) for _, f in flask.request.files.items(multi=True)]
                assert sorted(found) == sorted(file for file in parsed if file != ("", b""))
    assert taken > 100


def test_several_files_come_in_order_and_one_image_means_one() -> None:
    body = part(b"1", file="a") + part(b"2", file="b", name="data") + part(b"3", file="c") + b"--XX--\r\n"
    assert files(body) == files(b"preamble\r\n" + body) == [("a", b"1"), ("b", b"2"), ("c", b"3")]
    with request(body), pytest.raises(BadRequestError, match="the form has 3"):
        multipart.image(flask.request)


def test_too_many_files_and_too_large_a_body_are_refused() -> None:
    with pytest.raises(TooLargeError, match="1001 files"):
        files(part(b"") * 1001 + b"--XX--\r\n")
    response = request(in_form(bytes(MAX_BYTES)))
    with response, pytest.raises(Exception, match="413"):
        multipart.images(flask.request)


# ---- zips


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_zip_gives_its_files_without_folders_and_clutter(method: int) -> None:
    data = zipped(
        ("d/", b""),
        ("d/a.png", image_file(60)),
        ("__MACOSX/d/a.png", b"x"),
        ("d/.DS_Store", b"x"),
        ("b", b"B"),
        method=method,
    )
    assert files(in_form(data)) == [("d/a.png", image_file(60)), ("b", b"B")]
    assert files(part(b"first") + part(data) + b"--XX--\r\n")[0] == ("a.png", b"first")


def test_a_zip_in_a_zip_stays_closed() -> None:
    inner = zipped(("x", b"x"))
    assert files(in_form(zipped(("inner.zip", inner)))) == [("inner.zip", inner)]


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    refused(TooLargeError, zipped(("zeros", bytes(MAX_BYTES))), "200 times")
    refused(
        TooLargeError, zipped(*((str(n), random.Random(n).randbytes(1 << 10) * 3500) for n in range(3))), "unpacks to"
    )
    refused(TooLargeError, zipped(*((str(n), b"") for n in range(1001))), "1001 files")
    refused(TooLargeError, zipped(*(("n" * 200 + str(n), b"") for n in range(4500))), "too many entries")


def test_a_zip_that_lies_about_a_size_is_refused() -> None:
    data = bytearray(zipped(("a", bytes(300_000)), method=zipfile.ZIP_DEFLATED))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 10)
    refused(BadRequestError, bytes(data), "cannot be unpacked")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(method: int) -> None:
    refused(BadRequestError, zipped(("a", b"A" * 100), method=method), "unusual")


def test_broken_zips_are_refused_whatever_is_broken() -> None:
    whole = zipped(("a", b"A" * 100), ("b", b"B" * 100))
    refused(BadRequestError, zipped(), "no files")
    refused(BadRequestError, whole[:-5], "broken")
    refused(BadRequestError, whole + b"x", "broken")
    locator = b"PK\x06\x07" + bytes(16)  # of zip64's own record of the end, which would be believed
    refused(BadRequestError, whole[:-22] + locator + whole[-22:], "zip64")
    nameless = bytearray(zipped(("a", b"x")))
    at = nameless.index(b"PK\1\2")  # the entry in the directory
    nameless[at + 28], nameless[at + 46 : at + 47], nameless[-10] = 0, b"", 46
    refused(BadRequestError, bytes(nameless), "cannot be unpacked")
    chance = random.Random(3)
    statuses = set()
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(4, len(data))] = chance.randrange(256)
        try:
            files(in_form(bytes(data)))
        except ApiError as error:
            statuses.add(error.status)
    assert 400 in statuses <= {400, 413}
