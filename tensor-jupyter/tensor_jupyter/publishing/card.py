"""A model's card: the JSON document that the model contains and its signature `describe` returns."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCHEMA = 1

_GIT_SECONDS = 5


def card(
    name: str,
    labels: Sequence[str],
    image_input: Mapping[str, Any] | None,
    metrics: Mapping[str, Any],
    data_set: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Return the card: what clients must know about the model, and what people may want to know.

    image_input: the card's `input`, or None if the model does not take images. more: further fields, such as
    `threshold` and `companion`; those that are None or empty are left out.
    """
    document: dict[str, Any] = {"schema": SCHEMA, "name": name}
    if labels:
        document["labels"] = list(labels)
    if image_input:
        document["input"] = dict(image_input)
    document |= {"metrics": dict(metrics), "data_set": dict(data_set)}
    document |= {key: value for key, value in {**more, "git_commit": git_commit()}.items() if value not in (None, "")}
    return document | {
        "frameworks": {
            "tensorflow": _version("tensorflow-cpu", "tensorflow"),
            "keras": _version("keras"),
            "python": platform.python_version(),
        },
        "created": now(),
    }


def now() -> str:
    """The current time in UTC, in the card's format."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def git_commit(folder: Path | None = None) -> str:
    """The commit of `folder`, else of the working folder, with "-dirty" if files differ; else LAB_GIT_COMMIT.

    "" if neither is known. Never raises: the commit is optional in a card.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_GIT_SECONDS
        )
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        pass
    return os.environ.get("LAB_GIT_COMMIT", "").strip()


def _version(*packages: str) -> str:
    """The version of the first of these packages that is installed."""
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
