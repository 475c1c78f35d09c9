"""The programs of the local engine, as they are told to start."""

from pathlib import Path

from lab_engine import settings
from lab_engine.local.services import all_services
from tensor_serving.run import EMBEDDED_FLAGS


def test_the_model_server_is_run_as_tensor_serving_run_would(tmp_path: Path) -> None:
    """The engine knows no package of the lab's, so it has the flags written down a second time."""
    programs = [
        program for service in all_services(settings.load({"LAB_HOME": str(tmp_path)})) for program in service.programs
    ]
    (server,) = [program for program in programs if program.name == "model-server"]
    assert set(EMBEDDED_FLAGS) <= set(server.command)
