"""The table of images in tests/images: the workbench makes of each file the golden pixels, as the gateway does."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tensor_jupyter.data import ImageSpec, image_files

FOLDER = Path(__file__).resolve().parents[2] / "tests/images"
TABLE = json.loads((FOLDER / "table.json").read_text())


@pytest.mark.parametrize("case", TABLE, ids=[Path(case["file"]).stem for case in TABLE])
def test_an_image_becomes_its_golden_pixels(case):
    content, wanted = (FOLDER / case["file"]).read_bytes(), ImageSpec(**case["input"])
    if "error" in case:
        with pytest.raises(image_files.UnreadableError, match=case["error"]):
            image_files.read(content, wanted)
        return
    golden = np.asarray(Image.open(FOLDER / case["pixels"]))
    assert np.array_equal(image_files.read(content, wanted), golden.reshape(*golden.shape[:2], wanted.channels))


@pytest.mark.parametrize("module", ["border", "components", "flatten", "ink"])
def test_the_shared_modules_are_the_gateways(module):
    """Both packages keep a copy, since neither may import the other; only the names of the packages differ."""
    ours = (Path(image_files.__file__).parent / "images" / f"{module}.py").read_text()
    theirs = (FOLDER.parents[1] / f"tensor-rest/tensor_rest/images/{module}.py").read_text()
    assert ours == theirs.replace("tensor_rest.images", "tensor_jupyter.data.images")
