"""serving.json: what is accepted, what is refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from tensor_serving.policy import Policy
from tensor_serving.serving_settings import ServingSettings, SettingsError, read

GOOD: list[tuple[dict[str, Any], ServingSettings]] = [
    ({}, ServingSettings()),
    ({"model_version_policy": {"all": {}}}, ServingSettings(Policy("all"))),
    ({"model_version_policy": {"latest": {"num_versions": 3}}}, ServingSettings(Policy("latest", 3))),
    ({"model_version_policy": {"latest": {}}}, ServingSettings(Policy("latest", 1))),
    (
        {"model_version_policy": {"specific": {"versions": [5, 7]}}},
        ServingSettings(Policy("specific", versions=(5, 7))),
    ),
    ({"version_labels": {"stable": 1, "canary": 2}}, ServingSettings(labels={"stable": 1, "canary": 2})),
    ({"independent_rows": False}, ServingSettings(independent_rows=False)),
    ({"independent_rows": None, "model_version_policy": None}, ServingSettings()),
]


@pytest.mark.parametrize(("document", "wanted"), GOOD)
def test_accepted(tmp_path: Path, document: dict[str, Any], wanted: ServingSettings) -> None:
    (tmp_path / "serving.json").write_text(json.dumps(document))
    assert read(tmp_path) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value: line 1 column 1"),
        ("[]", "the file is [], expected an object"),
        ('{"base_path": "/etc"}', 'unknown field "base_path" in the file, expected model_version_policy or'),
        ('{"independent_rows": 1}', "independent_rows is 1, expected true or false"),
        ('{"independent_rows": true,\n "independent_rows": true}', '"independent_rows" is given twice'),
        ('{"model_version_policy": {}}', "model_version_policy has 0 fields, expected one of latest, all, specific"),
        ('{"model_version_policy": {"all": {}, "latest": {}}}', "model_version_policy has 2 fields"),
        ('{"model_version_policy": {"newest": {}}}', 'unknown field "newest" in model_version_policy'),
        ('{"model_version_policy": {"all": {"a": 1}}}', 'unknown field "a" in all, expected none'),
        ('{"model_version_policy": {"latest": {"num_versions": 0}}}', "num_versions is 0, expected a whole number"),
        ('{"model_version_policy": {"latest": {"num_versions": true}}}', "num_versions is true"),
        ('{"model_version_policy": {"specific": {"versions": []}}}', "versions of specific is [], expected a list"),
        ('{"model_version_policy": {"specific": {}}}', "versions of specific is null"),
        ('{"model_version_policy": {"specific": {"versions": [1.5]}}}', "versions is 1.5"),
        ('{"version_labels": [1]}', "version_labels is [1], expected an object"),
        ('{"version_labels": {"a b": 1}}', 'label "a b" is not of the form'),
        ('{"version_labels": {"a": 99999999999999999999}}', "label a is 99999999999999999999"),
        ("[" * 60_000, "it is nested too deeply"),
        ("#" * 70_000, "it is larger than 65536 bytes"),
    ],
)
def test_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "serving.json").write_text(text)
    with pytest.raises(SettingsError) as refusal:
        read(tmp_path)
    assert str(refusal.value).startswith(f"serving.json is ignored: {reason}")


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "serving.json").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="can't decode byte 0xff"):
        read(tmp_path)
    (tmp_path / "serving.json").unlink()
    (tmp_path / "serving.json").mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        read(tmp_path)


def test_the_former_serving_conf_is_reported_not_read(tmp_path: Path) -> None:
    (tmp_path / "serving.conf").write_text('version_labels { key: "stable" value: 1 }')
    with pytest.raises(SettingsError, match=r"serving\.conf is ignored: it is now serving\.json, in JSON"):
        read(tmp_path)
    (tmp_path / "serving.json").write_text("{}")
    assert read(tmp_path) == ServingSettings()
