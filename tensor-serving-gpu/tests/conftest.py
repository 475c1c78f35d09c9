"""What the tests share. `serving_kit` beside this file holds the plain helpers."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

import serving_kit


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of SavedModels by name, each a version folder; copy what you serve."""
    import example_models

    folder = tmp_path_factory.mktemp("exports")
    example_models.build_all(folder)
    return folder


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, exports: Path) -> Iterator[serving_kit.Lab]:
    """A volume, the watcher and the embedded server as processes, shared: every test brings models of its own."""
    with serving_kit.Lab(tmp_path_factory.mktemp("lab"), exports) as lab:
        yield lab
