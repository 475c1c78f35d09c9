"""The `serve` command: flags, config file, ports, signals."""

import re
import shutil
import signal
import socket
import time
from pathlib import Path

import grpc
import pytest
from serving_kit import Client, Command, wait_until


def config_of(*models: tuple[str, Path, str]) -> str:
    """Return a ModelServerConfig text of name, base path and further fields."""
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}\n'
        for name, base, more in models
    )
    return f"model_config_list {{ {entries} }}"


def test_wrong_flags_are_reported_with_the_valid_ones(tmp_path: Path) -> None:
    with Command(tmp_path / "log", "serve", "--prot=1") as command:
        assert command.process.wait(20) == 2
        assert "unknown flag --prot=1; valid flags are --port, --bind_address," in command.text()


def test_a_taken_port_fails_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Command(tmp_path / "log", "serve", f"--port={port}", "--model_base_path", tmp_path) as command:
            assert command.process.wait(20) == 1
            assert f"cannot listen on 127.0.0.1:{port}" in command.text()
            assert "Traceback" not in command.text()


def test_two_servers_do_not_share_a_port_silently(tmp_path: Path, exports: Path) -> None:
    """And TERM, sent while the server is still starting, ends it with 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Command(tmp_path / "one", "serve", "--port", port, "--model_base_path", exports) as first:
        wait_until(lambda: _accepts(port))
        with Command(tmp_path / "two", "serve", "--port", port, "--model_base_path", exports) as second:
            assert second.process.wait(20) == 1
        assert first.stop() == 0


def test_a_broken_config_without_polling_ends_with_one(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text("model_config_list { config {")
    with Command(tmp_path / "log", "serve", "--port=0", f"--model_config_file={path}") as command:
        assert command.process.wait(60) == 1
        assert "not a ModelServerConfig" in command.text()


def test_a_config_file_comes_changes_breaks_and_mends(tmp_path: Path, exports: Path) -> None:
    """One server through its life: a config that comes late, reloads, policies, labels, TERM with a call under way."""
    half, other = tmp_path / "half", tmp_path / "other"
    for version in ("1", "02", "x"):
        _copy(exports / "half_plus_two", half / version)
    _copy(exports / "half_plus_three", other / "7")
    path = tmp_path / "models.config"
    flags = (f"--model_config_file={path}", "--model_config_file_poll_wait_seconds", "1", "--bind_address", "127.0.0.1")
    with Command(tmp_path / "log", "serve", "--port=0", "--tensorflow_inter_op_parallelism=2", *flags) as command:
        client = Client(int(command.said(r"serving on 127.0.0.1:(\d+)")[1]))
        command.said(f"{path} cannot be read: No such file or directory")
        path.write_text(config_of(("half", half, "model_version_policy { all {} }")))
        wait_until(lambda: client.available("half") == [1, 2])
        assert client.half("half") == (2, 3.0)

        path.write_text(config_of(("half", half, 'version_labels { key: "old" value: 1 }'), ("other", other, "")))
        wait_until(lambda: client.available("half") == [2] and client.available("other") == [7])
        command.said(
            "Request to assign label to version 1 of model half, which is not currently available for inference"
        )
        with pytest.raises(grpc.RpcError, match="Unrecognized servable version label: old"):
            client.half("half", label="old")

        path.write_text(config_of(("half", half, ""), ("half", half, "")))
        command.said("Illegal to list model half multiple times in config list; what is served stays as it is")
        path.write_text("")
        path.write_text(config_of(("half", Path("relative"), "")))
        command.said(r"to have an absolute path or URI; got base_path\(\)=relative")
        assert client.half("other") == (7, 4.0)

        _copy(exports / "half_plus_three", half / "3")  # the last sound config still counts: latest
        wait_until(lambda: client.available("half") == [3], what=command.text())

        import numpy as np

        call = client.prediction.Predict.future(client.request("half", "slow", x=np.float32([2])), timeout=60)
        wait_until(lambda: call.running())
        client.half("half")
        assert command.stop() == 0
        assert call.result().outputs["y"].float_val[0] == 4.0
        assert re.search(r"stopped\s*$", command.text())
        client.channel.close()


def test_one_model_by_flags_and_ctrl_c(tmp_path: Path, exports: Path) -> None:
    _copy(exports / "half_plus_two", tmp_path / "m" / "1")
    flags = ("--model_name=mine", "--model_base_path", tmp_path / "m", "--tensorflow_intra_op_parallelism=1")
    with Command(tmp_path / "log", "serve", "--port=0", *flags) as command:
        port = int(command.said(r"serving on 127.0.0.1:(\d+)")[1])
        client = Client(port)
        assert client.half("mine") == (1, 3.0)
        _copy(exports / "half_plus_three", tmp_path / "m" / "2")
        wait_until(lambda: client.available("mine") == [2])
        client.channel.close()
        command.process.send_signal(signal.SIGINT)
        assert command.process.wait(20) == 0
        assert not _accepts(port)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _copy(source: Path, target: Path) -> None:
    """Copy beside and rename, as a trainer does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.parent / f".{target.name}-{time.monotonic_ns()}"
    shutil.copytree(source, staged).rename(target)
