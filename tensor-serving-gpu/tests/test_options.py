"""The flags: TensorFlow Serving's names and forms, and what is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from tensor_serving.embedded.options import Options, parse

NEEDED = "--model_base_path=/m"


def test_every_flag_may_be_given_either_way() -> None:
    given = parse(["--port", "1", "--rest_api_port=2", "--model_base_path", "/m", "--max_num_load_retries=0"])
    assert (given.port, given.rest_api_port, given.max_num_load_retries) == (1, 2, 0)
    assert given.model_base_path == Path("/m")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--enable_batching", True),
        ("--enable_batching=true", True),
        ("--enable_batching=True", True),
        ("--enable_batching=1", True),
        ("--enable_batching=false", False),
        ("--enable_batching=0", False),
    ],
)
def test_truth_is_written_as_in_tf_serving(flag: str, value: bool) -> None:
    assert parse([flag, NEEDED]).enable_batching is value
    assert parse([flag.replace("batching", "model_warmup"), NEEDED]).enable_model_warmup is value


def test_the_last_of_a_flag_counts_and_an_empty_path_is_none() -> None:
    given = parse([NEEDED, "--ssl_config_file=/a", "--ssl_config_file=", "--enable_batching", "--enable_batching=0"])
    assert given.ssl_config_file is None
    assert not given.enable_batching


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--prot=1"], "unknown flag --prot=1; valid flags are --port, --bind_address, --grpc_socket_path,"),
        (["--mod=x", NEEDED], "unknown flag --mod=x"),
        (["stray", NEEDED], "unknown flag stray"),
        (["--port=eight"], "argument --port: invalid number value: 'eight'"),
        (["--port", "70000", NEEDED], "--port=70000: a port is at most 65535"),
        (["--rest_api_port=65536", NEEDED], "--rest_api_port=65536: a port is at most 65535"),
        (["--port=8500", "--rest_api_port=8500", NEEDED], "--port and --rest_api_port are both 8500"),
        (["--grpc_max_threads=0"], "argument --grpc_max_threads: 0 is less than 1"),
        (["--max_num_load_retries=-1"], "argument --max_num_load_retries: -1 is less than 0"),
        (["--enable_batching=maybe"], "argument --enable_batching: 'maybe' is neither true nor false"),
        (
            ["--batching_parameters_file=/b", NEEDED],
            "--batching_parameters_file without --enable_batching",
        ),
        (["--enable_per_model_batching_parameters", NEEDED], "without --enable_batching"),
        (["--direct_port=1", NEEDED], "--direct_port and --direct_key_file go together"),
        (["--direct_key_file=/k", NEEDED], "--direct_port and --direct_key_file go together"),
        (["--direct_port=8500", "--direct_key_file=/k", NEEDED], "--direct_port=8500 is another API's port"),
        (["--direct_port=1", "--direct_key_file=/k", "--ssl_config_file=/s", NEEDED], "--direct_port is without TLS"),
        (["--monitoring_config_file=/m", NEEDED], "--monitoring_config_file needs --rest_api_port"),
        (["--bind_address=", NEEDED], "--bind_address is empty (expected an address; 0.0.0.0 listens on all)"),
        ([], "nothing to serve: give --model_config_file, or --model_base_path with --model_name"),
    ],
)
def test_wrong_flags_are_reported(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def test_help_has_a_line_with_the_default_for_each_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert not caught.value.code
    words = " ".join(capsys.readouterr().out.split())
    for field in fields(Options):
        assert f"--{field.name} " in words
        assert f"(default: {field.default})" in words


def test_version_needs_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--version"])
    assert not caught.value.code
    import tensorflow

    assert f"TensorFlow Library: {tensorflow.__version__}\n" in capsys.readouterr().out


def test_version_finds_tensorflow_under_any_distribution_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    distribution = tmp_path / "tf_nightly-2.99.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: tf-nightly\nVersion: 2.99\n")
    (distribution / "top_level.txt").write_text("tensorflow\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit):
        parse(["--version"])
    assert "TensorFlow Library: 2.99\n" in capsys.readouterr().out
