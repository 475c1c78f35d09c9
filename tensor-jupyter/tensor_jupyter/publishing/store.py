"""Versions in an object store - S3, Google Cloud, Azure, or a folder - pushed from one lab and pulled by others.

    NAME/VERSION/...        the version's files
    NAME/VERSION.json       its manifest, written last: {"files": {"saved_model.pb": {"bytes": 1, "sha256": "..."}}}
    NAME/serving.json       the model's settings at the last push

A version without a manifest is incomplete and ignored. A pulled version is compared with its manifest, and appears in
the models volume by one rename.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from tensor_jupyter.context import MAX_VERSION, NAME, make_shared
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing import serving_settings
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.staging import PULLED, publish, staging

if TYPE_CHECKING:
    import obstore.store

_MAX_MANIFEST_BYTES = 4 << 20
_MAX_SETTINGS_BYTES = 64 << 10  # as the watcher's bound
_CHUNK = 8 << 20  # bytes read at once

Advance = Callable[[int], None]
"""Called with the number of bytes transferred since its last call."""


class Ref(NamedTuple):
    """A version of a model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class File(BaseModel):
    """One file of a version."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """All files of a version, by their paths in it."""

    files: dict[str, File] = Field(min_length=1)

    @property
    def bytes(self) -> int:
        """The size of the version."""
        return sum(file.bytes for file in self.files.values())


class Store:
    """The store at `url`: s3://bucket/prefix, gs://, az://, https:// of one of these, or file:///folder.

    Credentials, region and endpoint come from the variables that the providers' own tools read (AWS_*, GOOGLE_*,
    AZURE_*). Every method raises LabError when the store rejects a request or does not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        with _reported(url):
            self._store: obstore.store.ObjectStore = _opened(url)

    def versions(self) -> list[Ref]:
        """Every version that has a manifest, by name and number. Folders whose name is not a model name are ignored."""
        found = []
        with _reported(self.url):
            for folder in self._store.list_with_delimiter()["common_prefixes"]:
                if NAME.fullmatch(folder):
                    objects = self._store.list_with_delimiter(folder)["objects"]
                    found += [ref for each in objects if (ref := _ref(folder, each["path"]))]
        return sorted(found)

    def manifest(self, ref: Ref) -> Manifest:
        """Read a version's manifest. Raises LabError for a missing or an invalid one."""
        text = self._read(f"{_key(ref)}.json", _MAX_MANIFEST_BYTES)
        if text is None:
            raise LabError(f"{self.url} has no {ref}.")
        try:
            manifest = Manifest.model_validate_json(text)
        except ValidationError as error:
            raise LabError(f"{self.url}: the manifest of {ref} cannot be read: {_first(error)}.") from error
        for path in manifest.files:
            if not _is_inside(path):
                raise LabError(f"{self.url}: the manifest of {ref} names {path!r}, which is not a path in the version.")
        return manifest

    def push(self, registry: Registry, version: int, advance: Advance = lambda _: None) -> bool:
        """Write a version and, last, its manifest; False if the store has it already.

        Raises LabError if the store has another version of that number: a published version never changes.
        """
        ref, folder = Ref(registry.name, version), registry.folder(version)
        manifest = Manifest(files={str(path.relative_to(folder)): _file(path) for path in _files(folder)})
        with _reported(self.url):
            if ref in self.versions():
                if self.manifest(ref) != manifest:
                    raise LabError(f"{self.url} has another {ref}. Publish yours under a number that is free there.")
                return False
            for path, file in manifest.files.items():
                self._store.put(f"{_key(ref)}/{path}", folder / path)
                advance(file.bytes)
            self._store.put(f"{_key(ref)}.json", manifest.model_dump_json(indent=1).encode())
        return True

    def push_settings(self, registry: Registry) -> None:
        """Write the model's serving.json, as an empty object if it sets nothing."""
        document = registry.settings().document
        with _reported(self.url):
            self._store.put(f"{registry.name}/{serving_settings.FILE}", json.dumps(document, indent=1).encode())

    def pull(self, ref: Ref, models: Path, advance: Advance = lambda _: None) -> bool:
        """Download a version into the volume `models`; False if there is one of that name and number.

        Raises LabError if the files do not match the manifest; the version does not appear then.
        """
        if (models / ref.name / str(ref.version)).exists():
            return False
        manifest = self.manifest(ref)
        with staging(models) as area:
            for path, file in manifest.files.items():
                (area / path).parent.mkdir(parents=True, exist_ok=True)
                self._fetch(f"{_key(ref)}/{path}", file, area / path, advance)
            try:
                publish(area, models, ref.name, ref.version, exact=True)
            except LabError:
                return False  # another process published it first
        pulled = models / ref.name / PULLED
        make_shared(pulled)
        (pulled / f"{ref.version}.json").write_text(manifest.model_dump_json(), encoding="utf-8")
        return True

    def pull_settings(self, name: str, models: Path) -> bool:
        """Write the model's serving.json from the store; False if nothing changes, or the store has none.

        Raises LabError if it is not valid.
        """
        text = self._read(f"{name}/{serving_settings.FILE}", _MAX_SETTINGS_BYTES)
        if text is None:
            return False
        try:
            wanted = serving_settings.ServingSettings.model_validate_json(text)
        except ValidationError as error:
            raise LabError(f"{self.url}: serving.json of {name} is not valid: {_first(error)}.") from error
        make_shared(models / name)
        return Registry(models, name).replace_settings(wanted)

    def remove(self, ref: Ref) -> None:
        """Delete a version from the store, its manifest first."""
        with _reported(self.url):
            self._store.delete(f"{_key(ref)}.json")
            for objects in self._store.list(f"{_key(ref)}/"):
                self._store.delete([each["path"] for each in objects])

    def _read(self, key: str, most: int) -> bytes | None:
        """A small object; None where there is none."""
        with _reported(self.url):
            try:
                found = self._store.get(key)
            except FileNotFoundError:
                return None
            if found.meta["size"] > most:
                raise LabError(f"{self.url}: {key} has {found.meta['size']} bytes, at most {most} are read.")
            return bytes(found.bytes())

    def _fetch(self, key: str, file: File, path: Path, advance: Advance) -> None:
        digest, size = hashlib.sha256(), 0
        with _reported(self.url), path.open("xb") as target:
            for chunk in self._store.get(key).stream(_CHUNK):
                size += len(chunk)
                if size > file.bytes:
                    break
                digest.update(chunk)
                target.write(chunk)
                advance(len(chunk))
        if size != file.bytes or digest.hexdigest() != file.sha256:
            raise LabError(f"{self.url}: {key} is not the file of its manifest.")


def pulled(models: Path) -> list[Ref]:
    """The pulled versions that still exist in a volume."""
    found = (_ref(path.parent.parent.name, path.name) for path in models.glob(f"*/{PULLED}/*.json"))
    return sorted(ref for ref in found if ref and (models / ref.name / str(ref.version)).is_dir())


def delete_pulled(ref: Ref, models: Path) -> None:
    """Delete a pulled version that the store no longer has, in one step, whatever its labels."""
    with staging(models) as area:
        (models / ref.name / str(ref.version)).rename(area)
    (models / ref.name / PULLED / f"{ref.version}.json").unlink(missing_ok=True)


def _opened(url: str) -> Any:
    import obstore.store

    if url.startswith("file:"):
        folder = Path(url.removeprefix("file://"))
        if not folder.is_absolute():
            raise LabError(f"{url!r} is not an absolute folder: expected file:///path.")
        return obstore.store.LocalStore(folder, mkdir=True)
    return obstore.store.from_url(url)


@contextlib.contextmanager
def _reported(url: str) -> Iterator[None]:
    """Turn errors of the store's library into a LabError of one line."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise LabError(f"{url}: {lines[0] if lines else type(error).__name__}") from error


def _ref(name: str, path: str) -> Ref | None:
    """The version whose manifest has this path; None for any other path."""
    number = PurePosixPath(path).name.removesuffix(".json")
    if not (path.endswith(".json") and number.isascii() and number.isdigit() and not number.startswith("0")):
        return None
    return Ref(name, int(number)) if len(number) <= 19 and int(number) <= MAX_VERSION else None


def _key(ref: Ref) -> str:
    return f"{ref.name}/{ref.version}"


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return not any(part in ("", ".", "..") or "\0" in part for part in parts)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _file(path: Path) -> File:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return File(bytes=size, sha256=digest.hexdigest())


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first["loc"] else str(first["msg"])
