"""The programs of the local engine, as they are configured to start."""

from configparser import RawConfigParser
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from lab_engine import settings
from lab_engine.local import scaling
from lab_engine.local.services import all_services, supervisor_config
from tensor_serving.server_process import EMBEDDED_FLAGS


def test_the_model_server_is_run_as_tensor_serving_run_would(tmp_path: Path) -> None:
    """The engine knows no package of the lab's, so it has the flags written down a second time."""
    programs = [
        program for service in all_services(settings.load({"LAB_HOME": str(tmp_path)})) for program in service.programs
    ]
    (server,) = [program for program in programs if program.name == "model-server"]
    assert set(EMBEDDED_FLAGS) <= set(server.command)


@pytest.mark.parametrize(
    "name",
    [
        "TENSOR_REST_API_KEYS_FILE",
        "TENSOR_SERVING_ALLOWED_OPS",
        "TF_SERVER_TIMEOUT_SECONDS",
        "LAB_OFFLINE",
        "LAB_TRAIN_EPOCHS",
    ],
)
def test_a_changed_setting_changes_what_the_processes_are_started_from(tmp_path: Path, name: str) -> None:
    lab = settings.load({"LAB_HOME": str(tmp_path)})
    plain, given = supervisor_config(lab, {}), supervisor_config(lab, {name: "x\n[program:mine]\ncommand=mine"})
    assert plain != given
    parser = RawConfigParser()
    parser.read_string(given)
    assert "program:mine" not in parser.sections()
    assert supervisor_config(lab, {"LAB_API_KEY": "secret", "PS1": "$"}) == plain


def test_supervisord_reads_the_servers_of_a_folder_with_a_space(tmp_path: Path) -> None:
    lab = scaling.with_free_ports(settings.load({"LAB_HOME": str(tmp_path / "my lab")}), 3)
    (lab.run / "log").mkdir(parents=True)
    scaling.write(lab)
    (lab.run / "supervisord.conf").write_text(supervisor_config(lab, {}))
    options = ServerOptions()
    options.realize(["-c", str(lab.run / "supervisord.conf"), "-n"])
    groups = {group.name for group in options.process_group_configs}
    assert {"tensor-serving", "tensor-serving-2", "tensor-serving-3"} <= groups
