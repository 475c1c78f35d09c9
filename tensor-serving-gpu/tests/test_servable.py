"""The life of a version, with staged faults: loads that fail, calls that last."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from serving_kit import tiny_saved_model

from tensor_serving.embedded.config import ModelSettings
from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.servable import State
from tensor_serving.policy import Policy


class Fake:
    """Stands for a loaded model; remembers whether it was closed."""

    def __init__(self, version: int) -> None:
        self.version, self.closed = version, False

    def close(self) -> None:
        self.closed = True


class Loader:
    """Loads fakes; versions in `bad` fail."""

    def __init__(self) -> None:
        self.bad: dict[int, Exception] = {}
        self.loaded: list[int] = []

    def __call__(self, _name: str, version: int, _folder: Path) -> Any:
        self.loaded.append(version)
        if version in self.bad:
            raise self.bad[version]
        return Fake(version)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tiny_saved_model(tmp_path / "m" / "1")
    return tmp_path / "m"


@pytest.fixture
def load() -> Loader:
    return Loader()


@pytest.fixture
def repository(load: Loader, base: Path) -> Repository:
    repository = Repository(load)
    repository.follow({"m": ModelSettings(base)})
    repository.reconcile()
    return repository


def states(repository: Repository) -> dict[int, State]:
    return {servable.version: servable.state for servable in repository.status("m")}


def test_a_call_under_way_keeps_its_model_open(repository: Repository, base: Path) -> None:
    tiny_saved_model(base / "2")
    with repository.use("m") as (version, model):
        assert version == 1
        repository.reconcile()
        assert states(repository) == {2: State.AVAILABLE, 1: State.UNLOADING}
        with repository.use("m") as (newer, _):
            assert newer == 2
        assert not model.closed
    assert model.closed
    assert states(repository) == {2: State.AVAILABLE, 1: State.END}


@pytest.mark.parametrize("error", [invalid("no good"), ValueError("what?"), MemoryError("full")])
def test_a_failing_version_leaves_the_old_one_and_is_not_tried_again(
    repository: Repository, base: Path, load: Loader, error: Exception
) -> None:
    load.bad[2] = error
    tiny_saved_model(base / "2")
    for _ in range(3):
        repository.reconcile()
    assert load.loaded == [1, 2]
    assert states(repository) == {2: State.END, 1: State.AVAILABLE}
    assert str(error) in repository.status("m", 2)[0].error.text


def test_a_failed_version_is_tried_again_when_its_files_change(
    repository: Repository, base: Path, load: Loader
) -> None:
    load.bad[2] = invalid("half copied")
    graph = tiny_saved_model(base / "2") / "saved_model.pb"
    repository.reconcile()
    del load.bad[2]
    graph.write_bytes(graph.read_bytes() * 2)
    repository.reconcile()
    assert states(repository) == {2: State.AVAILABLE, 1: State.END}


def test_a_failing_model_does_not_hold_up_another(repository: Repository, base: Path, load: Loader) -> None:
    load.bad[9] = RuntimeError("broken")
    tiny_saved_model(base.with_name("a") / "9")
    tiny_saved_model(base.with_name("z") / "3")
    repository.follow({name: ModelSettings(base.with_name(name)) for name in ("a", "m", "z", "nowhere")})
    repository.reconcile()
    with repository.use("z") as (version, _), repository.use("m"):
        assert version == 3
    with pytest.raises(ServingError, match=r"Latest\(a\)"), repository.use("a"):
        pass


def test_a_base_path_that_vanishes_changes_nothing_and_an_empty_one_unloads(repository: Repository, base: Path) -> None:
    base.rename(base.with_name("away"))
    repository.reconcile()
    assert states(repository) == {1: State.AVAILABLE}
    base.mkdir()
    repository.reconcile()
    assert states(repository) == {1: State.END}
    base.rmdir()
    base.with_name("away").rename(base)
    repository.reconcile()
    assert states(repository) == {1: State.AVAILABLE}


def test_a_label_moves_only_when_its_version_is_there(repository: Repository, base: Path, load: Loader) -> None:
    def labelled(version: int) -> int:
        repository.follow({"m": ModelSettings(base, Policy("all"), {"stable": version})})
        repository.reconcile()
        with repository.use("m", label="stable") as (found, _):
            return found

    assert labelled(1) == 1
    load.bad[2] = invalid("broken")
    tiny_saved_model(base / "2")
    assert labelled(2) == 1
    tiny_saved_model(base / "3")
    assert labelled(3) == 3
    with pytest.raises(ServingError) as refusal, repository.use("m", label="canary"):
        pass
    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_close_unloads_everything(repository: Repository) -> None:
    with repository.use("m") as (_, model):
        pass
    repository.close()
    assert model.closed
    assert states(repository) == {1: State.END}
