"""Tests to copy: one passes, two pass only when they run again, and one fails where a file `broken` lies beside it."""

from pathlib import Path

import pytest

ONCE = Path(__file__).with_name("was-run")


def test_sound() -> None:
    pass


@pytest.mark.parametrize("name", ["a b", "c"])
def test_flaky(name: str) -> None:
    seen = ONCE.exists()
    if name == "c":
        ONCE.touch()
    assert seen


def test_broken() -> None:
    assert not Path(__file__).with_name("broken").exists()
