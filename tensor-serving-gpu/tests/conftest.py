"""What the tests share. `serving_kit` beside this file holds the plain helpers."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As the model server and trainings set it: a run of all tests has one TensorFlow, which reads it once.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).parent))

# All of it, to build models with, and before the server's own modules, which make do with its messages.
import tensorflow  # noqa: F401, I001

import case_server
import serving_kit


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the case tables call a running server; `tests/case_models.py` writes the models it has to serve."""
    for option, api in (("--server", "gRPC"), ("--rest-server", "REST")):
        parser.addoption(
            option, metavar="HOST:PORT", help=f"call the {api} API of this model server, not of the embedded one"
        )


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


@pytest.fixture(scope="session")
def case_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ModelServerConfig that lists all case models."""
    import case_models

    folder = tmp_path_factory.mktemp("cases")
    case_models.write(folder, folder / "models.config")
    return folder / "models.config"


@pytest.fixture(scope="session")
def served_cases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[case_server.CaseServer]:
    """The server of the case tables: the one named by --server or --rest-server, else the embedded server."""
    grpc, rest = (request.config.getoption(option, default=None) for option in ("--server", "--rest-server"))
    if grpc or rest:
        yield case_server.CaseServer(grpc, rest)
        return
    config = request.getfixturevalue("case_config")
    with case_server.started(tmp_path_factory.mktemp("embedded"), config) as embedded:
        yield embedded
