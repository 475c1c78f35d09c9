"""`lab models push` and `lab models pull`: versions to and from an object store."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line, out, print_json
from tensor_jupyter.commands.model_kit import Json
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from tensor_jupyter.publishing.store import Ref, Store

_Url = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="LAB_STORE",
        help="s3://bucket/prefix, gs://..., az://..., or file:///folder of a mounted disk.",
    ),
]
_Models = Annotated[list[str] | None, typer.Argument(help="These models alone; else all.")]


def push(
    models: _Models = None,
    store: _Url = ...,  # type: ignore[assignment]
    prune: Annotated[
        bool, typer.Option("--prune", help="Also delete from the store what this lab no longer has of these models.")
    ] = False,
    json: Json = False,
) -> None:
    """Upload the versions that an object store does not have, and the models' serving.json.

    Other labs, and the component sync on Kubernetes, pull them from there.
    """
    with errors_in_one_line():
        from tensor_jupyter.context import NAME
        from tensor_jupyter.data.progress import shown
        from tensor_jupyter.publishing.registry import Registry
        from tensor_jupyter.publishing.store import Ref, Store

        folder, place = Settings.read().models, Store(store)
        names = models or sorted(path.name for path in folder.iterdir() if path.is_dir() and NAME.fullmatch(path.name))
        pushed, removed = [], []
        for name in names:
            registry = Registry(folder, name)
            for version in registry.numbers():
                size = sum(path.stat().st_size for path in registry.folder(version).rglob("*") if path.is_file())
                with shown(f"{name} {version}", size, in_bytes=True) as advance:
                    if place.push(registry, version, advance):
                        pushed.append(Ref(name, version))
            place.push_settings(registry)
            if prune:
                gone = [ref for ref in place.versions() if ref.name == name and ref.version not in registry.folders()]
                for ref in gone:
                    place.remove(ref)
                removed += gone
        _report(json, pushed=pushed, removed=removed)


def pull(
    models: _Models = None,
    store: _Url = ...,  # type: ignore[assignment]
    prune: Annotated[
        bool, typer.Option("--prune", help="Also delete pulled versions that the store no longer has.")
    ] = False,
    every: Annotated[float, typer.Option(min=0, help="Repeat after this many seconds; 0: pull once.")] = 0.0,
    beat: Annotated[
        Path | None, typer.Option(help="A file to touch while pulling works, for a liveness probe.")
    ] = None,
    json: Json = False,
) -> None:
    """Download the versions of an object store that this lab does not have, and the models' serving.json.

    A version appears when all its files have arrived and match their manifest. Existing versions are not changed.
    """
    with errors_in_one_line():
        from tensor_jupyter.publishing.store import Store

        folder = Settings.read().models
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                _pull(Store(store), folder, models, prune, beat, json)
            except (LabError, OSError) as error:
                if not every:
                    raise
                err.print(f"lab: {error}")  # the store may be reachable, or the disk have space, the next time
            else:
                _touch(beat)
            if not every:
                return
            time.sleep(every)


def _pull(place: "Store", folder: Path, models: list[str] | None, prune: bool, beat: Path | None, json: bool) -> None:
    from tensor_jupyter.data.progress import shown
    from tensor_jupyter.publishing.store import delete_pulled, pulled

    def advance_and_beat(count: int) -> None:
        advance(count)
        _touch(beat)

    there = [ref for ref in place.versions() if models is None or ref.name in models]
    if not there:
        raise LabError(f"{place.url} has no version of {', '.join(models) if models else 'any model'}.")
    downloaded = []
    for ref in there:
        if not list((folder / ref.name).glob("[1-9]*")):
            place.pull_settings(ref.name, folder)  # before any version, or the newest would be the default
        if not (folder / ref.name / str(ref.version)).exists():
            with shown(str(ref), place.manifest(ref).bytes, in_bytes=True) as advance:
                if place.pull(ref, folder, advance_and_beat):
                    downloaded.append(ref)
    changed = [name for name in dict.fromkeys(ref.name for ref in there) if place.pull_settings(name, folder)]
    gone = [ref for ref in pulled(folder) if ref not in there and (models is None or ref.name in models)]
    for ref in gone if prune else ():
        delete_pulled(ref, folder)
    _report(json, pulled=downloaded, settings=changed, removed=gone if prune else [])


def _touch(beat: Path | None) -> None:
    if beat:
        beat.touch()


def _report(json: bool, **done: "list[Ref] | list[str]") -> None:
    if json:
        print_json({what: [str(each) for each in found] for what, found in done.items()})
        return
    for what, found in done.items():
        for each in found:
            out.print(f"{what}: {each}")
    if not any(done.values()):
        err.print("Nothing to do: no version is missing at the destination.")
