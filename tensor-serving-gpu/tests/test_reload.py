"""HandleReloadConfigRequest: a config by call, followed at once or refused as a whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from serving_kit import Client, Command, wait_until


class Reloaded:
    """A server on the models `half` (versions 1, 2) and `other`, and folders of models it may be configured with."""

    def __init__(self, folder: Path, exports: Path, command: Command, config: Path) -> None:
        self.folder, self.exports, self.command, self.config = folder, exports, command, config
        self.client = Client(int(command.said(r"serving on 127.0.0.1:(\d+)")[1]))

    def reload(self, *entries: dict[str, Any], timeout: float = 30) -> None:
        """Send a config of these models; raises grpc.RpcError where the server refuses it."""
        from tensorflow_serving.apis import model_management_pb2

        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.SetInParent()
        for entry in entries:
            given = {"base_path": str(self.folder / entry["name"]), "model_platform": "tensorflow"} | entry
            request.config.model_config_list.config.add(**given)
        response = self.client.models.HandleReloadConfigRequest(request, timeout=timeout)
        assert response.status.error_code == 0

    def refusal(self, *entries: dict[str, Any]) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as refusal:
            self.reload(*entries)
        return refusal.value.code(), refusal.value.details()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, exports: Path) -> Iterator[Reloaded]:
    folder = tmp_path_factory.mktemp("reload")
    for name, version, export in (
        ("half", 1, "half_plus_two"),
        ("half", 2, "half_plus_three"),
        ("other", 1, "half_plus_two"),
        ("three", 1, "half_plus_three"),
        ("broken", 1, "badly_warmed"),
    ):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / str(version)).symlink_to(exports / export, target_is_directory=True)
    (folder / "empty").mkdir()
    config = folder / "models.config"
    config.write_text(entries_of(folder, "half", "other"))
    flags = (f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1")
    with Command(folder / "log", "serve", "--port=0", *flags, "--load_retry_interval_micros=3600000000") as command:
        yield Reloaded(folder, exports, command, config)


@pytest.fixture(autouse=True)
def at_first(server: Reloaded) -> None:
    server.reload({"name": "half"}, {"name": "other"})


def entries_of(folder: Path, *names: str) -> str:
    entry = 'config {{ name: "{0}" base_path: "{1}/{0}" model_platform: "tensorflow" }}\n'
    return f"model_config_list {{ {''.join(entry.format(name, folder) for name in names)} }}"


ALL = {"all": {}}


def test_what_is_new_answers_when_the_call_returns_and_what_is_not_listed_is_unloaded(server: Reloaded) -> None:
    assert server.client.half("half") == (2, 4.0)
    server.reload({"name": "half", "model_version_policy": ALL}, {"name": "new", "base_path": f"{server.folder}/other"})
    assert server.client.half("new") == (1, 3.0)
    assert server.client.half("half", version=1) == (1, 3.0)
    with pytest.raises(grpc.RpcError) as refusal:
        server.client.half("other")
    assert refusal.value.details() == "Servable not found for request: Latest(other)"
    server.reload()
    assert server.client.available("half") == []


def test_a_label_names_what_is_loaded_or_nothing_is_changed(server: Reloaded) -> None:
    code, text = server.refusal({"name": "half", "version_labels": {"stable": 1}})
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text == (
        "Request to assign label to version 1 of model half, which is not currently available for inference"
    )
    assert server.client.half("other") == (1, 3.0)
    server.reload({"name": "half", "model_version_policy": ALL})
    server.reload({"name": "half", "model_version_policy": ALL, "version_labels": {"stable": 1}})
    assert server.client.half("half", label="stable") == (1, 3.0)


def test_a_failed_load_is_logged_once_and_others_are_followed(server: Reloaded) -> None:
    code, text = server.refusal({"name": "half"}, {"name": "broken"}, {"name": "empty"})
    assert code is grpc.StatusCode.UNKNOWN
    assert text.startswith(
        "2 model(s) did not become available: "
        "{{{name: broken version: 1} due to error: INVALID_ARGUMENT: Signature input alias: x"
    )
    assert "{{name: empty} due to error: NOT_FOUND: No versions of servable empty found" in text
    assert server.client.status("broken")[1] == ("LOADING", "")  # it is tried again
    assert server.client.half("half") == (2, 4.0)
    assert server.client.available("other") == []


def test_an_unloaded_version_is_loaded_from_its_new_folder(server: Reloaded) -> None:
    server.reload({"name": "moved", "base_path": f"{server.folder}/other"})
    assert server.client.half("moved") == (1, 3.0)
    server.reload()
    server.reload({"name": "moved", "base_path": f"{server.folder}/three"})
    assert server.client.half("moved") == (1, 4.0)


def test_a_failed_version_is_loaded_from_its_new_folder(server: Reloaded) -> None:
    server.refusal({"name": "mended", "base_path": f"{server.folder}/broken"})
    server.reload({"name": "mended", "base_path": f"{server.folder}/other"})
    assert server.client.half("mended") == (1, 3.0)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([{"name": "half"}, {"name": "half"}], "Illegal to list model half multiple times in config list"),
        (
            [{"name": "half", "base_path": "relative"}],
            "Expected model half to have an absolute path or URI; got base_path()=relative",
        ),
        ([{"name": "half", "model_platform": "caffe"}], "Model half requests unsupported platform caffe"),
        (
            [{"name": "half", "model_platform": ""}],
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.",
        ),
        (
            [{"name": "half", "model_type": 1}],
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform.",
        ),
        ([{"name": "half", "model_platform": "", "model_type": 2}], "ModelServerConfig::model_type choice 2 not supp"),
        ([{"name": ""}], "a model in the config list has no name"),
        ([{"name": "half", "model_version_policy": {"specific": {}}}], "model half: policy specific names no versions"),
    ],
)
def test_a_config_that_makes_no_sense_changes_nothing(server: Reloaded, entries: list[Any], text: str) -> None:
    code, found = server.refusal(*entries)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.startswith(text)
    assert server.client.available("half") == [2]
    assert server.client.available("other") == [1]


def test_the_config_file_counts_again_when_it_changes(server: Reloaded) -> None:
    server.reload()
    server.config.write_text(entries_of(server.folder, "other"))
    wait_until(lambda: server.client.available("other") == [1], what=server.command.text())
    assert server.client.available("half") == []
    assert "Traceback" not in server.command.text()
