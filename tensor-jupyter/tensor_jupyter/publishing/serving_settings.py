"""`serving.json`: the settings of one model, which the watcher beside the model server reads.

    {
      "model_version_policy": {"latest": {"num_versions": 2}},
      "version_labels": {"stable": 7},
      "independent_rows": true
    }

docs/serving.schema.json is the JSON schema of `ServingSettings`. A file that holds anything else is not changed.
"""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from tensor_jupyter.context import MAX_VERSION, NAME
from tensor_jupyter.errors import LabError

STABLE = "stable"
"""The label of the version that answers requests which name neither version nor label."""

FILE = "serving.json"
_MAX_BYTES = 64 * 1024  # as the watcher

_Version = Annotated[int, Field(ge=1, le=MAX_VERSION)]
_Label = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Latest(_Strict):
    num_versions: _Version = Field(default=1, description="How many of the newest versions are served.")


class All(_Strict):
    pass


class Specific(_Strict):
    versions: list[_Version] = Field(min_length=1, description="The versions that are served.")


class LatestPolicy(_Strict):
    latest: Latest


class AllPolicy(_Strict):
    all: All


class SpecificPolicy(_Strict):
    specific: Specific


def _kind(policy: Any) -> str | None:
    fields = policy.model_fields_set if isinstance(policy, BaseModel) else policy
    return next(iter(fields)) if isinstance(fields, dict | set) and len(fields) == 1 else None


_Policy = Annotated[
    Annotated[LatestPolicy, Tag("latest")]
    | Annotated[AllPolicy, Tag("all")]
    | Annotated[SpecificPolicy, Tag("specific")],
    Discriminator(
        _kind, custom_error_type="policy", custom_error_message="expected an object with one of latest, all, specific"
    ),
]


class ServingSettings(_Strict):
    """The settings of one model. Immutable: a change returns new settings."""

    model_config = ConfigDict(title="serving.json")

    model_version_policy: _Policy | None = Field(
        default=None, description="Which versions are served; without it, the newest."
    )
    version_labels: dict[_Label, _Version] = Field(
        default={},
        description="Versions by label. A version with a label is served.",
        json_schema_extra={"additionalProperties": False},
    )
    independent_rows: bool | None = Field(
        default=None,
        description="Whether a server may batch, split and join requests. Without it, as the model declares.",
    )

    @property
    def document(self) -> dict[str, Any]:
        """The settings as in the file."""
        return self.model_dump(exclude_unset=True)

    @property
    def labels(self) -> dict[str, int]:
        """Version numbers by label."""
        return self.version_labels

    @property
    def pinned(self) -> tuple[int, ...]:
        """The versions that the policy `specific` names; none under any other policy."""
        policy = self.model_version_policy
        return tuple(policy.specific.versions) if isinstance(policy, SpecificPolicy) else ()

    def default(self, versions: Iterable[int]) -> int:
        """Which of these versions answers a request without version and label: `stable`, else the newest; 0: none."""
        listed = self.listed(versions)
        stable = self.labels.get(STABLE, 0)
        return stable if stable in listed else max(listed, default=0)

    def listed(self, versions: Iterable[int]) -> list[int]:
        """Which of these versions are served, ascending: those the policy chooses, and those under a label."""
        present, policy = sorted(versions), self.model_version_policy
        if isinstance(policy, SpecificPolicy):
            chosen = [number for number in present if number in policy.specific.versions]
        elif isinstance(policy, AllPolicy):
            chosen = present
        else:
            chosen = present[-(policy.latest.num_versions if policy else 1) :]
        return sorted({*chosen, *(number for number in self.labels.values() if number in present)})

    def with_label(self, label: str, version: int) -> "ServingSettings":
        """The label on this version, wherever it was before. Raises LabError for what cannot be a label."""
        if not NAME.fullmatch(label):
            raise LabError(
                f"A label cannot be called {label!r}: wanted are lower-case letters, digits, '.', '_' or '-', "
                "starting with a letter or digit, as in 'stable'."
            )
        return self._changed(version_labels={**self.labels, label: version})

    def without_label(self, label: str) -> "ServingSettings":
        kept = {name: version for name, version in self.labels.items() if name != label}
        return self._changed(version_labels=kept or None)

    def with_independent_rows(self, independent: bool | None) -> "ServingSettings":
        """The same with this setting, or without one for None."""
        return self._changed(independent_rows=independent)

    def pin(self, version: int) -> "ServingSettings":
        """Serve this version, and those under labels, and no other."""
        return self._changed(model_version_policy={"specific": {"versions": [version]}})

    def unpin(self) -> "ServingSettings":
        """Serve the newest version again."""
        return self._changed(model_version_policy=None)

    def _changed(self, **fields: Any) -> "ServingSettings":
        """The settings with these fields; without those that are None."""
        changed = {name: value for name, value in {**self.document, **fields}.items() if value is not None}
        return ServingSettings.model_validate(changed)


def read(model: Path) -> ServingSettings:
    """Return the settings in a model's folder, empty ones without a file. Raises LabError for a file with a mistake."""
    path = model / FILE
    try:
        return ServingSettings.model_validate(json.loads(_text(path), object_pairs_hook=_object))
    except FileNotFoundError:
        return ServingSettings()
    except ValidationError as error:
        raise _unknown(path, _reason(error)) from error
    except RecursionError as error:
        raise _unknown(path, "it is nested too deeply") from error
    except ValueError as error:
        raise _unknown(path, str(error)) from error


def write(model: Path, settings: ServingSettings) -> None:
    """Replace the file in a model's folder in one step, readable for the watcher; remove it where nothing is set."""
    if not settings.document:
        (model / FILE).unlink(missing_ok=True)
        return
    handle, name = tempfile.mkstemp(dir=model, prefix=f".{FILE}-")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(settings.document, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o664)
        fresh.replace(model / FILE)
    finally:
        fresh.unlink(missing_ok=True)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is given twice")
    return dict(pairs)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
    return data.decode()


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


def _unknown(path: Path, reason: str) -> LabError:
    return LabError(
        f"{path} is not changed, because it is not valid: {reason}. Expected are version_labels, "
        "model_version_policy and independent_rows, as in docs/contracts.md; correct the file, or remove it."
    )
