"""What the documents show is run: every command of the README, in order, in a lab of its own."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab_engine.settings import read_env_file
from tests.docs.documents import DOCUMENTS, anchors
from tests.running import ROOT, Lab, new_lab

README = (ROOT / "README.md").read_text()
REST_API = (ROOT / "docs" / "rest-api.md").read_text()
DEFAULT_PORTS = {
    port: name.removeprefix("LAB_").removesuffix("_PORT")
    for name, port in read_env_file(ROOT / "versions.env").items()
    if name.endswith("_PORT")
}

# The clone is the one the tests run in, and bin/test.sh is what runs them.
NOT_RUN = re.compile(r"^(git clone .*|bin/test\.sh.*)$", re.MULTILINE)


def commands(document: str) -> list[tuple[str, str]]:
    """The shell blocks of a document, each with the JSON block that shows its answer, if one follows."""
    pattern = r"```sh\n(.*?)```(?:\n+```json\n(.*?)```)?"
    return [(NOT_RUN.sub("", block), answer) for block, answer in re.findall(pattern, document, re.DOTALL)]


def as_in(lab: Lab, text: str) -> str:
    """The text with the ports of the lab instead of the defaults."""
    return re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda found: str(lab.ports[DEFAULT_PORTS[found[0]]]), text)


def run(lab: Lab, block: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", as_in(lab, block)],
        env=lab.environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, f"{block}\nexit code {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def shape(document: Any) -> Any:
    """A document without its numbers and texts: keys, and how long lists are."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    return [shape(each) for each in document] if isinstance(document, list) else type(document).__name__


@pytest.mark.parametrize("where", ["local", "docker"])
def test_every_command_of_the_readme_works_and_answers_as_shown(where: str, request: pytest.FixtureRequest) -> None:
    if where == "docker":
        request.getfixturevalue("images")
    with new_lab(where) as lab:
        for block, shown in commands(README):
            output = run(lab, block)
            if shown:
                assert shape(json.loads(output)) == shape(json.loads(shown)), f"{block}\nanswers:\n{output}"


def test_every_command_of_the_rest_documentation_works_and_answers_as_shown(lab: Lab) -> None:
    for block, shown in commands(REST_API):
        output = run(lab, block)
        assert shape(json.loads(output)) == shape(json.loads(shown)), f"{block}\nanswers:\n{output}"


def test_the_python_example_of_the_rest_documentation_works(lab: Lab) -> None:
    (block,) = re.findall(r"```python\n(import requests\n.*?)```", REST_API, re.DOTALL)
    done = subprocess.run(
        [lab.home / "venv" / "bin" / "python", "-c", as_in(lab, block)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert re.fullmatch(r"2 \d+\n", done.stdout), done.stderr


def test_documents_name_ports_as_they_are() -> None:
    for document in DOCUMENTS:
        assert set(re.findall(r"127\.0\.0\.1:(\d+)", document.read_text())) <= set(DEFAULT_PORTS), document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_heading(document: Path) -> None:
    missing = []
    for path, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", document.read_text()):
        if "://" in path:
            continue
        target = document.parent / path if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            missing.append(f"{path}#{anchor}")
    assert not missing
