"""Every notebook, run from the top in the started lab, as *Run All Cells* does; what its last cells saw was served."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import ROOT, Lab

FOLDER = ROOT / "tensor-jupyter" / "notebook"

# Each notebook, the models it publishes, and what its outputs must say; MnistNet is run by test_retrain.
NOTEBOOKS = {
    "Fashion/FashionNet": (["clothes"], ["drawn clothes instead of Fashion-MNIST", "gave scores of shape (20, 10)"]),
    "Concept/Concept": (["mnist-concept"], ["AUROC 0.99|AUROC 1.0", "a stranger"]),
    "TransferLearning/TransferLearning": (["road-signs"], ["a small network learns from scratch", "give way"]),
    "Pipeline/Pipeline": (
        ["pipeline-digits", "pipeline-digits-concept"],
        ["passed all 8 golden samples", "promoted", "'in_distribution': False", "the same: nothing would run"],
    ),
    "ServeAnything/ServeAnything": (
        ["text-features", "distance"],
        ["'letters': [12, 16, 0]", "/tf/models/text-features/predict", "txet", "876.|877.|878.", "float32 (4000,)"],
    ),
}

QUICK = "ServeAnything/ServeAnything"  # the one that does not train


@pytest.fixture(scope="module", params=NOTEBOOKS)
def executed(request: pytest.FixtureRequest, lab: Lab) -> Iterator[tuple[Lab, str, list[dict[str, Any]]]]:
    """The lab, the notebook's name, and its code cells after a copy beside it was executed inside the workbench."""
    if lab.engine == "docker" and request.param != QUICK and not os.environ.get("LAB_LONG_TESTS"):
        pytest.skip("minutes, and the same on both engines; set LAB_LONG_TESTS=1")
    path = lab.notebooks / f"{request.param}.ipynb"
    copy = path.with_name(f"run-by-a-test-{os.getpid()}.ipynb")
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o666)
    try:
        command = ["python", "-m", "jupyter", "execute", "--inplace", "--timeout=600", lab.notebook(copy)]
        lab.compose("exec", "tensor-jupyter", *command)
        cells = [cell for cell in json.loads(copy.read_text())["cells"] if cell["cell_type"] == "code"]
        yield lab, request.param, cells
    finally:
        copy.unlink()


def test_it_runs_with_the_expected_output_and_its_models_are_served(
    executed: tuple[Lab, str, list[dict[str, Any]]],
) -> None:
    lab, name, cells = executed
    assert all(cell["execution_count"] for cell in cells)
    models, wanted = NOTEBOOKS[name]
    output = "".join(text_of(output) for cell in cells for output in cell["outputs"])
    assert not [words for words in wanted if not any(part in output for part in words.split("|"))], output
    for model in models:
        found = lab.get("REST", f"/tf/models/{model}").json()
        assert [version["state"] for version in found["versions"]] == ["AVAILABLE"]
    if name.startswith("Concept"):
        card = lab.get("REST", "/tf/models/mnist-concept").json()["default"]["card"]
        assert 0 < card["threshold"] < 0.1
        assert card["companion"] == "mnist-net"


def test_its_plots_are_pictures_and_no_cell_complains(executed: tuple[Lab, str, list[dict[str, Any]]]) -> None:
    _, _, cells = executed
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]


def text_of(output: dict[str, Any]) -> str:
    text: str | list[str] = output.get("text") or output.get("data", {}).get("text/plain", "")
    return text if isinstance(text, str) else "".join(text)


def test_the_list_is_whole() -> None:
    files = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.ipynb")}
    assert files == {*NOTEBOOKS, "MNIST/MnistNet"}
