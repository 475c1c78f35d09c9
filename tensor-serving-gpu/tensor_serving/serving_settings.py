"""`serving.json`: a model's own settings, under the names of TensorFlow Serving's ModelConfig.

    {
      "model_version_policy": {"latest": {"num_versions": 2}},
      "version_labels": {"stable": 7},
      "independent_rows": true
    }

Other policies are {"all": {}} and {"specific": {"versions": [5, 7]}}. `independent_rows`: requests may be batched,
split and joined; false forbids it whatever the versions declare. It is not a field of ModelConfig; this file is read by
the watcher and the embedded server, never by TensorFlow Serving.

A file with anything else is ignored as a whole, because using a part of it would serve something nobody configured. Its
schema is docs/serving.schema.json.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensor_serving.layout import NAME
from tensor_serving.policy import Policy
from tensor_serving.proto_scanner import open_regular

FILE = "serving.json"
_FORMER = "serving.conf"  # the same settings in protobuf's text form, used until 2026-11
_MAX_BYTES = 64 * 1024
_MAX_VERSION = 2**63 - 1


class SettingsError(ValueError):
    """The file cannot be used. The text has its name, what was found, and what was expected."""


@dataclass(frozen=True)
class ServingSettings:
    """What a model sets for itself: the version policy, version numbers by label, whether rows are independent."""

    policy: Policy = field(default_factory=Policy)
    labels: dict[str, int] = field(default_factory=dict)
    independent_rows: bool | None = None


def read(model: Path) -> ServingSettings:
    """Return the settings in a model's folder, or the defaults where there are none. Raises SettingsError."""
    try:
        return _settings(json.loads(_text(model / FILE), object_pairs_hook=_object))
    except FileNotFoundError:
        if (model / _FORMER).exists():
            raise SettingsError(f"{_FORMER} is ignored: it is now {FILE}, in JSON") from None
        return ServingSettings()
    except OSError as error:
        raise SettingsError(f"{FILE} is ignored: cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise SettingsError(f"{FILE} is ignored: it is nested too deeply") from error
    except ValueError as error:
        raise SettingsError(f"{FILE} is ignored: {error}") from error


def _settings(document: Any) -> ServingSettings:
    _check_fields(document, "the file", ("model_version_policy", "version_labels", "independent_rows"))
    independent = document.get("independent_rows")
    if not isinstance(independent, bool | None):
        raise ValueError(f"independent_rows is {_short(independent)}, expected true or false")
    labels = document.get("version_labels", {})
    if not isinstance(labels, dict):
        raise ValueError(f"version_labels is {_short(labels)}, expected an object of versions by label")
    for label, version in labels.items():
        if not NAME.fullmatch(label):
            raise ValueError(f"label {_short(label)} is not of the form {NAME.pattern}")
        _check_number(version, f"label {label}")
    policy = document.get("model_version_policy")
    return ServingSettings(Policy() if policy is None else _policy(policy), labels, independent)


def _policy(given: Any) -> Policy:
    _check_fields(given, "model_version_policy", ("latest", "all", "specific"))
    if len(given) != 1:
        raise ValueError(f"model_version_policy has {len(given)} fields, expected one of latest, all, specific")
    ((kind, inside),) = given.items()
    if kind == "latest":
        _check_fields(inside, kind, ("num_versions",))
        return Policy("latest", _check_number(inside.get("num_versions", 1), "num_versions"))
    if kind == "all":
        _check_fields(inside, kind, ())
        return Policy("all")
    _check_fields(inside, kind, ("versions",))
    versions = inside.get("versions")
    if not isinstance(versions, list) or not versions:
        raise ValueError(f"versions of specific is {_short(versions)}, expected a list of at least one version")
    return Policy("specific", versions=tuple(_check_number(version, "versions") for version in versions))


def _check_fields(given: Any, what: str, names: Collection[str]) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"{what} is {_short(given)}, expected an object")
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        raise ValueError(f"unknown field {_short(unknown)} in {what}, expected {' or '.join(names) or 'none'}")


def _check_number(number: Any, what: str) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= _MAX_VERSION:
        raise ValueError(f"{what} is {_short(number)}, expected a whole number from 1 to 2^63-1")
    return number


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{_short(name)} is given twice")
        found[name] = value
    return found


def _text(path: Path) -> str:
    with open_regular(path) as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
    return data.decode()
