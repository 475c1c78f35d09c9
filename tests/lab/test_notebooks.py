"""Every notebook, run from the top in the started lab, as *Run All Cells* does; what its last cells saw was served."""

import os
from typing import Any

import pytest

from tests.lab.executing import execute, printed
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
SLOW = "Pipeline/Pipeline"  # test_pipeline executes it on a run that is done


@pytest.fixture(scope="module", params=NOTEBOOKS)
def executed(request: pytest.FixtureRequest, lab: Lab) -> tuple[Lab, str, list[dict[str, Any]]]:
    """The lab, the notebook's name, and its executed code cells."""
    if not os.environ.get("LAB_LONG_TESTS"):
        if lab.engine == "docker" and request.param != QUICK:
            pytest.skip("minutes, and the same on both engines; set LAB_LONG_TESTS=1")
        if request.param == SLOW:
            pytest.skip("minutes; set LAB_LONG_TESTS=1")
    return lab, request.param, execute(lab, lab.notebooks / f"{request.param}.ipynb")


def test_it_runs_with_the_expected_output_and_its_models_are_served(
    executed: tuple[Lab, str, list[dict[str, Any]]],
) -> None:
    lab, name, cells = executed
    assert all(cell["execution_count"] for cell in cells)
    models, wanted = NOTEBOOKS[name]
    output = printed(cells)
    assert not [words for words in wanted if not any(part in output for part in words.split("|"))], output
    for model in models:
        found = lab.get("REST", f"/tf/models/{model}").json()
        assert [version["state"] for version in found["versions"]] == ["AVAILABLE"]
    if name.startswith("Concept"):
        card = lab.get("REST", "/tf/models/mnist-concept").json()["default"]["card"]
        assert 0 < card["threshold"] < 0.1
        assert card["companion"] == "mnist-net"


def test_its_plots_are_images_and_no_cell_complains(executed: tuple[Lab, str, list[dict[str, Any]]]) -> None:
    _, _, cells = executed
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_the_list_is_whole() -> None:
    files = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.ipynb")}
    assert files == {*NOTEBOOKS, "MNIST/MnistNet"}
