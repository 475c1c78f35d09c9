"""`lab models push` and `pull`: versions go through an object store whole, or not at all."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape, unescape

import pytest
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.staging import publish, staging
from tensor_jupyter.publishing.store import Ref, Store

FILES = {"saved_model.pb": b"graph", "variables/variables.data-00000-of-00001": bytes(3_000_000), "assets/ü.txt": b""}


@pytest.fixture(params=["folder", "s3"])
def url(request, tmp_path, monkeypatch):
    """A store: a folder, and a bucket behind the protocol of S3."""
    if request.param == "folder":
        return f"file://{tmp_path}/store"
    server = request.getfixturevalue("s3")
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return f"s3://models/{tmp_path.name}"


@pytest.fixture(scope="session")
def s3():
    """The variables that lead to a server with the bucket `models`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        server.shutdown()
        thread.join()


class Bucket(BaseHTTPRequestHandler):
    """As much of S3 as is called: list, get, put and delete, one at a time or several; every signature will do."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}

    @property
    def key(self):
        return urllib.parse.unquote(self.path.partition("?")[0]).removeprefix("/models").lstrip("/")

    def answer(self, status=200, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if not self.path.startswith("/models"):
            self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif not self.key:
            self.answer(body=self.listing(dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))))
        elif self.key in self.objects:
            modified = "Sun, 29 Nov 2026 12:00:00 GMT"
            self.answer(body=self.objects[self.key], ETag='"1"', Last_Modified=modified)
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def listing(self, query):
        prefix, keys, folders = query.get("prefix", ""), [], set()
        for key in sorted(each for each in self.objects if each.startswith(prefix)):
            head, slash, _ = key[len(prefix) :].partition("/")
            folders |= {prefix + head + "/"} if slash and "delimiter" in query else set()
            keys += [] if slash and "delimiter" in query else [key]
        one = "<Contents><Key>{}</Key><Size>{}</Size><LastModified>2026-11-29T12:00:00.000Z</LastModified></Contents>"
        found = [one.format(escape(key), len(self.objects[key])) for key in keys]
        found += [f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in sorted(folders)]
        return f"<ListBucketResult>{''.join(found)}</ListBucketResult>".encode()

    def do_PUT(self):
        self.objects[self.key] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(ETag='"1"')

    def do_DELETE(self):
        self.objects.pop(self.key, None)
        self.answer(204)

    def do_POST(self):
        document = self.rfile.read(int(self.headers["Content-Length"])).decode()
        gone = [unescape(each) for each in re.findall("<Key>(.*?)</Key>", document)]
        for key in gone:
            self.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in gone)
        self.answer(body=f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def log_message(self, *_words):
        pass


@pytest.fixture
def labs(tmp_path):
    """The models folders of two labs: in the first, net 1 and 2 and other 7."""
    one, two = tmp_path / "one", tmp_path / "two"
    for name, version in (("net", 1), ("net", 2), ("other", 7)):
        write(one / name / str(version))
    two.mkdir()
    return one, two


def write(folder, **more):
    for name, content in {**FILES, "own": str(folder).encode(), **more}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def lab(models, *words, code=0):
    done = CliRunner().invoke(app, ["models", *map(str, words)], env={"LAB_MODELS": str(models), "COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.output


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def versions(models):
    return sorted(str(path.relative_to(models)) for path in models.glob("[!.]*/[!.]*/"))


def test_versions_and_labels_arrive_as_they_were(url, labs):
    one, two = labs
    Registry(one, "net").label("stable", 1)
    assert "pushed: net 1\npushed: net 2\npushed: other 7" in lab(one, "push", "--store", url)
    assert "pulled: other 7" in lab(two, "pull", "--store", url)
    for version in ("net/1", "net/2", "other/7"):
        assert content(two / version) == content(one / version)
    assert Registry(two, "net").settings() == Registry(one, "net").settings()
    assert "Nothing to do" in lab(one, "push", "--store", url)
    assert "Nothing to do" in lab(two, "pull", "--store", url)


def test_a_label_that_moved_comes_after_its_version(url, labs):
    one, two = labs
    lab(one, "push", "net", "--store", url)
    lab(two, "pull", "--store", url)
    write(one / "net" / "3")
    Registry(one, "net").label("stable", 3)
    lab(one, "push", "net", "--store", url)
    assert json.loads(lab(two, "pull", "--store", url, "--json")) == {
        "pulled": ["net 3"],
        "settings": ["net"],
        "removed": [],
    }
    assert Registry(two, "net").settings().labels == {"stable": 3}


def test_only_the_models_that_are_named_go_and_come(url, labs):
    one, two = labs
    lab(one, "push", "--store", url)
    lab(two, "pull", "other", "--store", url)
    assert versions(two) == ["other/7"]
    assert "has no version of none" in lab(two, "pull", "none", "--store", url, code=1)


def test_what_is_gone_is_deleted_only_with_prune_and_only_if_it_was_pulled(url, labs):
    one, two = labs
    write(two / "net" / "9")
    lab(one, "push", "--store", url)
    lab(two, "pull", "--store", url)
    shutil.rmtree(one / "net" / "1")
    lab(one, "push", "--store", url)
    assert Ref("net", 1) in Store(url).versions()
    assert "removed: net 1" in lab(one, "push", "--store", url, "--prune")
    assert Ref("net", 1) not in Store(url).versions()
    lab(two, "pull", "--store", url)
    assert "net/1" in versions(two)
    lab(two, "pull", "--store", url, "--prune")
    assert versions(two) == ["net/2", "net/9", "other/7"]


def test_prune_spares_a_local_version_with_a_pulled_one_s_number(url, labs):
    one, two = labs
    lab(one, "push", "net", "--store", url)
    lab(two, "pull", "--store", url)
    Registry(two, "net").delete(2, [1, 2], force=True)
    with staging(two) as folder:
        write(folder)
        publish(folder, two, "net", 2)
    Store(url).remove(Ref("net", 2))
    lab(two, "pull", "--store", url, "--prune")
    assert versions(two) == ["net/1", "net/2"]


def test_a_store_without_models_deletes_none(url, labs):
    one, two = labs
    lab(one, "push", "--store", url)
    lab(two, "pull", "--store", url)
    assert "has no version of any model" in lab(two, "pull", "--store", f"{url}-empty", "--prune", code=1)
    assert versions(two) == ["net/1", "net/2", "other/7"]


def test_a_version_is_never_another_one_of_its_number(url, labs):
    one, two = labs
    lab(one, "push", "net", "--store", url)
    write(two / "net" / "1", own=b"another")
    assert "has another net 1" in lab(two, "push", "--store", url, code=1)
    lab(two, "pull", "--store", url)
    assert content(two / "net" / "1")["own"] == b"another"


def test_what_is_not_as_its_manifest_says_does_not_appear(tmp_path, labs):
    one, two = labs
    store = tmp_path / "store"
    lab(one, "push", "net", "--store", f"file://{store}")
    for wrong in (b"graPh", b"graph and more", b""):
        (store / "net" / "2" / "saved_model.pb").write_bytes(wrong)
        assert "net/2/saved_model.pb is not the file of its manifest" in lab(
            two, "pull", "--store", f"file://{store}", code=1
        )
        assert versions(two) == ["net/1"]
    (store / "net" / "2" / "saved_model.pb").unlink()
    assert "net/2/saved_model.pb" in lab(two, "pull", "--store", f"file://{store}", code=1)
    assert list((two / ".staging").iterdir()) == []


def test_a_manifest_that_leads_out_of_the_version_is_refused(tmp_path, labs):
    one, two = labs
    store = tmp_path / "store"
    lab(one, "push", "net", "--store", f"file://{store}")
    manifest = json.loads((store / "net" / "2.json").read_text())
    for path in ("../outside", "/etc/outside", "a//b", "a/../../../outside", ""):
        files = {path: manifest["files"]["saved_model.pb"]}
        (store / "net" / "2.json").write_text(json.dumps({"files": files}))
        assert "not a path in the version" in lab(two, "pull", "--store", f"file://{store}", code=1)
    for text in ("{}", "[]", '{"files": {}}', '{"files": {"a": {"bytes": -1, "sha256": "0"}}}', "not JSON"):
        (store / "net" / "2.json").write_text(text)
        assert "the manifest of net 2 cannot be read" in lab(two, "pull", "--store", f"file://{store}", code=1)
    assert not list(tmp_path.rglob("outside"))


def test_what_is_no_version_is_not_seen(tmp_path, labs):
    one, _ = labs
    store = tmp_path / "store"
    lab(one, "push", "--store", f"file://{store}")
    for path in ("net/03.json", "net/0.json", "net/x.json", "net/4/saved_model.pb", "Not-A-Name/1.json", "5.json"):
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        (store / path).write_text("{}")
    assert Store(f"file://{store}").versions() == [Ref("net", 1), Ref("net", 2), Ref("other", 7)]


def test_a_store_that_cannot_be_used_is_named_in_one_line(monkeypatch, s3):
    for wrong, text in (
        ("s3:/", "s3:/"),
        ("ftp://host/models", "ftp://host/models"),
        ("file://models", "not an absolute folder"),
    ):
        with pytest.raises(LabError, match=text):
            Store(wrong).versions()
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LabError, match="s3://none") as caught:
        Store("s3://none/models").versions()
    assert "\n" not in str(caught.value)
    assert "Missing option" in CliRunner().invoke(app, ["models", "push"]).output


def test_pull_goes_on_and_shows_that_it_lives(tmp_path, labs):
    one, two = labs
    store, beat = f"file://{tmp_path}/store", tmp_path / "beat"
    command = [sys.executable, "-m", "tensor_jupyter", "models", "pull", "--store", store, "--every", "0.1"]
    environment = {**os.environ, "LAB_MODELS": str(two), "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [*command, "--beat", str(beat)], env=environment, stderr=subprocess.PIPE, text=True
    ) as pulling:
        assert "has no version of any model" in pulling.stderr.readline()  # and it looks again
        assert not beat.exists()
        lab(one, "push", "net", "--store", store)
        for line in pulling.stderr:
            if "Nothing to do" in line:
                break
        assert beat.exists()
        assert versions(two) == ["net/1", "net/2"]
        pulling.send_signal(signal.SIGINT)
        assert pulling.wait(20) == 130
