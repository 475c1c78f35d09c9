"""The shipped models in an empty volume."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving_kit import Command

from tensor_serving.catalogue import scan
from tensor_serving.savedmodel import SavedModelValidator
from tensor_serving.seed import SHIPPED, seed

NAMES = sorted(path.name for path in SHIPPED.iterdir())


def test_an_empty_volume_gets_the_shipped_models_once(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for line in (f"{', '.join(NAMES)} copied", "not empty, nothing is copied"):
        with Command(tmp_path / "log", "seed", "--models", models) as command:
            assert command.process.wait(60) == 0, command.text()
            assert line in command.text()
    assert [(model.name, bool(model.serving)) for model in scan(models, SavedModelValidator()).models] == [
        (n, True) for n in NAMES
    ]
    assert list((models / ".staging").iterdir()) == []
    assert (models / NAMES[0]).stat().st_mode & 0o7777 == 0o2775


def test_of_several_at_once_one_copies(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        copied = [name for names in threads.map(seed, [tmp_path] * 4) for name in names]
    assert copied == NAMES
    assert list((tmp_path / ".staging").iterdir()) == []


def test_a_volume_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Command(tmp_path / "log", "seed", "--models", tmp_path / "file") as command:
        assert command.process.wait(60) == 1
        assert f"the shipped models cannot be copied into {tmp_path / 'file'}" in command.text()
