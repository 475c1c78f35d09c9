"""Facts that stand in documents and in the source are the same, and the documents name files that exist.

Those in tables are made from the source: test_reference.py.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_engine.settings import read_env_file
from tensor_jupyter import ports as workbench_ports
from tensor_jupyter.pipeline.argo import ARGO_MODULE
from tensor_rest.app import create_app
from tensor_rest.images.formats import FORMATS_TEXT
from tensor_rest.settings import Settings as Gateway
from tensor_serving import cli as serving
from tensor_serving.embedded.metrics import Metrics
from tests.docs.documents import DOCUMENTS
from tests.running import ROOT

DEFAULTS = read_env_file(ROOT / "versions.env")
DEVELOPMENT = (ROOT / "docs" / "development.md").read_text()
NOT_SET_BY_USERS = {"LAB_VERSION"}  # the release itself
VIEWS_OF_FLASK = ("/static/", "/swaggerui/")


def text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text() for name in names)


def missing(names: Iterator[str] | list[str], *documents: str) -> list[str]:
    """The names that stand in none of the documents as a whole word."""
    found = text(*documents)
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", found)]


def test_every_default_of_the_lab_has_a_line() -> None:
    names = [name for name in DEFAULTS if name not in NOT_SET_BY_USERS]
    assert not missing(names, "docs/operations.md", "docs/images.md", "docs/development.md")


def test_every_metric_of_the_model_server_has_a_line() -> None:
    served = [family.name.rpartition(":")[2] for family in vars(Metrics()).values() if hasattr(family, "lines")]
    assert len(served) > 8
    assert not missing(served, "tensor-serving-gpu/README.md")


def test_every_route_has_a_line(tmp_path: Path) -> None:
    application = create_app(Gateway(run_dir=tmp_path))
    rules = {str(rule) for rule in application.url_map.iter_rules() if not str(rule).startswith(VIEWS_OF_FLASK)}
    # A version or label in a path is described once for all routes.
    paths = {re.sub(r"/(versions|labels)/<[^>]*>", "", rule) for rule in rules}
    paths = {re.sub(r"<(?:\w+:)?model>", "M", path) for path in paths}
    paths = {re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", path) for path in paths}
    assert len(paths) > 12
    documented = set(re.findall(r"/[\w/:.<>-]*", text("docs/rest-api.md")))
    assert not paths - documented


def test_every_command_of_the_model_server_has_a_line() -> None:
    (group,) = [action for action in serving._parser()._actions if action.dest == "command"]
    assert not missing([f"`{name}`" for name in group.choices or []], "tensor-serving-gpu/README.md")


def test_a_port_has_one_default() -> None:
    """Also in the workbench's copies, since its image has no versions.env; Compose has none."""
    copies = {name: str(port) for name, port in vars(workbench_ports).items() if name.isupper()}
    assert len(copies) > 5
    assert copies == {name: DEFAULTS[f"LAB_{name}_PORT"] for name in copies}
    assert not re.findall(r"\$\{LAB_\w+_PORT:-", text(".deploy/localhost-compose.yml"))


def test_addresses_of_services_have_the_default_ports() -> None:
    assert str(Gateway.model_fields["port"].default) == DEFAULTS["LAB_REST_PORT"]
    assert Gateway.model_fields["server"].default.endswith(f":{DEFAULTS['LAB_SERVING_PORT']}")
    assert f":{DEFAULTS['LAB_INVENTORY_PORT']}/" in str(Gateway.model_fields["inventory_url"].default)


def test_image_formats_are_those_of_the_decoder() -> None:
    assert FORMATS_TEXT in text("docs/rest-api.md")


def test_no_table_has_two_lines_for_one_thing() -> None:
    doubled = []
    for document in DOCUMENTS:
        for table in re.findall(r"(?:^\|.*\n)+", document.read_text(), re.MULTILINE):
            cells = [line.split(" | ")[0] for line in table.splitlines()]
            doubled += [f"{document.name}: {cell}" for cell, count in Counter(cells).items() if count > 1]
    assert not [each for each in doubled if not each.startswith("serving-speed.md: | ")]  # figures, by two more columns


def test_files_that_the_development_guide_names_exist() -> None:
    names = re.findall(
        r"`((?:tensor-\w+|\.deploy|\.ci|\.lab/venv|tests|bin|benchmarks|docs|versions\.env)[\w./-]*)`", DEVELOPMENT
    )
    assert len(names) > 60
    assert not [name for name in names if "NAME" not in name and not (ROOT / name).exists()]


def test_the_capacity_table_follows_from_the_figures() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "capacity.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


PRIVATE_WORDS = re.compile(r"\b(doors?|crew|baton|crowds?|twin|whoever|nobody|told|heard)\b", re.IGNORECASE)
"""Words that this project once used for the terms of docs/glossary.md; code spans keep the names of modules."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_words_of_the_glossary(document: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`|<!-- begin.*?<!-- end", "", document.read_text(), flags=re.DOTALL)
    assert not PRIVATE_WORDS.findall(prose)


def test_the_figures_of_the_cluster_are_those_of_the_last_run() -> None:
    subprocess.run([sys.executable, "-m", "tests.kubernetes.report", "--check"], cwd=ROOT, check=True)


def test_the_releases_that_tests_run_are_those_in_the_documents() -> None:
    modules = text("tests/kubernetes/components/go.mod")
    kubernetes = re.search(r"k8s\.io/kubernetes v(\d+\.\d+)\.", modules)
    assert kubernetes
    named = re.findall(r"Kubernetes (1\.\d+) (?:of two nodes|in a test)", text("README.md", "docs/kubernetes.md"))
    assert set(named) == {kubernetes[1]}
    argo = ARGO_MODULE.rpartition("@v")[2]
    assert f"Argo's controller {argo}" in text("docs/pipeline.md")
    assert f"`argo lint --offline` of {argo}" in text("docs/pipeline.md")
