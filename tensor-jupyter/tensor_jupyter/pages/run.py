"""A run of the pipeline as a page, and as a record that later runs are compared with.

<LAB_DATA>/reports/<model>/<run>.html    the page
<LAB_DATA>/reports/<model>/<run>.json    the record

<run> is the first 8 hex digits of `run` in the classifier's card, "-", and those in the concept model's card.
A run has a page as soon as its models are evaluated. The page is written again after each later step, done or failed,
from the results so far.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tensor_jupyter.pages import charts
from tensor_jupyter.pages.render import render, write
from tensor_jupyter.pipeline import stamps
from tensor_jupyter.pipeline.execute import root_of
from tensor_jupyter.pipeline.external import document_in
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import STEPS, after, named
from tensor_jupyter.rest import png
from tensor_jupyter.settings import Settings

SHOWN = 48
"""The number of misread images on the page, those with the highest probability."""

REPORTED = tuple(after("evaluate"))
"""Steps after which the page is written."""

_MAX_CLASSES = 40  # of a confusion matrix that can be read


@dataclass(frozen=True)
class Failure:
    """A step that failed, and its message."""

    step: str
    message: str


def folder_of(settings: Settings, model: str) -> Path:
    """Return the folder of the pages about a model."""
    return settings.data / "reports" / model


def page_of(parameters: Parameters, settings: Settings) -> Path | None:
    """Return the path of the page about the models exported last, written or not; None if one is missing."""
    root = root_of(parameters, settings)
    found = [stamps.read(root / f"export-{role}") for role in ("classifier", "concept")]
    keys = [stamp.key[:8] for stamp in found if stamp]
    return folder_of(settings, parameters.model) / f"{'-'.join(keys)}.html" if len(keys) == len(found) else None


def write_page(parameters: Parameters, settings: Settings, failure: Failure | None = None) -> Path | None:
    """Write the page and the record of the run; write nothing and return None if nothing is evaluated yet."""
    page, root = page_of(parameters, settings), root_of(parameters, settings)
    done = _done(parameters, root)
    if page is None or not done:
        return None
    record = _record(root, done, page.stem, settings, failure)
    write(page, render("run.html", **_shown(root, record, done), run=record))
    write(page.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    return page


def _done(parameters: Parameters, root: Path) -> list[str]:
    """The steps from evaluate on with results of this run; steps after a stale one have those of an earlier run."""
    found: list[str] = []
    for name in REPORTED:
        if stamps.why_stale(named(name), parameters, root):
            break
        found.append(name)
    return found


def _record(root: Path, done: list[str], run: str, settings: Settings, failure: Failure | None) -> dict[str, Any]:
    evaluation = document_in(root / "evaluate" / "evaluation.json")
    decision = document_in(root / "promote" / "decision.json") if "promote" in done else {}
    live = document_in(root / "test" / "live.json") if "test" in done else {}
    checks = decision.get("checks") or [*evaluation["checks"], *live.get("checks", [])]
    values = {check["name"]: check["value"] for check in checks}
    state = {True: "promoted", False: "refused", None: "not decided"}[decision.get("promoted")]
    lineage = [stamp for stamp in (stamps.read(root / step.name) for step in STEPS) if stamp and _of_run(stamp, done)]
    cards = evaluation["cards"]
    return {
        "schema": 1,
        "run": run,
        "state": "failed" if failure else state,
        "failure": vars(failure) if failure else None,
        "models": [_model(root, role, cards[role], done) for role in ("classifier", "concept")],
        "replaces": decision.get("replaces") or None,
        "checks": checks,
        "accuracy": cards["classifier"]["metrics"].get("test_accuracy"),
        "auroc": values["AUROC offline"],
        "false_alarms": values["false alarms offline"],
        "threshold": evaluation["threshold"],
        "calls": {name: value for name, value in live.get("calls", {}).items() if not isinstance(value, list | dict)},
        "data": cards["classifier"]["data_set"],
        "letters": document_in(root / "gather-notmnist" / "about.json").get("name", ""),
        "parameters": {name: value for stamp in lineage for name, value in stamp.parameters.items()},
        "release": next(stamp.release for stamp in lineage if stamp.step == "evaluate"),
        "commit": cards["classifier"].get("git_commit", ""),
        "created": cards["classifier"]["created"],
        "lineage": [{"step": each.step, "run": each.key, **_hashes(each)} for each in lineage],
        "gateway": (settings.rest_public_url or settings.rest_url).rstrip("/"),
    }


def _of_run(stamp: stamps.Stamp, done: list[str]) -> bool:
    """Whether the stamp is of this run, and not left by an earlier one."""
    return stamp.step in done or stamp.step not in REPORTED


def _hashes(stamp: stamps.Stamp) -> dict[str, dict[str, str]]:
    return {"inputs": stamp.inputs, "outputs": stamp.outputs}


def _model(root: Path, role: str, card: dict[str, Any], done: list[str]) -> dict[str, Any]:
    (folder,) = (root / f"export-{role}" / "models").glob("*/[0-9]*")
    deployed = document_in(root / "deploy" / "deployed.json").get(role) if "deploy" in done else None
    return {
        "role": role,
        "name": folder.parent.name,
        "version": deployed["version"] if deployed else None,
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "card": card,
    }


def _shown(root: Path, record: dict[str, Any], done: list[str]) -> dict[str, Any]:
    """The page's values that are not in the record: charts and images."""
    with np.load(root / "evaluate" / "measured.npz", allow_pickle=False) as arrays:
        measured = dict(arrays)
    with np.load(root / "gather-mnist" / "data.npz", allow_pickle=False) as arrays:
        images, truth = arrays["x_test"], arrays["y_test"]
    labels = [str(label) for label in record["models"][0]["card"]["labels"]]
    wrong = np.flatnonzero(measured["read"] != truth)
    wrong = wrong[np.argsort(-measured["probability"][wrong], kind="stable")]
    score = {"digits": measured["inside"], "letters": measured["outside"], "fitted letters": measured["fitted"]}
    return {
        "curves": [
            *_curves(root / "train-classifier", "classifier"),
            *_curves(root / "train-concept", "concept model"),
        ],
        "confusion": _confusion(measured["read"], truth, labels),
        "misread_count": len(wrong),
        "test_count": len(truth),
        "misread": [_misread(images[row], labels, truth[row], measured, row) for row in wrong[:SHOWN]],
        "scores": charts.histogram(score, {"threshold": record["threshold"]}, across="concept score", log=True),
        "found_foreign": {name: float((values > record["threshold"]).mean()) for name, values in score.items()},
        "latency": _latency(root) if "test" in done else None,
    }


def _latency(root: Path) -> Figure:
    calls = document_in(root / "test" / "live.json")["calls"]
    marks = {f"p{share}: {calls[f'p{share}_ms']:.1f} ms": calls[f"p{share}_ms"] for share in (50, 99)}
    values = {"calls": np.array(calls["milliseconds"])}
    return charts.histogram(values, marks, across="milliseconds of a call", up="share of the calls")


def _curves(folder: Path, model: str) -> Iterator[tuple[str, Figure]]:
    """Yield a title and a chart for each metric, with one curve for the training and one for the held-out images."""
    history = document_in(folder / "trained.json").get("history", {})
    for name, values in history.items():
        if name.startswith("val_") or name == "learning_rate" or not values:
            continue
        series = {"training": values}
        if len(history.get(f"val_{name}", [])) == len(values):
            series["held out"] = history[f"val_{name}"]
        yield f"{name.capitalize()} of the {model}", charts.lines(series, across="epoch", up=name)


def _confusion(read: np.ndarray, truth: np.ndarray, labels: list[str]) -> dict[str, Any] | None:
    """Counts by label, with the share of each row for its colour; None for more labels than can be shown."""
    if len(labels) > _MAX_CLASSES:
        return None
    counts = np.zeros((len(labels), len(labels)), int)
    np.add.at(counts, (truth, read), 1)
    parts = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    rows = [
        (label, [*zip(row.tolist(), part.tolist(), strict=True)])
        for label, row, part in zip(labels, counts, parts, strict=True)
    ]
    return {"labels": labels, "rows": rows}


def _misread(
    image: np.ndarray, labels: list[str], truth: int, measured: dict[str, np.ndarray], row: int
) -> dict[str, Any]:
    return {
        "number": row,
        "image": f"data:image/png;base64,{base64.b64encode(png(image)).decode()}",
        "is": labels[truth],
        "read": labels[measured["read"][row]],
        "probability": float(measured["probability"][row]),
    }
