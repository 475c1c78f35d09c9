"""Images and curves in a notebook."""

import dataclasses

import numpy as np
import pytest
from training_kit import bars

from tensor_jupyter import show
from tensor_jupyter.show import contact_sheet


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (3, 1), (10, 1), (11, 2)])
def test_a_sheet_has_as_many_rows_as_its_images_need_and_bears_none(count: int, rows: int) -> None:
    figure = contact_sheet(np.zeros((count, 28, 28, 1), np.uint8), range(count))
    assert len(figure.axes) == 10 * rows
    assert sum(bool(axis.images) for axis in figure.axes) == count


def test_plots_have_titles():
    curves = show.lines({"learned from": [0.1, 0.5]}, name="epoch", title="accuracy").axes[0]
    assert curves.get_legend_handles_labels()[1] == ["learned from"]
    assert (curves.get_xlabel(), curves.get_title()) == ("epoch", "accuracy")

    counts = show.confusion(["a", "b"], np.array([0, 0, 1]), np.array([0, 1, 1])).axes[0]
    assert sorted((text.get_position(), text.get_text()) for text in counts.texts) == [
        ((0, 0), "1"),
        ((1, 0), "1"),
        ((1, 1), "1"),
    ]

    errors = show.separation({"known": np.array([0.0, 0.01]), "foreign": np.array([0.3])}, 0.1).axes[0]
    assert errors.get_xscale() == "log"
    assert "threshold 0.1000" in errors.get_legend_handles_labels()[1]

    scores = show.bars({"dark": 0.75, "light": 0.25}).axes[0]
    assert [text.get_text() for text in scores.get_yticklabels()] == ["dark", "light"]


def test_a_stand_in_is_framed_and_named():
    data = bars()
    assert repr(show.Source(data)) == "bars"
    assert "border" not in show.Source(data)._repr_html_()
    stand_in = dataclasses.replace(data, stand_in_for="mnist", message="Offline <data>")
    assert repr(show.Source(stand_in)) == "STAND-IN DATA, not mnist. Offline <data>"
    assert "border" in show.Source(stand_in)._repr_html_()
    assert "&lt;data&gt;" in show.Source(stand_in)._repr_html_()


def test_figures_are_closed_so_that_they_are_shown_once():
    show.lines({"x": [1, 2]})
    assert show.pyplot.get_fignums() == []
