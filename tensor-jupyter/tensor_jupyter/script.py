"""Convert a notebook to a Python script that does the same under plain `python`.

Cells are separated by `# %%`, which editors recognise; markdown becomes comments. Magics and shell escapes (`%time`,
`!ls`) become IPython's calls for them; these run in an IPython shell that is created at their first use.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensor_jupyter.errors import LabError

_MAX_BYTES = 100 * 2**20  # a notebook with large outputs, which are left out
_SHELL = """\
# The notebook's magics and shell escapes, outside of a notebook.
def get_ipython():
    import sys

    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config({"HistoryManager": {"enabled": False}})
    return InteractiveShell.instance(config=config, user_module=sys.modules[__name__], user_ns=globals())
"""
_DISPLAY = "from IPython.display import display\n"


def script(notebook: Path) -> str:
    """Return a notebook as a script. Raises LabError if it is not a Python notebook, or would not run as a script."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as for an invalid escape sequence: notebook and script run with it
        return _script(notebook)


def _script(notebook: Path) -> str:
    cells = [(cell.cell_type, _source(cell, f"Cell {number} of {notebook}")) for number, cell in _cells(notebook)]
    trees = [ast.parse(source) for kind, source in cells if kind == "code"]
    # Each stands right before its first use: `from __future__` in the first cell has to stay the first statement.
    added = {"get_ipython": _SHELL, "display": _DISPLAY}
    if "display" in set().union(*map(_defined, trees)):
        del added["display"]
    parts = [f"# Written from {notebook.name} by `lab notebook export`.\n"]
    for kind, source in cells:
        if kind != "code":
            parts.append(f"# %% [{kind}]\n" + "".join(f"{f'# {line}'.rstrip()}\n" for line in source.splitlines()))
            continue
        parts += [added.pop(name) for name in sorted(_used_names(source) & added.keys())]
        parts.append(f"# %%\n{source}\n")
    text = "\n".join(parts)
    _check(text, f"The script of {notebook}")
    return text


def _cells(notebook: Path) -> Iterator[tuple[int, Any]]:
    """The cells that are not empty, with their number from 1."""
    return ((number, cell) for number, cell in enumerate(_read(notebook).cells, 1) if cell.source.strip())


def _read(notebook: Path) -> Any:
    import nbformat

    if notebook.stat().st_size > _MAX_BYTES:
        raise LabError(f"{notebook} has more than {_MAX_BYTES >> 20} MiB: clear its outputs first.")
    try:
        document = nbformat.read(str(notebook), as_version=4)
        nbformat.validate(document)
    except (ValueError, LookupError, TypeError, AttributeError, nbformat.ValidationError) as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise LabError(
            f"{notebook} is not a notebook that can be read ({first}): open and save it in JupyterLab."
        ) from error
    metadata = document.metadata
    language = metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name", "python")
    if str(language).lower() not in ("python", "python3", "ipython"):
        raise LabError(f"{notebook} is written in {language}; only Python becomes a script here.")
    return document


def _source(cell: Any, where: str) -> str:
    """The cell's text, code as plain Python. Raises LabError naming cell and line."""
    if cell.cell_type != "code":
        return str(cell.source)
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        code = TransformerManager().transform_cell(cell.source)
    except SyntaxError as error:
        raise LabError(f"{where} is not valid Python ({error.msg}).") from error
    _check(code, where)
    # %matplotlib selects where a notebook shows its figures; a script uses matplotlib's default.
    return re.sub(r"get_ipython\(\)\.run_line_magic\('matplotlib', '(.*)'\)", r"pass  # %matplotlib \1", code).rstrip()


def _check(code: str, where: str) -> None:
    try:
        compile(code, where, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        hint = "; a script has no event loop, asyncio.run makes one" if "await" in str(error) else ""
        raise LabError(f"{where} is not valid Python ({line}{getattr(error, 'msg', error)}{hint}).") from error


def _used_names(code: str) -> set[str]:
    nodes = ast.walk(ast.parse(code))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _defined(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found
