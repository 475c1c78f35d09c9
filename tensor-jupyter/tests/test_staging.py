"""Publishing is all or nothing, whatever happens meanwhile: other exporters, a kill, a number already taken."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.staging import YOUNG_SECONDS, publish, staging, sweep

PACKAGE_ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"


def made(models, text="model"):
    """A version in its staging area, as an exporter leaves it to `publish`."""
    folder = models / ".staging" / f"by-hand-{text}"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(text)
    return folder


def visible(models):
    return sorted(str(path.relative_to(models)) for path in models.glob("[!.]*/*"))


def start(program, *arguments):
    """A process that runs the program with this package on its path."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)}
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / program), *map(str, arguments)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_version_appears_whole_under_the_next_number(tmp_path):
    assert publish(made(tmp_path, "a"), tmp_path, "m") == tmp_path / "m" / "1"
    assert publish(made(tmp_path, "b"), tmp_path, "m", 7) == tmp_path / "m" / "7"
    assert publish(made(tmp_path, "c"), tmp_path, "m") == tmp_path / "m" / "8"
    assert (tmp_path / "m" / "7" / "saved_model.pb").read_text() == "b"
    assert list((tmp_path / ".staging").iterdir()) == []


def test_a_taken_number_gives_way_to_the_next_and_is_left_alone(tmp_path):
    publish(made(tmp_path, "a"), tmp_path, "m", 3)
    assert publish(made(tmp_path, "b"), tmp_path, "m", 3).name == "4"
    assert (tmp_path / "m" / "3" / "saved_model.pb").read_text() == "a"
    with pytest.raises(LabError, match="never changed"):
        publish(made(tmp_path, "c"), tmp_path, "m", 3, exact=True)
    assert visible(tmp_path) == ["m/3", "m/4"]


def test_a_file_in_the_place_of_a_version_is_left_alone(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "1").write_text("mine")
    assert publish(made(tmp_path), tmp_path, "m").name == "2"
    assert (tmp_path / "m" / "1").read_text() == "mine"


def test_another_user_may_read_what_is_published(tmp_path):
    folder = made(tmp_path)
    (folder / "saved_model.pb").chmod(0o600)
    folder.chmod(0o700)
    published = publish(folder, tmp_path, "m")
    assert published.stat().st_mode & 0o777 == 0o755
    assert (published / "saved_model.pb").stat().st_mode & 0o777 == 0o644


def test_exporters_at_once_get_numbers_of_their_own(tmp_path):
    exporters = [start("publish_twenty_versions.py", tmp_path, who) for who in "abc"]
    for exporter in exporters:
        exporter.stdin.write("go\n")
        exporter.stdin.flush()
    numbers = [int(word) for exporter in exporters for word in exporter.communicate(timeout=60)[0].split()]
    assert sorted(numbers) == list(range(1, 61))
    texts = {(tmp_path / "m" / str(number) / "saved_model.pb").read_text() for number in numbers}
    assert len(texts) == 60
    assert list((tmp_path / ".staging").iterdir()) == []


def make_old(area):
    long_ago = time.time() - 2 * YOUNG_SECONDS
    os.utime(area, (long_ago, long_ago))


def test_a_killed_exporter_leaves_nothing_visible_and_is_swept_by_the_next(tmp_path):
    exporter = start("stage_half_a_version.py", tmp_path)
    area = Path(exporter.stdout.readline().strip())
    make_old(area)
    sweep(area.parent)
    assert area.is_dir(), "an exporter that is alive must keep its area, however old"
    exporter.send_signal(signal.SIGKILL)
    exporter.communicate(timeout=30)
    assert visible(tmp_path) == []
    assert (area / "version" / "saved_model.pb").exists()
    with staging(tmp_path):
        assert not area.exists()


def test_only_old_areas_of_our_own_are_swept(tmp_path):
    root = tmp_path / ".staging"
    for name in ("export-young", "export-old", "another-users", "export-unlocked"):
        (root / name).mkdir(parents=True)
        if name != "export-unlocked":
            (root / name / "lock").touch()
        if name != "export-young":
            make_old(root / name)
    sweep(root)
    assert sorted(path.name for path in root.iterdir()) == ["another-users", "export-young"]


def test_an_error_inside_leaves_no_area(tmp_path):
    def fail():
        with staging(tmp_path) as folder:
            folder.mkdir()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((tmp_path / ".staging").iterdir()) == []


def test_what_is_published_in_a_groups_folder_is_the_groups_to_change(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    models.chmod(0o2775)  # as the volume in Docker
    before = os.umask(0o022)  # as of `docker exec`
    try:
        with staging(models) as folder:
            folder.mkdir()
            (folder / "saved_model.pb").write_text("model")
            version = publish(folder, models, "shared")
    finally:
        os.umask(before)
    for path in (models / ".staging", version.parent, version):
        assert path.stat().st_mode & 0o2070 == 0o2070, path
    assert (version / "saved_model.pb").stat().st_mode & 0o060 == 0o060
