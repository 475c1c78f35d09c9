"""A kill at any moment, and a full disk: never a partial version to be seen, never one lost that was published.

The export runs in processes of its own. One of them has TensorFlow loaded once and forks an exporter for each moment.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE_ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"

PUBLISHED = {"_renamed-after", "check_version-before", "store_report-before"}
"""The moments after the rename."""


def run(program, *words):
    return subprocess.run(
        [sys.executable, str(PROGRAMS / program), *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "LAB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_kill_at_any_moment_leaves_a_whole_version_or_none(tmp_path):
    done = run("export_and_be_killed.py", tmp_path)
    results = dict(line.split() for line in done.stdout.splitlines())
    assert len(results) == 12, done.stderr
    assert set(results.values()) == {"True"}, done.stderr
    for moment in results:
        versions = list((tmp_path / moment / "models").glob("[!.]*/[!.]*"))
        assert [path.name for path in versions] == (["1"] if moment in PUBLISHED else []), moment
        for path in versions:
            held = {found.name for found in path.rglob("*") if found.is_file()}
            assert held >= {"saved_model.pb", "variables.index", "tf_serving_warmup_requests"}, moment


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
    done = run("export_wide_model.py", small_disk)
    assert "error: The disk of " in done.stdout, done.stdout + done.stderr
    assert nothing_is_left(small_disk)


def test_a_failed_write_is_reported_and_leaves_nothing(tmp_path):
    """Staged: no file may grow beyond 1 MB, so the variables cannot be written."""
    done = run("export_wide_model.py", tmp_path, 2**20)
    assert "error: " in done.stdout, done.stdout + done.stderr
    assert nothing_is_left(tmp_path)


def test_a_torn_line_in_the_log_is_passed_over(tmp_path):
    from tensor_jupyter.publishing.registry import Registry

    (tmp_path / "m" / ".reports").mkdir(parents=True)
    whole = json.dumps({"did": "label", "version": 1})
    (tmp_path / "m" / ".reports" / "log.jsonl").write_text(f"{whole}\n{whole[:9]}")
    assert Registry(tmp_path, "m").log() == [{"did": "label", "version": 1}]
