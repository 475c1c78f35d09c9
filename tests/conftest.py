"""The lab that the end-to-end, browser and README tests share: started once, by the command the README gives."""

from collections.abc import Iterator

import pytest

from tests.running import Lab, new_lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with new_lab() as started:
        started.said = started.compose("up")
        yield started
