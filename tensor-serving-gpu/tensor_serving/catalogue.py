"""What the models volume holds: which versions are sound, which are served, which are held back and why."""

from dataclasses import dataclass, field
from pathlib import Path

from tensor_serving import layout, near_models, serving_conf
from tensor_serving.near_models import NearModel
from tensor_serving.savedmodel import Inspector


@dataclass(frozen=True)
class Model:
    """One model folder as found.

    `versions` are the sound ones, `serving` those of them to be served, both ascending. `quarantined` gives the reason
    by version. `problems` says what in its serving.conf is not followed and why. `folders` are those of all versions.
    `independent_rows` is what serving.conf declares, None when it does not; False while it has a mistake, as it might
    have said so.
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
    """All model folders by name that hold at least one version, and those that are nearly models."""

    models: list[Model]
    ignored: list[NearModel] = field(default_factory=list)


def scan(models: Path, inspector: Inspector, tried: bool = False) -> Catalogue:
    """Return what the volume holds. Raises OSError when the volume itself cannot be read.

    `tried` says that the inspector hears from the model server which versions load. Then, as long as none of a model's
    newest versions is known to, the next older one is served as well: it is there if they turn out not to load.
    """
    models = Path(models).absolute()
    folders, others = layout.model_folders(models)
    seen: set[Path] = set()
    found = [_model(folder, inspector, seen, tried) for folder in folders]
    inspector.forget(inspector.known() - seen)
    without_versions = [Path(model.base_path) for model in found if not model.folders]
    ignored = near_models.find(models, sorted([*others, *without_versions]))
    return Catalogue([model for model in found if model.versions or model.quarantined or model.problems], ignored)


def _model(folder: Path, inspector: Inspector, seen: set[Path], tried: bool) -> Model:
    try:
        versions = layout.version_folders(folder)
    except OSError as error:
        return Model(folder.name, str(folder), [], [], problems=[f"{folder} cannot be read: {error.strerror}"])
    seen.update(versions.values())
    verdicts = {number: inspector.problem(path) for number, path in versions.items()}
    sound = [number for number, reason in verdicts.items() if not reason]
    problems: list[str] = []
    try:
        conf = serving_conf.read(folder / "serving.conf")
    except serving_conf.ConfError as error:
        conf = serving_conf.ServingConf(independent_rows=False)
        problems.append(f"serving.conf is ignored: {error}")
    labels = {label: number for label, number in sorted(conf.labels.items()) if number in sound}
    problems += [
        f"label {label} is ignored: version {number} is {'quarantined' if number in versions else 'not there'}"
        for label, number in sorted(conf.labels.items())
        if number not in sound
    ]
    chosen = conf.policy.choose(sound)
    if tried and conf.policy.kind == "latest" and not any(inspector.loads(versions[number]) for number in chosen):
        chosen = sound[-len(chosen) - 1 :]
    serving = sorted({*chosen, *labels.values()})
    if sound and not serving:
        problems.append(f"nothing is served: no version of {list(conf.policy.versions)} in serving.conf is sound")
    return Model(
        name=folder.name,
        base_path=str(folder),
        versions=sound,
        serving=serving,
        labels=labels,
        quarantined={number: reason for number, reason in verdicts.items() if reason},
        problems=problems,
        folders=versions,
        independent_rows=conf.independent_rows,
    )
