"""The notebooks in the state folder: shipped ones are copied there, and edited copies are kept."""

from dataclasses import replace
from pathlib import Path

from lab_engine import notebooks, settings


def test_a_new_release_replaces_only_unedited_notebooks(tmp_path: Path) -> None:
    shipped, lab = tmp_path / "shipped", settings.load({"LAB_HOME": str(tmp_path / "lab")})
    for name in ("A/edited.ipynb", "A/opened.ipynb", "B/removed.ipynb", "B/.ipynb_checkpoints/removed.ipynb"):
        (shipped / name).parent.mkdir(parents=True, exist_ok=True)
        (shipped / name).write_text(f"1 {name}")
    work = lab.notebooks
    assert notebooks.prepare(lab, shipped) == []
    assert (work / "A" / "edited.ipynb").read_text() == "1 A/edited.ipynb"
    assert not (work / "B" / ".ipynb_checkpoints").exists()

    (work / "A" / "edited.ipynb").write_text("mine")
    (work / "B" / "removed.ipynb").unlink()
    assert notebooks.prepare(lab, shipped) == []
    assert (work / "A" / "edited.ipynb").read_text() == "mine"
    assert (work / "B" / "removed.ipynb").read_text() == "1 B/removed.ipynb"

    later = replace(lab, versions={**lab.versions, "LAB_VERSION": "9.1"})
    for name in ("A/edited.ipynb", "A/opened.ipynb"):
        (shipped / name).write_text(f"2 {name}")
    (line,) = notebooks.prepare(later, shipped)
    assert line.endswith("edited.ipynb was edited: this release's is beside it, as edited-9.1.ipynb")
    assert (work / "A" / "edited.ipynb").read_text() == "mine"
    assert (work / "A" / "edited-9.1.ipynb").read_text() == "2 A/edited.ipynb"
    assert (work / "A" / "opened.ipynb").read_text() == "2 A/opened.ipynb"
    assert notebooks.prepare(later, shipped) == []
