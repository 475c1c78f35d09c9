"""The lists of models of several model servers as one: which version is the default, step by step."""

from typing import Any

import pytest

from tensor_rest.backend.addresses import Address
from tensor_rest.inference.listing import Document
from tensor_rest.inference.replicas import Replicas

A, B = Address(2, ("10.0.0.1", 9000)), Address(2, ("10.0.0.2", 9000))
Entry = tuple[list[int], list[int]]


def document(entry: Entry | None, **known: Any) -> Document | None:
    if entry is None:
        return None
    serving, available = entry
    model = {"name": "net", "versions": serving, "serving": serving, "available": available, **known}
    return Document.model_validate({"models": [model]})


ONE, TWO, BOTH = ([1], [1]), ([2], [2]), ([1, 2], [1, 2])
STARTS, NOTHING = ([1, 2], [1]), ([1], [])


@pytest.mark.parametrize(
    ("steps", "defaults"),
    [
        pytest.param([(ONE, ONE), (TWO, ONE), (TWO, TWO)], [1, 1, 2], id="forward"),
        pytest.param([(TWO, TWO), (ONE, TWO), (ONE, ONE)], [2, 2, 1], id="back"),
        pytest.param([(TWO, None), (TWO, STARTS), (TWO, TWO)], [2, 2, 2], id="one starts"),
        pytest.param([(BOTH, BOTH), (BOTH, NOTHING), (BOTH, STARTS)], [2, 2, 2], id="one starts anew"),
        pytest.param([(ONE, ONE), (ONE, None), (TWO, None)], [1, 1, 2], id="one ends"),
        pytest.param([(NOTHING, NOTHING), (ONE, NOTHING)], [None, 1], id="all start"),
    ],
)
def test_default_version_of_all(steps: list[tuple[Entry, Entry | None]], defaults: list[int | None]) -> None:
    merged = Replicas()
    found = [merged.merge({A: document(a), B: document(b)}).by_name["net"] for a, b in steps]
    assert [model.default_version if model.serving else None for model in found] == defaults


def test_rows_are_independent_where_all_say_so() -> None:
    merged = Replicas()

    def rows(*settings: bool | None) -> bool | None:
        read = {a: document(([1], [1]), independent_rows=each) for a, each in zip((A, B), settings, strict=True)}
        return merged.merge(read).by_name["net"].independent_rows

    assert [rows(True, True), rows(None, None), rows(True, False), rows(True, None)] == [True, None, False, False]
