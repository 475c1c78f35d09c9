"""House rules that a reader cannot see at a glance: sizes, and words that do not belong into the repository."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.running import ROOT

MAX_MODULE_LINES = 300  # lines
MAX_FUNCTION_LINES = 45


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


@pytest.mark.parametrize("path", tracked("*.py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_readable(path: Path) -> None:
    if path.name.endswith("_pb2.py"):
        pytest.skip("generated")
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno
        and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert not long


def test_every_module_has_a_docstring() -> None:
    silent = [
        str(path) for path in tracked("*.py") if path.read_text() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not [path for path in silent if not path.endswith("_pb2.py")]


def test_no_work_is_left_for_later_and_no_machine_is_named() -> None:
    words = re.compile("TO" + "DO|FIX" + "ME|/wo" + "rk/")
    sources = tracked("*.py", "*.sh", "*.md", "*.ipynb", "*.js", "*.html", "*.css", "bin/lab", ".ci/*")
    found = [f"{path}: {words.findall(path.read_text())}" for path in sources if words.search(path.read_text())]
    assert not found


def test_scripts_are_strict_and_executable() -> None:
    for path in tracked("bin/*", ".ci/*"):
        text = path.read_text()
        if path.name != "common.sh":
            assert "set -euo pipefail" in text
            assert path.stat().st_mode & 0o111, f"{path} has no run bit"
