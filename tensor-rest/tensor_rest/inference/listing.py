"""What a watcher lists: models, their versions and labels, and what is not served and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import BaseModel, Field

from tensor_rest.backend import Address

STABLE = "stable"
"""The label of the version that answers requests which name neither a version nor a label."""


class Quarantined(BaseModel):
    """A version that is not served, and why."""

    version: int
    reason: str


class Ignored(BaseModel):
    """A folder on the volume that is nearly a model: why it is not one, and the command that makes it one."""

    path: str
    reason: str
    fix: str = ""


class Model(BaseModel):
    """One model on the volume: its valid versions, those served, labels such as stable, and what is left out.

    `independent_rows` is the operator's setting; None if there is none. `available` are the versions that can be called
    now; None where the watcher did not report it. With several model servers, `loading` are versions that some lack.
    """

    name: str
    versions: list[int] = Field(default_factory=list)
    serving: list[int] = Field(default_factory=list)
    labels: dict[str, int] = Field(default_factory=dict)
    quarantined: list[Quarantined] = Field(default_factory=list)
    independent_rows: bool | None = None
    available: list[int] | None = None
    loading: list[int] = Field(default_factory=list)

    @property
    def callable_now(self) -> list[int]:
        """The versions that can be called, as far as that is known."""
        return self.serving if self.available is None else self.available

    @property
    def newest(self) -> int | None:
        """The newest version that is served, else the newest on the volume; None if none is known."""
        return max(self.serving or self.versions, default=None)

    @property
    def stable(self) -> int | None:
        """The version labelled `stable`, if it is served."""
        version = self.labels.get(STABLE)
        return version if version in self.serving else None

    @property
    def default_version(self) -> int | None:
        """The version that answers a request without version and label: the stable one, else the newest."""
        return self.stable or self.newest


class Document(BaseModel):
    """An inventory, the JSON document that a watcher returns."""

    models: list[Model]
    ignored: list[Ignored] = Field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """What the watcher listed last, sorted by name; `problem` says why it cannot be read now, "" if it can.

    With `several` model servers, `having` has the addresses of those with a version of a model (None: any version).
    `replicas` are the addresses whose lists are included; empty where that is not known.
    """

    models: list[Model] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    problem: str = ""
    several: bool = False
    having: Mapping[tuple[str, int | None], frozenset[Address]] = field(default_factory=dict)
    replicas: frozenset[Address] = frozenset()

    @cached_property
    def by_name(self) -> Mapping[str, Model]:
        """The models by name."""
        return {model.name: model for model in self.models}

    @cached_property
    def stable(self) -> frozenset[str]:
        """The models with a served version labelled `stable`."""
        return frozenset(model.name for model in self.models if model.stable is not None)
