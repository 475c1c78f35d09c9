"""What the models volume holds: which versions are sound, which are served, which are held back and why."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tensor_serving import layout, near_models, serving_settings
from tensor_serving.near_models import NearModel
from tensor_serving.savedmodel import Rotation, SavedModelValidator

_NEWEST = 10  # versions of a model, and as many of its quarantined ones, that every poll checks


@dataclass(frozen=True)
class Model:
    """One model folder as found.

    `versions` are the sound ones, `serving` those of them to be served, both ascending. `quarantined` gives the reason
    by version. `problems`: what in its serving.json is ignored, and why. `folders` are those of all versions.
    `complete` is False while some versions have not been validated yet.
    `independent_rows` is what serving.json declares, None without a declaration; False while the file has a mistake,
    because it may have been meant to declare false.
    """

    name: str
    base_path: str
    versions: list[int]
    serving: list[int]
    labels: dict[str, int] = field(default_factory=dict)
    quarantined: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    folders: dict[int, Path] = field(default_factory=dict)
    independent_rows: bool | None = None
    complete: bool = True

    def document(self) -> dict[str, object]:
        """Return the model's entry in the inventory."""
        return {
            "name": self.name,
            "versions": self.versions,
            "serving": self.serving,
            "labels": self.labels,
            "quarantined": [{"version": number, "reason": reason} for number, reason in self.quarantined.items()],
            "problems": self.problems,
            "independent_rows": self.independent_rows,
        }


@dataclass(frozen=True)
class Catalogue:
    """The model folders, sorted by name, that hold a version or have a problem, and those that are nearly models.

    `complete` is False while some versions have not been validated yet.
    """

    models: list[Model]
    ignored: list[NearModel] = field(default_factory=list)
    complete: bool = True


def scan(models: Path, validator: SavedModelValidator, tried: bool = False) -> Catalogue:
    """Return what the volume holds. Raises OSError when the volume itself cannot be read.

    With `tried`, the validator is informed which versions the model server has loaded. Then, as long as none of the
    versions that policy `latest` chooses has been loaded, the next older version is served as well: the chosen ones may
    turn out not to load.
    """
    models = Path(models).absolute()
    folders, others = layout.model_folders(models)
    versions: dict[Path, dict[int, Path]] = {}
    unreadable: dict[Path, str] = {}
    for folder in folders:
        try:
            versions[folder] = validator.version_folders.of(folder)
        except OSError as error:
            unreadable[folder] = f"{folder} cannot be read: {error.strerror}"
    rotation = validator.rotation.next(sum(map(len, versions.values())))
    found = [
        _model(folder, versions[folder], validator, rotation, tried)
        if folder in versions
        else Model(folder.name, str(folder), [], [], problems=[unreadable[folder]])
        for folder in folders
    ]
    validator.forget(validator.known().difference(*(each.values() for each in versions.values())))
    without_versions = [Path(model.base_path) for model in found if not model.folders]
    ignored = near_models.find(models, sorted([*others, *without_versions]))
    listed = [model for model in found if model.versions or model.quarantined or model.problems]
    return Catalogue(listed, ignored, complete=all(model.complete for model in found))


def _model(
    folder: Path, versions: dict[int, Path], validator: SavedModelValidator, rotation: Rotation, tried: bool
) -> Model:
    problems: list[str] = []
    try:
        own = serving_settings.read(folder)
    except serving_settings.SettingsError as error:
        own = serving_settings.ServingSettings(independent_rows=False)
        problems.append(str(error))
    results = _validation_results(versions, {*own.labels.values(), *own.policy.versions}, validator, rotation)
    sound = [number for number, reason in results.items() if not reason]
    labels = {label: number for label, number in sorted(own.labels.items()) if number in sound}
    problems += [
        f"label {label} is ignored: version {number} is {'quarantined' if number in versions else 'not there'}"
        for label, number in sorted(own.labels.items())
        if number not in sound
    ]
    chosen = own.policy.choose(sound)
    if tried and own.policy.kind == "latest" and not any(validator.loads(versions[number]) for number in chosen):
        chosen = sound[-len(chosen) - 1 :]
    serving = sorted({*chosen, *labels.values()})
    if sound and not serving:
        problems.append(f"nothing is served: no version of {list(own.policy.versions)} in serving.json is sound")
    return Model(
        name=folder.name,
        base_path=str(folder),
        versions=sound,
        serving=serving,
        labels=labels,
        quarantined={number: reason for number, reason in results.items() if reason},
        problems=problems,
        folders=versions,
        independent_rows=own.independent_rows,
        complete=len(results) == len(versions),
    )


def _validation_results(
    versions: dict[int, Path], named: Collection[int], validator: SavedModelValidator, rotation: Rotation
) -> dict[int, str]:
    """Return the reason by version, empty for a sound one; versions that have not been validated yet are left out.

    This poll checks the newest versions and those named in serving.json, because they may be served; the newest of the
    quarantined ones, because they may still be being copied; and, of all others, those whose turn it is.
    """
    known = {number: validator.last_problem(path) for number, path in versions.items()}
    held_back = [number for number, reason in known.items() if reason]
    wanted = {*[*versions][-_NEWEST:], *held_back[-_NEWEST:], *named}
    for number, path in versions.items():
        if number in wanted or rotation.includes_next():
            known[number] = validator.problem(path)
    return {number: reason for number, reason in known.items() if reason is not None}
