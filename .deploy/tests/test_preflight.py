"""Preflight: what would fail later is found and named before anything is started."""

import shutil
from pathlib import Path

import pytest

from lab_engine import settings
from lab_engine.errors import EngineError
from lab_engine.local import preflight


def test_too_little_space_is_reported_in_gibibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=preflight.GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EngineError, match=r"has 1\.0 GiB free and 4\.0 GiB are needed"):
        preflight.check_folder(settings.load({"LAB_HOME": str(tmp_path)}), preflight.SPACE_FOR_ENVIRONMENT)
