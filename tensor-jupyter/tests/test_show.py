"""Pictures in a notebook."""

import numpy as np
import pytest

from tensor_jupyter.show import contact_sheet


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (3, 1), (10, 1), (11, 2)])
def test_a_sheet_has_as_many_rows_as_its_pictures_need_and_bears_none(count: int, rows: int) -> None:
    figure = contact_sheet(np.zeros((count, 28, 28, 1), np.uint8), range(count))
    assert len(figure.axes) == 10 * rows
    assert sum(bool(axis.images) for axis in figure.axes) == count
