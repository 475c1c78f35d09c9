"""The life of a version, with staged faults: loads that fail, calls that last, callers that come too early."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from serving_kit import tiny_saved_model

from tensor_serving.embedded.config import ModelSettings
from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.servable import Retries, State
from tensor_serving.policy import Policy


class Fake:
    """Stands for a loaded model; remembers whether it was closed."""

    def __init__(self, version: int) -> None:
        self.version, self.closed, self.refreshed = version, False, 0

    def refresh(self) -> None:
        self.refreshed += 1

    def close(self) -> None:
        self.closed = True


class Loader:
    """Loads fakes; versions in `bad` fail. `jobs` is what is left to the models thread, `meanwhile` slows a load."""

    def __init__(self) -> None:
        self.bad: dict[int, Exception] = {}
        self.loaded: list[int] = []
        self.names: list[str] = []
        self.meanwhile: dict[str, Callable[[], None]] = {}
        self.jobs: list[Callable[[], None]] = []

    def __call__(self, name: str, version: int, _folder: Path) -> Any:
        self.loaded.append(version)
        self.names.append(name)
        self.meanwhile.get(name, lambda: None)()
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
    repository = Repository(load, load.jobs.append, Retries())
    repository.configure({"m": ModelSettings(base)})
    repository.reconcile()
    return repository


def states(repository: Repository) -> dict[int, State]:
    return {servable.version: servable.state for servable in repository.status("m")}


def test_a_call_under_way_keeps_its_model_open_and_does_not_unload_it_itself(
    repository: Repository, base: Path, load: Loader
) -> None:
    tiny_saved_model(base / "2")
    with repository.held("m") as (version, model):
        assert version == 1
        repository.reconcile()
        assert states(repository) == {2: State.AVAILABLE, 1: State.UNLOADING}
        with repository.held("m") as (newer, _):
            assert newer == 2
        assert not load.jobs
    assert not model.closed
    (unload,) = load.jobs
    unload()
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


def test_a_loaded_version_follows_what_is_declared_of_it(repository: Repository) -> None:
    with repository.held("m") as (_, runner):
        before = runner.refreshed
        repository.reconcile()
        assert runner.refreshed == before + 1


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
    repository.configure({name: ModelSettings(base.with_name(name)) for name in ("a", "m", "z", "nowhere")})
    repository.reconcile()
    with repository.held("z") as (version, _), repository.held("m"):
        assert version == 3
    with pytest.raises(ServingError, match=r"Latest\(a\)"), repository.held("a"):
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


def test_a_failed_load_is_retried_as_configured_and_nothing_waits(base: Path, load: Loader) -> None:
    load.bad[9] = invalid("not yet")
    tiny_saved_model(base.with_name("a") / "9")
    repository = Repository(load, load.jobs.append, Retries(most=2, pause=-1))
    repository.configure({name: ModelSettings(base.with_name(name)) for name in ("a", "m")})
    for tries in (1, 2):
        repository.reconcile()
        assert repository.status("a")[0].state is State.LOADING
        assert repository.status("a")[0].error is None
        assert states(repository) == {1: State.AVAILABLE}
        assert load.loaded.count(9) == tries
        assert repository.next_try() <= time.monotonic()
    repository.reconcile()
    assert repository.status("a")[0].error.text == "not yet"
    assert repository.next_try() == float("inf")
    repository.reconcile()
    assert load.loaded.count(9) == 3


def test_a_retry_waits_its_time_unless_the_files_change(base: Path, load: Loader) -> None:
    load.bad[1] = invalid("half copied")
    repository = Repository(load, load.jobs.append, Retries(most=5, pause=3600))
    repository.configure({"m": ModelSettings(base)})
    repository.reconcile()
    repository.reconcile()
    assert load.loaded == [1]
    assert 3500 < repository.next_try() - time.monotonic() < 3700
    del load.bad[1]
    graph = base / "1" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes() * 2)
    repository.reconcile()
    assert states(repository) == {1: State.AVAILABLE}


def test_the_newest_version_of_every_model_is_loaded_before_older_ones(base: Path, load: Loader) -> None:
    for version in ("2", "3"):
        tiny_saved_model(base / version)
        tiny_saved_model(base.with_name("z") / version)
    repository = Repository(load, load.jobs.append, Retries())
    repository.configure({name: ModelSettings(base.with_name(name), Policy("all")) for name in ("m", "z")})
    repository.reconcile()
    assert list(zip(load.names, load.loaded, strict=True)) == [("m", 3), ("z", 3), ("m", 2), ("z", 2), ("m", 1)]


def test_a_call_that_comes_before_the_first_look_waits_for_its_model_only(base: Path, load: Loader) -> None:
    tiny_saved_model(base.with_name("z") / "1")
    repository = Repository(load, load.jobs.append, Retries())
    first_done, seen = Event(), []

    async def come_early() -> None:
        first, second, nowhere, config, given_up = (
            asyncio.create_task(repository.wait_until_loaded(name)) for name in ("m", "z", "nowhere", None, "z")
        )
        first.add_done_callback(lambda _: first_done.set())
        await asyncio.sleep(0)
        assert not any(task.done() for task in (first, second, nowhere, config))
        given_up.cancel()
        load.meanwhile["z"] = lambda: seen.extend([first_done.wait(10), second.done()])
        await asyncio.to_thread(work)
        await asyncio.gather(first, second, nowhere, config, repository.wait_until_loaded("m"))

    def work() -> None:
        repository.configure({name: ModelSettings(base.with_name(name)) for name in ("m", "z")})
        repository.reconcile()

    asyncio.run(asyncio.wait_for(come_early(), 20))
    assert seen == [True, False]
    with repository.held("m"), repository.held("z"):
        pass


def test_a_call_for_a_labelled_version_waits_for_that_one(base: Path, load: Loader) -> None:
    tiny_saved_model(base / "2")
    repository = Repository(load, load.jobs.append, Retries())
    newest_done, seen = Event(), []

    async def come_early() -> None:
        labelled = asyncio.create_task(repository.wait_until_loaded("m", None, "stable"))
        exact = asyncio.create_task(repository.wait_until_loaded("m", 1, None))
        newest = asyncio.create_task(repository.wait_until_loaded("m"))
        newest.add_done_callback(lambda _: newest_done.set())
        await asyncio.sleep(0)
        load.meanwhile["m"] = lambda: (
            load.loaded[-1] == 1 and seen.extend([newest_done.wait(10), labelled.done(), exact.done()])
        )
        await asyncio.to_thread(work)
        await asyncio.gather(labelled, exact)
        with repository.held("m", label="stable") as (version, _):
            assert version == 1

    def work() -> None:
        repository.configure({"m": ModelSettings(base, Policy("all"), {"stable": 1})})
        repository.reconcile()

    asyncio.run(asyncio.wait_for(come_early(), 20))
    assert seen == [True, False, False]


def test_a_label_moves_only_when_its_version_is_there(repository: Repository, base: Path, load: Loader) -> None:
    def labelled(version: int) -> int:
        repository.configure({"m": ModelSettings(base, Policy("all"), {"stable": version})})
        repository.reconcile()
        with repository.held("m", label="stable") as (found, _):
            return found

    assert labelled(1) == 1
    load.bad[2] = invalid("broken")
    tiny_saved_model(base / "2")
    assert labelled(2) == 1
    tiny_saved_model(base / "3")
    assert labelled(3) == 3
    with pytest.raises(ServingError) as refusal, repository.held("m", label="canary"):
        pass
    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_reload_is_refused_with_the_reason(repository: Repository, base: Path, load: Loader) -> None:
    with pytest.raises(ServingError) as refusal:
        repository.check_labels({"m": ModelSettings(base, labels={"stable": 2})})
    assert refusal.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.value.text == (
        "Request to assign label to version 2 of model m, which is not currently available for inference"
    )
    load.bad[9] = invalid("broken")
    tiny_saved_model(base.with_name("a") / "9")
    repository.configure({name: ModelSettings(base.with_name(name)) for name in ("a", "m", "z")})
    repository.reconcile()
    with pytest.raises(ServingError) as refusal:
        repository.check_available({"a", "m", "z"})
    assert refusal.value.code is grpc.StatusCode.UNKNOWN
    assert refusal.value.text == (
        "2 model(s) did not become available: {{{name: a version: 9} due to error: INVALID_ARGUMENT: broken}, "
        f"{{{{name: z}} due to error: NOT_FOUND: No versions of servable z found under base path "
        f"{base.with_name('z')}}}, }}"
    )


def test_close_unloads_everything(repository: Repository) -> None:
    with repository.held("m") as (_, model):
        pass
    repository.close()
    assert model.closed
    assert states(repository) == {1: State.END}
