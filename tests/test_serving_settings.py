"""serving.json means the same to the workbench, which writes it, to the watcher, which reads it, and to its schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.serving_settings import FILE, ServingSettings
from tensor_jupyter.publishing.serving_settings import read as workbench_read
from tensor_serving.serving_settings import SettingsError
from tensor_serving.serving_settings import read as watcher_read
from tests.running import ROOT

SCHEMA = ROOT / "docs" / "serving.schema.json"

numbers = st.one_of(st.integers(-1, 3), st.sampled_from([2**63 - 1, 2**63, 1.5, True, None, "1"]))
kinds = st.dictionaries(
    st.sampled_from(["latest", "all", "specific", "newest"]),
    st.one_of(
        st.none(),
        st.dictionaries(st.sampled_from(["num_versions", "versions", "x"]), st.one_of(numbers, st.lists(numbers))),
    ),
    max_size=2,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "model_version_policy": st.one_of(st.none(), kinds),
        "version_labels": st.one_of(
            st.none(), st.dictionaries(st.sampled_from(["stable", "a.b", "A", "", "a" * 64]), numbers, max_size=2)
        ),
        "independent_rows": st.sampled_from([True, False, None, 0, "true"]),
        "base_path": st.just("/etc"),
    },
)


def accepted(read: Any, folder: Path) -> Any:
    try:
        return read(folder)
    except (LabError, SettingsError):
        return None


@given(documents)
@example({"model_version_policy": {"specific": {"versions": [5, 7]}}, "version_labels": {"stable": 7}})
@example({"model_version_policy": {"latest": {"num_versions": 2}}, "independent_rows": False})
@example({"model_version_policy": {"all": {}}})
@example({"model_version_policy": {"latest": {}, "all": {}}})
def test_both_sides_and_the_schema_agree(tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("model", numbered=True)
    (folder / FILE).write_text(json.dumps(document))
    workbench, watcher = accepted(workbench_read, folder), accepted(watcher_read, folder)
    valid = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid(document)
    assert (workbench is not None, watcher is not None) == (valid, valid)
    if workbench and watcher:
        assert (workbench.labels, workbench.independent_rows) == (watcher.labels, watcher.independent_rows)
        present = [1, 2, 3, 5, 7]
        labelled = {number for number in watcher.labels.values() if number in present}
        assert workbench.listed(present) == sorted({*watcher.policy.choose(present), *labelled})


def test_the_schema_in_the_documents_is_that_of_the_settings() -> None:
    wanted = json.dumps(ServingSettings.model_json_schema(), indent=2) + "\n"
    assert SCHEMA.read_text() == wanted, f"write to {SCHEMA.name}:\n{wanted}"
