"""The watcher and the generator as processes."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from serving_kit import Command, environment, tiny_saved_model, wait_until


class Watch(Command):
    """The watcher over a volume of its own."""

    def __init__(self, folder: Path) -> None:
        self.models, self.output = folder / "models", folder / "run" / "models.config"
        where = ("--models", self.models, "--output", self.output)
        super().__init__(folder / "log", "watch", *where, "--port", 0, "--poll-seconds", 0.05)
        self.url = f"http://127.0.0.1:{self.said(r'127.0.0.1:([0-9]+)/')[1]}/"

    def inventory(self) -> dict:
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            assert answer.headers["Content-Type"] == "application/json"
            return json.load(answer)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    tiny_saved_model(tmp_path / "models" / "net" / "1")
    with Watch(tmp_path) as watch:
        yield watch


def test_inventory_follows_the_volume(watch: Watch) -> None:
    entry: dict = {"name": "net", "versions": [1], "serving": [1], "labels": {}, "quarantined": [], "problems": []}
    entry["independent_rows"] = None
    inventory = watch.inventory()
    looked = datetime.fromisoformat(inventory.pop("looked"))
    assert abs(datetime.now(timezone.utc) - looked) < timedelta(seconds=20)
    assert inventory == {"models": [entry], "ignored": []}
    tiny_saved_model(watch.models / "net" / "2")
    (watch.models / "net" / "3").mkdir()
    (watch.models / "net" / "serving.json").write_text('{"version_labels": {"stable": 1}, "independent_rows": true}')
    tiny_saved_model(watch.models / "alpha" / "1")
    wanted = {
        "name": "net",
        "versions": [1, 2],
        "serving": [1, 2],
        "labels": {"stable": 1},
        "quarantined": [{"version": 3, "reason": "saved_model.pb is missing"}],
        "problems": [],
        "independent_rows": True,
    }
    wait_until(lambda: watch.inventory()["models"] == [entry | {"name": "alpha"}, wanted])
    assert "versions: 1 versions: 2" in watch.output.read_text()
    assert watch.text().count("net version 3 is quarantined: saved_model.pb is missing") == 1


def test_a_near_model_is_listed_and_logged_once(watch: Watch) -> None:
    (watch.models / "net" / "1").rename(watch.models / "staged")
    (watch.models / "net").rmdir()
    (watch.models / "staged").rename(watch.models / "ResNet")
    (entry,) = wait_until(lambda: watch.inventory()["ignored"])
    assert entry["path"] == "ResNet"
    watch.said(r"'ResNet' is ignored: a SavedModel without a version folder; .*; to serve it: mkdir models/resnet && ")
    subprocess.run(["sh", "-ec", entry["fix"]], check=True, cwd=watch.models.parent)
    wait_until(lambda: [model["name"] for model in watch.inventory()["models"]] == ["resnet"])
    assert watch.inventory()["ignored"] == []
    assert watch.text().count(f"to serve it: {entry['fix']}") == 1


def test_a_fifo_in_the_volume_stops_nothing(watch: Watch) -> None:
    os.mkfifo(watch.models / "net" / "serving.json")
    (watch.models / "net" / "2").mkdir()
    os.mkfifo(watch.models / "net" / "2" / "saved_model.pb")
    tiny_saved_model(watch.models / "other" / "1")
    entries = wait_until(lambda: len(found := watch.inventory()["models"]) == 2 and found)
    assert entries[0]["quarantined"] == [{"version": 2, "reason": "saved_model.pb is not a regular file"}]
    assert entries[0]["problems"] == ["serving.json is ignored: cannot be read: it is not a regular file"]
    assert [entry["serving"] for entry in entries] == [[1], [1]]


def test_a_volume_that_vanishes_leaves_everything_as_it_was(watch: Watch) -> None:
    before = watch.output.read_text()
    watch.models.rename(watch.models.with_name("away"))
    error = wait_until(lambda: watch.inventory().get("error"))
    assert error.endswith("No such file or directory")
    assert [model["name"] for model in watch.inventory()["models"]] == ["net"]
    assert watch.output.read_text() == before
    watch.models.with_name("away").rename(watch.models)
    wait_until(lambda: "error" not in watch.inventory())


def test_a_volume_that_comes_later(tmp_path: Path) -> None:
    with Watch(tmp_path) as watch:
        assert watch.inventory()["models"] == []
        assert re.search(r"model_config_list \{\n\}", watch.output.read_text())
        tiny_saved_model(tmp_path / "models" / "net" / "1")
        wait_until(lambda: "net" in watch.output.read_text())


@pytest.mark.parametrize(
    ("name", "value", "code"), [("Host", "evil.example:8502", 421), ("Origin", "https://evil.example", 403)]
)
def test_a_web_page_elsewhere_is_refused(watch: Watch, name: str, value: str, code: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(urllib.request.Request(watch.url, headers={name: value}), timeout=10)
    with refusal.value as error:
        assert error.code == code
        assert "evil.example" in json.load(error)["message"]


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "x", 404), ("POST", "", 405), ("DELETE", "", 405), ("BREW", "", 501)]
)
def test_everything_else_is_refused_as_json(watch: Watch, method: str, path: str, code: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(urllib.request.Request(watch.url + path, method=method), timeout=10)
    with refusal.value as error:
        assert error.code == code
        assert json.load(error)["code"] == code


def test_term_ends_it_with_zero(watch: Watch) -> None:
    assert watch.stop() == 0
    assert [path.name for path in watch.output.parent.iterdir()] == ["models.config"]


def test_a_taken_port_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        where = ("--models", tmp_path, "--output", tmp_path / "out")
        with Command(tmp_path / "log", "watch", *where, "--port", port) as command:
            assert command.process.wait(20) == 1
            assert f"cannot listen on 127.0.0.1:{port}" in command.text()
            assert "Traceback" not in command.text()


def test_a_config_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    where = ("--models", tmp_path, "--output", tmp_path / "file" / "models.config")
    with Command(tmp_path / "log", "watch", *where, "--port", 0) as command:
        assert command.process.wait(20) == 1
        assert f"the config file cannot be written: [Errno 17] File exists: '{tmp_path / 'file'}'" in command.text()
        assert "Traceback" not in command.text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("watch", "--output", "/tmp/x", "--server", "8501"), "argument --server: '8501' is not HOST:PORT"),
        (("watch", "--output", "/tmp/x", "--server", "a:b"), "argument --server: 'b' is not a port, a number from 1"),
        (("run", "--rest-port", "0"), "argument --rest-port: '0' is not a port, a number from 1 to 65535"),
        (("run", "--host", ""), "argument --host: it is empty (expected an address; 0.0.0.0 listens on all)"),
        (("run", "--poll-seconds", "0"), "argument --poll-seconds: '0' is not a number of seconds from 0.01 to 86400"),
        (("run", "--poll-seconds", "inf"), "argument --poll-seconds: 'inf' is not a number of seconds"),
        (("run", "--poll-seconds", "soon"), "argument --poll-seconds: 'soon' is not a number of seconds"),
    ],
)
def test_a_wrong_argument_is_reported(tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    with Command(tmp_path / "log", *flags, "--models", tmp_path) as command:
        assert command.process.wait(20) == 2
        assert message in command.text()


def test_generate_writes_once_and_names_what_it_ignores(tmp_path: Path) -> None:
    tiny_saved_model(tmp_path / "models" / "net" / "1")
    tiny_saved_model(tmp_path / "models" / "No\nName" / "1")
    output = tmp_path / "models.config"
    with Command(tmp_path / "log", "generate", "--models", tmp_path / "models", "--output", output) as command:
        assert command.process.wait(20) == 0
        assert "'No\\nName' is ignored: the name is not of the form" in command.text()
    assert 'name: "net"' in output.read_text()


def test_generate_without_a_volume_fails_and_writes_nothing(tmp_path: Path) -> None:
    arguments = ("generate", "--models", tmp_path / "nowhere", "--output", tmp_path / "models.config")
    with Command(tmp_path / "log", *arguments) as command:
        assert command.process.wait(20) == 1
        assert f"{tmp_path / 'nowhere'}: No such file or directory" in command.text()
    assert not (tmp_path / "models.config").exists()


def test_generator_and_watcher_need_the_standard_library_only(tmp_path: Path) -> None:
    """They run on the bare Python beside the C++ server: -I and -S leave nothing else to import."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import tensor_serving.cli, tensor_serving.generate"
    code += "; assert not {'tensorflow', 'google', 'grpc', 'numpy'} & sys.modules.keys(), sys.modules.keys()"
    project = environment()["PYTHONPATH"]
    subprocess.run([sys.executable, "-I", "-S", "-c", code, project], check=True, cwd=tmp_path, timeout=60)
    assert shutil.which("python3")
