"""Preflight: what would fail later is found and named before anything is started."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_engine import preflight, settings
from local_engine.errors import EngineError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_told_from_a_free_one(taken: int) -> None:
    assert not preflight.is_free(taken)
    assert preflight.is_free(preflight.next_free(taken))


def test_the_holder_of_a_port_is_named(taken: int) -> None:
    assert preflight.holder(taken).startswith(f"process {os.getpid()} (")


def test_every_taken_port_is_told_at_once(taken: int, tmp_path: Path) -> None:
    with socket.socket() as another:
        another.bind(("127.0.0.1", 0))
        another.listen()
        also = another.getsockname()[1]
        found = settings.load({"LAB_REST_PORT": str(taken), "LAB_BOARD_PORT": str(also), "LAB_HOME": str(tmp_path)})
        with pytest.raises(EngineError) as refusal:
            preflight.check_ports(found)
    for told in (f"port {taken} is taken by", f"port {also} is taken by", "LAB_REST_PORT=", "LAB_BOARD_PORT="):
        assert told in str(refusal.value)


def test_too_little_space_is_told_in_gibibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=preflight.GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EngineError, match=r"has 1\.0 GiB free and 4\.0 GiB are needed"):
        preflight.check_folder(settings.load({"LAB_HOME": str(tmp_path)}), preflight.SPACE_FOR_ENVIRONMENT)
