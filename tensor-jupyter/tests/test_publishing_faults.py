"""A kill at any moment, and a full disk: never a partial version to be seen, never one lost that was published.

The export runs in processes of its own. One of them has TensorFlow loaded once and forks an exporter for each moment.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE_ROOT = Path(__file__).parents[1]

EXPORTER = """
import os, signal, sys
from pathlib import Path
import keras, numpy as np
from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset, Pictures
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing import export as exporting, release_gate, registry, staging
from tensor_jupyter.settings import Settings

def export(root, width=2):
    images = keras.Input((2, 2, 1), dtype="uint8")
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Dense(width)(keras.layers.Flatten()(images))))
    images = Pictures(np.zeros((9, 2, 2, 1), np.uint8), np.zeros(9, np.int64))
    context = Context("m", settings=Settings(models=root / "models", logs=root / "logs"))
    return exporting.export(model, context, Dataset("d", ("a", "b"), images, images, "", ""), metrics={})
"""

KILLED = (
    EXPORTER
    + """
def kill_at(module, name, after):
    real = getattr(module, name)
    def deadly(*words, **more):
        if after:
            real(*words, **more)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(module, name, deadly)

def no_check(folder, tolerance):
    return True

moments = [
    (exporting, "write", False), (exporting, "write", True),
    (exporting, "write_golden_samples", False), (exporting, "write_golden_samples", True),
    (exporting, "check", False),
    (staging, "_make_readable", True), (staging, "_sync", True),
    (staging, "_renamed", False), (staging, "_renamed", True), (staging, "_sync_folder", True),
    (release_gate, "check_version", False), (registry.Registry, "store_report", False),
]
for module, name, after in moments:
    root = Path(sys.argv[1]) / f"{name}-{'after' if after else 'before'}"
    if not os.fork():
        exporting.check = no_check  # it is a process of its own, and would take seconds each time
        kill_at(module, name, after)
        export(root)
        os._exit(0)
    status = os.wait()[1]
    print(root.name, os.WTERMSIG(status) == signal.SIGKILL)
"""
)

PUBLISHED = {"_renamed-after", "check_version-before", "store_report-before"}
"""The moments after the rename."""


def run(script, *words, **more):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "LAB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        **more,
    )


def test_a_kill_at_any_moment_leaves_a_whole_version_or_none(tmp_path):
    done = run(KILLED, tmp_path)
    results = dict(line.split() for line in done.stdout.splitlines())
    assert len(results) == 12, done.stderr
    assert set(results.values()) == {"True"}, done.stderr
    for moment in results:
        versions = list((tmp_path / moment / "models").glob("[!.]*/[!.]*"))
        assert [path.name for path in versions] == (["1"] if moment in PUBLISHED else []), moment
        for path in versions:
            held = {found.name for found in path.rglob("*") if found.is_file()}
            assert held >= {"saved_model.pb", "variables.index", "tf_serving_warmup_requests"}, moment


FULL = (
    EXPORTER
    + """
root = Path(sys.argv[1])
try:
    print(export(root, width=300_000))
except LabError as error:
    print("error:", error)
"""
)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 2 MB. Needs root, and a kernel that lets it mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def nothing_is_left(root):
    models = root / "models"
    return not [*models.glob("[!.]*/*"), *(models / ".staging").iterdir()]


def test_a_full_disk_is_reported_and_leaves_nothing(small_disk):
    done = run(FULL, small_disk)
    assert "error: The disk of " in done.stdout, done.stdout + done.stderr
    assert nothing_is_left(small_disk)


def test_a_failed_write_is_reported_and_leaves_nothing(tmp_path):
    """Staged: no file may grow beyond 1 MB, so the variables cannot be written."""

    def little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    done = run(FULL, tmp_path, preexec_fn=little)
    assert "error: " in done.stdout, done.stdout + done.stderr
    assert nothing_is_left(tmp_path)


def test_a_torn_line_in_the_log_is_passed_over(tmp_path):
    from tensor_jupyter.publishing.registry import Registry

    (tmp_path / "m" / ".reports").mkdir(parents=True)
    whole = json.dumps({"did": "label", "version": 1})
    (tmp_path / "m" / ".reports" / "log.jsonl").write_text(f"{whole}\n{whole[:9]}")
    assert Registry(tmp_path, "m").log() == [{"did": "label", "version": 1}]
