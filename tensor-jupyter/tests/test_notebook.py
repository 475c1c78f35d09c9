"""The notebooks as they are committed: empty of outputs and of this machine, with code that belongs there and runs."""

import ast
import importlib
import json
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebook"
# What JupyterLab keeps in .ipynb_checkpoints is not committed.
NOTEBOOKS = sorted(path for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    found = nbformat.read(request.param, as_version=4)
    nbformat.validate(found)
    return found


def test_they_are_there():
    names = [path.stem for path in NOTEBOOKS if not path.name.startswith(("run-by", "renamed-by"))]
    assert names == ["Concept", "FashionNet", "MnistNet", "Pipeline", "ServeAnything", "TransferLearning"]


def test_it_is_committed_clean(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    text = json.dumps(notebook)
    assert not re.findall(r"[ '\"]/(?:\w+/)+|site-packages", text)


def test_its_imports_are_there(notebook):
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_its_model_can_be_renamed_in_one_place(notebook):
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for name in re.findall(r"^context = Context\('(.+)'\)", code, re.MULTILINE):
        assert code.count(f"'{name}'") == 1


def test_a_cell_holds_one_idea(notebook):
    for cell in notebook.cells:
        assert len(cell.source.splitlines()) <= 20
        assert max(map(len, cell.source.splitlines())) <= 120
