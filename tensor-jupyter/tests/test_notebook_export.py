"""`lab notebook export`: the script does what the notebook does, under plain Python."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from typer.testing import CliRunner

from tensor_jupyter.cli import app

ROOT = Path(__file__).parents[1]
MNIST = ROOT / "notebook" / "MNIST" / "MnistNet.ipynb"


def lab(*words):
    return CliRunner().invoke(app, ["notebook", "export", *map(str, words)])


@pytest.fixture
def notebook(tmp_path):
    """notebook(*cells): a file of these cells, strings being code."""

    def write(*cells, **metadata):
        made = new_notebook(cells=[new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells])
        made.metadata.update(metadata)
        nbformat.write(made, tmp_path / "n.ipynb")
        return tmp_path / "n.ipynb"

    return write


@pytest.fixture
def run(tmp_path):
    """run(notebook): what its script prints on stdout, run in a folder of its own by a Python that warns of nothing."""

    def exported(path):
        done = lab(path, "--force")
        assert done.exit_code == 0, done.output
        environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-W", "error", path.with_suffix(".py")],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return exported


def test_code_stays_as_it_is_and_texts_become_comments(notebook, run):
    path = notebook(
        new_markdown_cell('# Title\n\nwith """ quotes'),
        "x = [\n  1,\n]",
        "",
        new_raw_cell("raw"),
        "print(x)  # shown\nx;",
    )
    assert run(path) == "[1]\n"
    assert path.with_suffix(".py").read_text() == (
        "# Written from n.ipynb by `lab notebook export`.\n\n"
        '# %% [markdown]\n# # Title\n#\n# with """ quotes\n\n'
        "# %%\nx = [\n  1,\n]\n\n"
        "# %% [raw]\n# raw\n\n"
        "# %%\nprint(x)  # shown\nx;\n"
    )


def test_magics_and_shell_escapes_do_what_they_do_in_the_notebook(notebook, run, tmp_path):
    path = notebook(
        "from __future__ import annotations\nx = 1",
        "%matplotlib inline\nif x:\n    %matplotlib inline\n%load_ext autoreload",
        "%time y = x + 1\nfiles = !ls *.ipynb\nprint(y, files)\n!echo from the shell: {y}",
        "%%capture\nz = y + 1",
        "%%bash\necho from bash",
        "def f():\n    %env COLOUR=green\n    return z\nprint(f())\nlen?",
    )
    output = run(path)
    assert "2 ['n.ipynb']\n" in output
    assert "from the shell: 2\n" in output
    assert "from bash\n" in output
    assert output.count("Return the number of items") == 1
    assert "3\n" in output
    assert not list(tmp_path.rglob("history.sqlite"))


def test_display_is_there_unless_the_notebook_has_its_own(notebook, run):
    assert run(notebook("display({'a': 1})", "display(2)")) == "{'a': 1}\n2\n"
    assert run(notebook("def display(x):\n    print('mine', x)", "display(2)")) == "mine 2\n"


@pytest.mark.parametrize(
    ("cells", "output"),
    [
        (["x = 1", "y = (\n1 +"], "Cell 2 of"),
        (["import asyncio\nawait asyncio.sleep(0)"], "line 2: 'await' outside function; a script has no event loop"),
        (["pip install x"], "Cell 1 of"),
        (["return 3"], "'return' outside function"),
        (["x = 1", "from __future__ import annotations"], "from __future__ imports must occur at the beginning"),
    ],
)
def test_code_that_would_not_run_is_reported_with_its_cell(notebook, cells, output):
    path = notebook(*cells)
    done = lab(path)
    assert done.exit_code == 1
    assert output in done.stderr
    assert "is not valid Python" in done.stderr
    assert not path.with_suffix(".py").exists()


def test_what_python_or_nbformat_would_have_otherwise_is_no_matter(notebook):
    path = notebook("print('\\d')")
    document = json.loads(path.read_text())
    del document["cells"][0]["id"]
    path.write_text(json.dumps(document))
    done = lab(path, "-o", "-")
    assert "print('\\d')" in done.stdout
    assert done.stderr == ""


def test_a_notebook_of_another_language_is_refused(notebook):
    done = lab(notebook(kernelspec={"name": "ir", "display_name": "R", "language": "R"}))
    assert "is written in R" in done.stderr


@pytest.mark.parametrize("content", [b'{"cells": [1', b'{"cells": 3}', b"[]", b"\xff\xfe\x00", b"", b'{"cells": [{}]}'])
def test_a_file_that_is_not_a_notebook_is_reported_in_one_line(tmp_path, content):
    broken = tmp_path / "broken.ipynb"
    broken.write_bytes(content)
    done = lab(broken)
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert "is not a notebook that can be read" in done.stderr
    assert lab(tmp_path / "none.ipynb").exit_code == 2


def test_nothing_is_overwritten_unasked_and_never_the_notebook(notebook, tmp_path):
    path = notebook("print(1)")
    script = path.with_suffix(".py")
    script.write_text("mine")
    done = lab(path)
    assert done.exit_code == 1
    assert "--force overwrites it" in done.stderr
    assert script.read_text() == "mine"

    assert lab(path, "-o", tmp_path / "other.py").exit_code == 0
    assert "print(1)" in (tmp_path / "other.py").read_text()
    assert lab(path, "--force").exit_code == 0
    assert "print(1)" in script.read_text()
    assert "is the notebook itself" in lab(path, "-o", path, "--force").stderr
    assert "print(1)" in lab(path, "-o", "-").stdout
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["n.ipynb", "n.py", "other.py"]
    assert "No such file or directory" in lab(path, "-o", tmp_path / "none" / "x.py").stderr


def test_an_interrupted_writing_leaves_the_older_script(notebook, monkeypatch):
    path = notebook("print(1)")
    path.with_suffix(".py").write_text("mine")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert lab(path, "--force").exit_code == 1
    assert path.with_suffix(".py").read_text() == "mine"
    assert len(list(path.parent.iterdir())) == 2


class _Served(http.server.BaseHTTPRequestHandler):
    """Answers an image as version 1 of any model would."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"results": [{"name": "image", "labels": [{"label": "2", "score": 0.998}]}]}).encode()
        self.send_response(200)
        self.send_header("X-Model-Version", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


def test_the_lesson_on_digits_runs_as_a_script(tmp_path):
    """Few epochs, scikit-learn's digits, and a gateway that has an answer to everything."""
    script = tmp_path / "digits.py"
    assert lab(MNIST, "-o", script).exit_code == 0
    text, changed = re.subn(r"epochs=\d+", "epochs=1", script.read_text())
    assert changed == 1
    script.write_text(text)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Served) as gateway:
        threading.Thread(target=gateway.serve_forever, args=(0.01,), daemon=True).start()
        folders = {f"LAB_{name.upper()}": str(tmp_path / name) for name in ("models", "logs", "data")}
        own = {"LAB_OFFLINE": "1", "LAB_REST_URL": f"http://127.0.0.1:{gateway.server_port}", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, script], env={**os.environ, **folders, **own}, capture_output=True, text=True, timeout=300
        )
        gateway.shutdown()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "mnist-net" / "1" / "saved_model.pb").is_file()
    assert "mnist-net version 1 is published" in done.stdout
    assert "version 1 answers" in done.stdout
