"""The lab's pages as a person uses them, in a real browser: each test clicks through one of them to an answer."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.running import ROOT, SAMPLES, Lab, wait_until

# The README's screenshots are taken by these tests: UPDATE_SCREENSHOTS=1 bin/test.sh tests/browser
UPDATE = "UPDATE_SCREENSHOTS" in os.environ
TRAINING_SECONDS = 240
TWO = [(0.3, 0.3), (0.4, 0.18), (0.58, 0.18), (0.68, 0.3), (0.62, 0.45), (0.45, 0.62), (0.3, 0.8), (0.72, 0.8)]
"""The stroke of a 2, for `draw`."""


def take_screenshot(page: Page, name: str, tmp_path: Path) -> None:
    path = (ROOT / "images" if UPDATE else tmp_path) / name
    page.screenshot(path=path, animations="disabled")
    assert path.stat().st_size > 10_000


def draw(page: Page, *strokes: list[tuple[float, float]]) -> None:
    """Draw strokes with the mouse; points are parts of the canvas's width and height."""
    box = page.locator("#canvas").bounding_box()
    assert box
    for (x, y), *rest in strokes:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.mouse.down()
        for x, y in rest:
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        page.mouse.up()


def test_a_drawn_digit_is_read(lab: Lab, page: Page, tmp_path: Path) -> None:
    page.goto(lab.url("REST"))
    expect(page.locator("#health")).to_contain_text("Serving")
    seven, one = [(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)], [(0.5, 0.15), (0.5, 0.85)]
    for tries, (label, stroke) in enumerate({"7": seven, "1": one, "2": TWO}.items(), start=1):
        if tries > 1:
            page.get_by_role("button", name="Clear").click()
        draw(page, stroke)
        expect(page.locator("#best")).to_have_text(label)
        expect(page.locator("#recent button")).to_have_count(tries)
    expect(page.locator("#bars li")).to_have_count(10)
    expect(page.locator("#facts")).to_contain_text("mnist-net version")
    take_screenshot(page, "page.png", tmp_path)


def test_a_chosen_image_is_read(lab: Lab, page: Page) -> None:
    page.goto(lab.url("REST"))
    sample = next(sample for sample in SAMPLES if sample.name.startswith("mnist_4_"))
    page.locator("#file").set_input_files(sample)
    expect(page.locator("#best")).to_have_text("4")


def test_rubbish_is_refused_in_words(lab: Lab, quiet_page: Page, tmp_path: Path) -> None:
    rubbish = tmp_path / "image.png"
    rubbish.write_bytes(b"rubbish")
    quiet_page.goto(lab.url("REST"))
    expect(quiet_page.locator("#model")).to_be_enabled()
    quiet_page.locator("#file").set_input_files(rubbish)
    expect(quiet_page.locator("#problem")).to_contain_text("not an image")
    expect(quiet_page.locator("#facts")).to_contain_text("415")


@pytest.mark.parametrize("width", [360, 768], ids=["phone", "tablet"])
def test_the_page_fits_small_screens(lab: Lab, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    page.goto(lab.url("REST"))
    expect(page.locator("#health")).to_contain_text("Serving")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_swagger_ui_sends_an_image(lab: Lab, page: Page, tmp_path: Path) -> None:
    page.goto(lab.url("REST", "/tf/"))
    operation = page.locator("#operations-digits-classify_digit")
    operation.locator(".opblock-summary-control").click()
    operation.locator("[data-param-name=model] select").select_option("mnist-net")
    operation.locator("input[type=file]").set_input_files(next(each for each in SAMPLES if "mnist_2_" in each.name))
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    expect(answer.locator(".response-col_status").last).to_contain_text("200")
    expect(answer).to_contain_text('"digit": 2')
    answer.scroll_into_view_if_needed()
    take_screenshot(page, "swagger.png", tmp_path)


def test_the_notebook_runs_in_jupyterlab_and_tensorboard_shows_it(lab: Lab, quiet_page: Page, tmp_path: Path) -> None:
    """Run All Cells, wait for the new version over REST, then find its run in TensorBoard."""
    if lab.engine == "local" and not (UPDATE or os.environ.get("LAB_LONG_TESTS")):
        pytest.skip("minutes, and the same on both engines; set LAB_LONG_TESTS=1")
    page = quiet_page
    token = (lab.home / "jupyter.token").read_text()
    before = served_versions(lab)
    page.goto(lab.url("JUPYTER", f"/lab/tree/notebook/MNIST/MnistNet.ipynb?token={token}"))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    (new,) = wait_until(lambda: served_versions(lab) - before, TRAINING_SECONDS, "the new version to be served")
    assert lab.post_image(f"/tf/models/mnist-net/versions/{new}/classify", SAMPLES[0]).status == 200
    expect(page.locator(".jp-OutputArea-output").last).to_contain_text(f"version {new} answers", timeout=60_000)
    take_screenshot(page, "notebook.png", tmp_path)

    page.goto(lab.url("BOARD", "/#timeseries"))
    expect(page.get_by_text(f"mnist-net/{new}/train").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("epoch_accuracy").first).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Settings").first.click()  # close what opens beside the curves
    page.wait_for_load_state("networkidle")
    take_screenshot(page, "tensorboard.png", tmp_path)


def served_versions(lab: Lab) -> set[int]:
    """Return the available versions: one that was trained on stand-in data does not become the default."""
    versions = lab.get("REST", "/tf/models/mnist-net").json()["versions"]
    return {entry["version"] for entry in versions if entry["state"] == "AVAILABLE"}
