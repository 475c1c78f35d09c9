"""The page in a lab with several models: a photograph, a blank sheet, texts, two models side by side.

The screenshots of docs/page.md are taken here: UPDATE_SCREENSHOTS=1 bin/test.sh tests/browser
"""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.test_pages import TWO, UPDATE, draw, take_screenshot
from tests.lab.executing import execute
from tests.running import Lab

pytestmark = [
    pytest.mark.skipif(not (UPDATE or os.environ.get("LAB_LONG_TESTS")), reason="minutes; set LAB_LONG_TESTS=1"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def models(lab: Lab) -> Lab:
    """The lab with a second classifier, of little training, and models of texts and places."""
    if lab.engine != "local":
        pytest.skip("the page is the same on both engines")
    train = ("train", "dense-net", "--network", "dnn", "--epochs", "1")
    lab.compose("exec", "tensor-jupyter", "python", "-m", "tensor_jupyter", *train)
    execute(lab, lab.notebooks / "ServeAnything" / "ServeAnything.ipynb")
    return lab


def test_a_photographed_digit_is_read(models: Lab, page: Page, tmp_path: Path) -> None:
    page.goto(models.url("REST"))
    page.locator("#file").set_input_files(jpeg("photograph.jpg", photograph()))
    expect(page.locator("#best")).to_have_text("2")
    expect(page.locator("#why")).to_contain_text("light-on-dark")
    take_screenshot(page, "page-photograph.png", tmp_path)


def test_a_blank_sheet_gets_a_hint(models: Lab, quiet_page: Page, tmp_path: Path) -> None:
    quiet_page.goto(models.url("REST"))
    quiet_page.locator("#file").set_input_files(jpeg("blank.jpg", Image.new("RGB", (400, 400), "#ebebeb")))
    expect(quiet_page.locator("#sure")).to_contain_text("Nothing is drawn")
    take_screenshot(quiet_page, "page-blank.png", tmp_path)


def test_a_model_of_texts_has_a_form(models: Lab, page: Page, tmp_path: Path) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(models.url("REST", "/?model=text-features"))
    page.locator("textarea").first.fill("the quick brown fox")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#answer")).to_contain_text("16")  # letters
    take_screenshot(page, "page-form.png", tmp_path)


def test_two_models_answer_side_by_side(models: Lab, page: Page, tmp_path: Path) -> None:
    page.goto(models.url("REST"))
    page.locator("#second-model").select_option("dense-net")
    draw(page, TWO)
    expect(page.locator("#best")).to_have_text("2")
    expect(page.locator("#second-by")).to_contain_text("dense-net version 1")
    take_screenshot(page, "page-compare.png", tmp_path)


def photograph() -> Image.Image:
    """A 2 in blue ink on paper with a shadow, noise and the blur of a camera."""
    side = 800
    paper = Image.new("RGB", (side, side), "#dbd6cb")
    points = [(side * x, side * y) for x, y in TWO]
    ImageDraw.Draw(paper).line(points, fill="#3c4680", width=44, joint="curve")
    light = np.linspace(0.7, 1.02, side)[None, :, None] * np.linspace(0.95, 1.0, side)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 4, (side, side, 1))
    pixels = np.asarray(paper.filter(ImageFilter.GaussianBlur(2))) * light + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def jpeg(name: str, image: Image.Image) -> FilePayload:
    file = io.BytesIO()
    image.save(file, "JPEG")
    return {"name": name, "mimeType": "image/jpeg", "buffer": file.getvalue()}
