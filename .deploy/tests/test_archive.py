"""Backups: what they keep, and what is refused before anything is replaced."""

import io
import tarfile
from pathlib import Path

import pytest

from lab_engine import archive, settings
from lab_engine.errors import EngineError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "lab"
    for path, text in (("models/m/1/saved_model.pb", "weights"), ("feedback/m/1.png", "digit"), ("config/a", "rules")):
        (made / path).parent.mkdir(parents=True)
        (made / path).write_text(text)
    (made / "models" / ".staging").mkdir()
    (made / "models" / "m" / "latest").symlink_to("1")
    return made


@pytest.fixture
def backup(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "a backup.tar.gz"
    archive.write(path, archive.about(settings.load({}), "local"), [archive.folders_command(home)])
    return path


def test_restore_brings_back_what_was_there_and_nothing_else(home: Path, backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    (home / "models" / "m" / "1" / "saved_model.pb").write_text("damaged")
    (home / "models" / "later").mkdir()
    described = archive.check(backup)
    archive.replace(backup, home, archive.FOLDERS)
    assert "release 0" in archive.restored(described)
    assert (home / "models" / "m" / "latest" / "saved_model.pb").read_text() == "weights"
    assert (home / "config" / "a").read_text() == "rules"
    assert sorted(path.name for path in (home / "models").iterdir()) == ["m"]
    assert not [path for path in home.iterdir() if path.name.startswith(".")]


def test_backup_never_replaces_a_file_and_leaves_none_behind(home: Path, backup: Path) -> None:
    with pytest.raises(EngineError, match="exists: name a new file"):
        archive.write(backup, {}, [])
    other = backup.with_name("other.tar.gz")
    with pytest.raises(EngineError, match="could not be read"):
        archive.write(other, {}, [["tar", "-C", str(home), "-cf", "-", "models", "nowhere"]])
    assert [path.name for path in backup.parent.iterdir() if path.is_file()] == [backup.name]


def test_damaged_backup_is_refused(backup: Path) -> None:
    whole = backup.read_bytes()
    for content in (b"", whole[:-4], whole[: len(whole) // 2], whole[:-6] + bytes(2) + whole[-4:], b"no archive"):
        backup.write_bytes(content)
        with pytest.raises(EngineError, match="not a whole backup"):
            archive.check(backup)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "venv/bin/python", "models/../../outside"])
def test_backup_with_a_foreign_name_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "made.tar.gz"
    with tarfile.open(path, "w:gz") as made:
        for each, content in (("lab-backup.json", b'{"format": 1}'), (name, b"x")):
            member = tarfile.TarInfo(each)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    with pytest.raises(EngineError, match="is not in one of models, logs"):
        archive.check(path)


def test_backup_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "made.tar.gz"
    archive.write(path, {"format": 2}, [])
    with pytest.raises(EngineError, match="its format is 2, and this release reads 1"):
        archive.check(path)
