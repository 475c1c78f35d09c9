"""BatchingParameters files: TF Serving's form and defaults, and errors that name file, place and remedy."""

from pathlib import Path

import pytest
from serving_kit import PROJECT

from tensor_serving.embedded.batching_parameters import BatchingParameters, BatchingParametersError, read
from tensor_serving.embedded.independence import independent_rows
from tensor_serving.server_process import EMBEDDED_FLAGS


def write(folder: Path, text: str) -> Path:
    (folder / "batching.pbtxt").write_text(text)
    return folder / "batching.pbtxt"


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert read(write(tmp_path, "")) == BatchingParameters(max_batch_size=1000, batch_timeout_micros=0)


def test_all_fields(tmp_path: Path) -> None:
    text = """
        max_batch_size { value: 128 }  # as in TF Serving's guide
        batch_timeout_micros { value: 500 }
        max_enqueued_batches { value: 7 }
        num_batch_threads { value: 3 }
        thread_pool_name { value: "any" }
        allowed_batch_sizes: 8
        allowed_batch_sizes: 32
        pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 32 }
    """
    assert read(write(tmp_path, text)) == BatchingParameters(128, 500, 7, 3, (8, 32), True, True, 32)


def test_without_splitting_the_execution_size_does_not_count(tmp_path: Path) -> None:
    found = read(write(tmp_path, "max_batch_size { value: 16 } max_execution_batch_size { value: 4 }"))
    assert found.max_execution_batch_size == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "1:17 : "),
        ("max_batch_size { value: 3 }\nmax_size { value: 3 }", '2:1 : Message type "tensorflow.serving.Batching'),
        ("max_size { value: 3 }", "its fields are max_batch_size, batch_timeout_micros,"),
        ("max_batch_size { value: 0 }", "max_batch_size is 0, wanted at least 1"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros is -1, wanted at least 0"),
        ("allowed_batch_sizes: 4 allowed_batch_sizes: 2", "must be monotonically increasing, from 1; found [4, 2]"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        ),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 2 } allowed_batch_sizes: 8",
            "must match max_execution_batch_size; last entry was 8; expected 2",
        ),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 9 }",
            "max_execution_batch_size is 9, wanted at most max_batch_size, 8",
        ),
        ("\xff", "is not a BatchingParameters in text form"),
    ],
)
def test_what_cannot_be_followed_is_reported(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "batching.pbtxt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BatchingParametersError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BatchingParametersError, match=r"none\.pbtxt cannot be read: No such file"):
        read(tmp_path / "none.pbtxt")


def test_the_file_the_embedded_server_is_run_with_is_sound() -> None:
    (path,) = (flag.partition("=")[2] for flag in EMBEDDED_FLAGS if flag.startswith("--batching_parameters_file="))
    parameters = read(Path(path))
    assert parameters.enable_large_batch_splitting
    assert not parameters.batch_timeout_micros


def test_the_shipped_model_declares_its_rows_by_the_contract() -> None:
    version = PROJECT / "serving" / "mnist-net" / "1"
    assert independent_rows(version)
    file = version / "assets.extra" / "batching_params.pbtxt"
    assert read(file).max_batch_size == 2**20
    assert f"```\n{file.read_text()}```\n" in (PROJECT.parent / "docs" / "contracts.md").read_text()
