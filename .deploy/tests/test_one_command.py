"""One command at a time changes a lab: which waits for which, and which is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab_engine.errors import EngineError
from lab_engine.lock import INSTALL, RECOVERY, exclusive
from lab_engine.settings import Settings, load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"LAB_HOME": str(tmp_path / "lab")})


@pytest.mark.parametrize(("holder", "verb"), [(INSTALL, INSTALL), (RECOVERY, "up")])
def test_it_waits_until_the_other_has_ended(settings: Settings, holder: str, verb: str) -> None:
    entered = threading.Event()

    def enter() -> None:
        with exclusive(settings, verb):
            entered.set()

    with ThreadPoolExecutor(1) as pool:
        with exclusive(settings, holder):
            second = pool.submit(enter)
            assert not entered.wait(0.5)
        second.result(30)
    assert entered.is_set()


@pytest.mark.parametrize(("holder", "verb"), [(INSTALL, "up"), ("up", INSTALL), ("up", "down")])
def test_others_are_refused_and_named(settings: Settings, holder: str, verb: str) -> None:
    with exclusive(settings, holder), pytest.raises(EngineError, match=f"'{holder}', process"):
        exclusive(settings, verb).__enter__()
