"""The table of images in tests/images: the gateway makes of each file the golden pixels, as the workbench does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tensor_rest.errors import BadRequestError
from tensor_rest.images.decode import prepare
from tensor_rest.images.preprocess import ImageInput

FOLDER = Path(__file__).resolve().parents[2] / "tests/images"
TABLE = json.loads((FOLDER / "table.json").read_text())


@pytest.mark.parametrize("case", TABLE, ids=[Path(case["file"]).stem for case in TABLE])
def test_an_image_becomes_its_golden_pixels(case: dict[str, Any]) -> None:
    data, wanted = (FOLDER / case["file"]).read_bytes(), ImageInput(**case["input"])
    if "error" in case:
        with pytest.raises(BadRequestError, match=f"(?i){case['error']}"):
            prepare(data, wanted, 1_000_000)
        return
    golden = np.asarray(Image.open(FOLDER / case["pixels"]))
    assert np.array_equal(prepare(data, wanted, 1_000_000), golden.reshape(*golden.shape[:2], wanted.channels))
