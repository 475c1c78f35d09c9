"""Execute a notebook inside a lab's workbench, from the top, as *Run All Cells* does."""

import json
import os
from pathlib import Path
from typing import Any

from tests.running import Lab


def execute(lab: Lab, path: Path, changed: tuple[str, str] = ("", "")) -> list[dict[str, Any]]:
    """Execute a copy of the notebook beside it, and return its code cells with their outputs.

    changed: a text in the cells, and its replacement in the copy.
    """
    notebook = json.loads(path.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert any(changed[0] in "".join(cell["source"]) for cell in cells)
    for cell in cells:
        cell["source"] = "".join(cell["source"]).replace(*changed)
    copy = path.with_name(f"run-by-a-test-{os.getpid()}.ipynb")
    copy.write_text(json.dumps(notebook))
    copy.chmod(0o666)
    try:
        command = ["python", "-m", "jupyter", "execute", "--inplace", "--timeout=600", lab.notebook(copy)]
        lab.compose("exec", "tensor-jupyter", *command)
        return [cell for cell in json.loads(copy.read_text())["cells"] if cell["cell_type"] == "code"]
    finally:
        copy.unlink()


def printed(cells: list[dict[str, Any]]) -> str:
    """The text of all their outputs."""
    return "".join(_text_of(output) for cell in cells for output in cell["outputs"])


def _text_of(output: dict[str, Any]) -> str:
    text: str | list[str] = output.get("text") or output.get("data", {}).get("text/plain", "")
    return text if isinstance(text, str) else "".join(text)
