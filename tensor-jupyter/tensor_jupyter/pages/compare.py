"""Versions and runs of the pipeline side by side.

A run and the version that it published are one entry; a run that was refused or is unfinished is an entry by itself.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tensor_jupyter.context import NAME, checked_name
from tensor_jupyter.errors import LabError
from tensor_jupyter.pages.render import render
from tensor_jupyter.pages.run import folder_of
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.settings import Settings

_COMPANION = "-concept"
_UNKNOWN = "–"


@dataclass(frozen=True)
class Entry:
    """A version, a run, or a run with the version that it published; None and "" where a value is unknown.

    decision: the run's state (promoted, refused, failed or not decided). accuracy: on all test images. false_alarms:
    the share of unseen test images over the concept threshold. bytes: the size of the SavedModel. page: the path of
    the run's page.
    """

    model: str
    version: int | None = None
    run: str = ""
    decision: str = ""
    labels: tuple[str, ...] = ()
    accuracy: float | None = None
    auroc: float | None = None
    false_alarms: float | None = None
    data: str = ""
    data_hash: str = ""
    created: str = ""
    commit: str = ""
    release: str = ""
    bytes: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    page: str = ""

    @property
    def name(self) -> str:
        """The name in commands: MODEL/VERSION, else MODEL/RUN."""
        return f"{self.model}/{self.version or self.run}"

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class Fact:
    """One line of the comparison: a value for each entry."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the known values are not all equal."""
        return len({*self.values} - {_UNKNOWN}) > 1


def entries(names: Sequence[str], settings: Settings) -> list[Entry]:
    """Return the entries that the names stand for, newest first for each name.

    Args:
        names: `MODEL` for all its versions and runs, `MODEL/VERSION`, or `MODEL/RUN`, which may be abbreviated; if
            empty, every model but `X-concept` where there is a model `X`.
        settings: The lab's folders.

    Raises:
        LabError: For a name that does not exist.
    """
    found: dict[str, Entry] = {}
    for name in names or _models(settings):
        model, _, which = name.partition("/")
        every = _of_model(checked_name(model), settings)
        chosen = [each for each in every if not which or (each.version and which == str(each.version))]
        chosen = chosen or [each for each in every if each.run.startswith(which)]
        if not chosen:
            there = ", ".join(each.name for each in every) or "none of this model"
            raise LabError(f"There is no version or run {name!r}; there is {there}.")
        found |= {each.name: each for each in chosen}
    return [*found.values()]


def facts(found: Sequence[Entry]) -> list[Fact]:
    """Return the lines of the comparison; a parameter has a line only if its values differ."""
    lines = {
        "decision": [each.decision for each in found],
        "label": [", ".join(each.labels) for each in found],
        "accuracy": [_percent(each.accuracy) for each in found],
        "concept AUROC": ["" if each.auroc is None else f"{each.auroc:.4f}" for each in found],
        "false alarms": [_percent(each.false_alarms) for each in found],
        "data": [f"{each.data} {each.data_hash[:8]}".strip() for each in found],
        "date": [each.created[:16].replace("T", " ") for each in found],
        "commit": [_short(each.commit) for each in found],
        "release": [each.release for each in found],
        "size": [f"{each.bytes / 1e6:.1f} MB" if each.bytes else "" for each in found],
        "run": [each.run if each.version else "" for each in found],
    }
    lines |= {
        name: [_value(each.parameters[name]) if name in each.parameters else "" for each in found]
        for name in _differing([each.parameters for each in found if each.parameters])
    }
    return [Fact(name, tuple(value or _UNKNOWN for value in values)) for name, values in lines.items() if any(values)]


def page(found: Sequence[Entry], target: Path) -> str:
    """Return the comparison as HTML; its links to the runs' pages are relative to the folder of `target`."""
    links = [os.path.relpath(each.page, target.absolute().parent) if each.page else "" for each in found]
    return render("compare.html", entries=[*zip(found, links, strict=True)], facts=facts(found))


def _models(settings: Settings) -> list[str]:
    folders = [settings.models, settings.data / "reports"]
    found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    named = {name for name in found if NAME.fullmatch(name)}
    return sorted(named - {f"{name}{_COMPANION}" for name in named})


def _of_model(model: str, settings: Settings) -> list[Entry]:
    """Every version, newest first, each with the run that made it (the record written last); then the other runs."""
    runs = _records(model, settings)
    registry = Registry(settings.models, model)
    published: list[Entry] = []
    for number in reversed(registry.numbers() if registry.family.is_dir() else []):
        card = _card(registry.folder(number))
        mine = next((each for each in runs if _classifier(each[1])["card"]["run"] == card.get("run")), None)
        if mine:
            runs.remove(mine)
        path, record = mine or (None, {})
        labels = tuple(sorted(label for label, at in registry.settings().labels.items() if at == number))
        published.append(_entry(model, number, card, labels, _bytes(registry.folder(number)), path, record))
    alone = [
        _entry(model, None, _classifier(record)["card"], (), _classifier(record)["bytes"], path, record)
        for path, record in runs
    ]
    return published + sorted(alone, key=lambda each: each.created, reverse=True)


def _records(model: str, settings: Settings) -> list[tuple[Path, dict[str, Any]]]:
    """The paths and records of runs, the one written last first; other files are left out."""
    found = []
    for path in folder_of(settings, model).glob("*-*.json"):
        with contextlib.suppress(ValueError, LookupError, TypeError):
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["schema"] == 1:
                found.append((path, record))
    return sorted(found, key=lambda each: each[0].stat().st_mtime, reverse=True)


def _classifier(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["models"][0]
    return found


def _card(folder: Path) -> dict[str, Any]:
    from tensor_jupyter.publishing.graph import Graph

    try:
        with Graph(folder) as graph:
            return graph.card() or {}
    except LabError:  # it cannot be loaded, but its name and size are known
        return {}


def _entry(
    model: str,
    version: int | None,
    card: dict[str, Any],
    labels: tuple[str, ...],
    size: int,
    path: Path | None,
    record: dict[str, Any],
) -> Entry:
    metrics, data = card.get("metrics") or {}, card.get("data_set") or {}
    return Entry(
        model,
        version,
        record.get("run", ""),
        record.get("state", ""),
        labels,
        metrics.get("test_accuracy"),
        record.get("auroc"),
        record.get("false_alarms", metrics.get("test_false_alarms")),
        str(data.get("name", "")),
        str(data.get("hash", "")),
        str(card.get("created", "")),
        str(card.get("git_commit", "")),
        record.get("release", ""),
        size,
        record.get("parameters", {}),
        str(path.with_suffix(".html").absolute()) if path else "",
    )


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _differing(parameters: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for each in parameters for name in each)
    return [name for name in names if len({str(each.get(name)) for each in parameters}) > 1]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _value(value: Any) -> str:
    return "default" if value in (None, "") else str(value)


def _short(commit: str) -> str:
    return commit[:8] + ("-dirty" if commit.endswith("-dirty") else "")
