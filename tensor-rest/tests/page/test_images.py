"""Where images come from besides the pen: samples, the camera, photographs; and sheets with nothing on them."""

import io
import json
from typing import Any

import numpy as np
import pytest
from gateway_kit import HTTP, Front, image_file
from page_kit import TIMEOUT_MS, answer, draw, open_page, pick, text
from PIL import Image, ImageDraw


def photograph() -> bytes:
    """A dark stroke on unevenly lit, grainy paper, larger than the gateway takes in the tests."""
    size = (1600, 1200)
    light = np.linspace(150, 230, size[0])[None, :] + np.random.default_rng(1).normal(0, 6, size[::-1])
    image = Image.fromarray(light.clip(0, 255).astype(np.uint8)).convert("RGB")
    ImageDraw.Draw(image).line([(800, 250), (780, 950)], (20, 30, 90), width=60)
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def test_a_photograph_is_made_smaller_and_answered(page: Any, front: Front) -> None:
    open_page(page, front, "?model=glyph-net")
    with page.expect_response("**/classify*") as came:
        pick(page, ("photo.jpg", photograph()))
    size = came.value.json()["results"][0]["explain"]["size"]["image"]
    assert size == {"width": 1000, "height": 750}
    answer(page, "")
    assert page.locator("#hint").is_hidden()


def test_a_sample_digit_is_put_on_the_paper_with_a_press(page: Any, front: Front) -> None:
    open_page(page, front)
    page.click("#gallery summary")
    samples = page.locator("#samples button")
    samples.nth(99).wait_for()
    assert samples.count() == 100
    loaded = "image => image.decode().then(() => image.naturalWidth)"
    assert samples.nth(0).locator("img").evaluate(loaded) == 28
    with page.expect_response("**/classify*") as came:
        page.get_by_role("button", name="Sample of a 4, mnist_4_0004.jpg").click()
    assert came.value.json()["results"][0]["name"] == "mnist_4_0004.jpg"
    page.wait_for_selector("#recent button")


def test_samples_are_reached_with_the_keyboard(page: Any, front: Front) -> None:
    open_page(page, front)
    page.locator("#gallery summary").focus()
    page.keyboard.press("Enter")
    page.locator("#samples button").nth(99).wait_for()
    page.keyboard.press("Tab")
    if page.evaluate("document.activeElement.id") == "samples":  # a list that scrolls may be a stop of its own
        page.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.title").startswith("mnist_1_")
    page.keyboard.press("Enter")
    page.wait_for_selector("#recent button")


@pytest.mark.parametrize("path", ["/samples/../settings.py", "/samples/README.md", "/samples/mnist_4_none.jpg"])
def test_only_samples_are_served_from_their_folder(front: Front, path: str) -> None:
    assert HTTP.get(front.url + path.replace("..", "%2e%2e")).status_code == 404


def test_a_blank_sheet_gets_a_hint_and_is_not_sent(page: Any, front: Front) -> None:
    open_page(page, front, "?model=glyph-net")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url) if "/classify" in request.url else None)
    pick(page, ("paper.png", image_file(230, (300, 300))))
    page.locator("#answer[data-state=hint] #sure", has_text="Nothing is drawn").wait_for()
    assert text(page, "#best") == ""
    assert page.locator(".choice:enabled").count() == 0
    assert requested == []
    page.click("#clear")
    page.locator("#answer[data-state=empty]").wait_for()
    draw(page)
    answer(page, "")


def test_what_an_image_lacks_is_a_hint_in_the_gateways_words(page: Any, front: Front) -> None:
    open_page(page, front)
    message = "Nothing is drawn in the image: it has no stroke."
    body = json.dumps({"message": message, "code": 400, "request_id": "1"})
    page.route("**/classify*", lambda route: route.fulfill(status=400, content_type="application/json", body=body))
    draw(page)
    page.locator("#answer[data-state=hint] #sure", has_text=message).wait_for()
    assert text(page, "#problem") == ""


def test_the_camera_is_seen_on_the_paper_and_photographs(browser: Any, front: Front) -> None:
    context = browser.new_context(permissions=["camera"])
    tab = context.new_page()
    tab.set_default_timeout(TIMEOUT_MS)
    open_page(tab, front)
    tab.click("#camera")
    tab.locator("#shoot:visible").wait_for()
    assert tab.locator("#hint").is_hidden()
    tab.click("#shoot")
    answer(tab, "")
    assert tab.locator("#video").is_hidden()
    assert tab.evaluate("document.getElementById('video').srcObject") is None
    tab.click("#camera")
    tab.locator("#shoot:visible").wait_for()
    tab.get_by_role("button", name="Close camera").click()
    tab.locator("#shoot").wait_for(state="hidden")
    context.close()


def test_without_permission_the_page_shows_it_and_goes_on(page: Any, front: Front) -> None:
    open_page(page, front)
    page.click("#camera")
    page.locator("#note", has_text="does not let this page use the camera. Choose an image instead.").wait_for()
    assert page.locator("#video").is_hidden()
    draw(page)
    answer(page, "")


def test_where_pages_get_no_camera_the_devices_own_is_opened(page: Any, front: Front) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    open_page(page, front)
    with page.expect_file_chooser() as chooser:
        page.click("#camera")
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files([{"name": "two.png", "mimeType": "image/png", "buffer": image_file(60)}])
    answer(page, "2")


def test_an_image_unlike_the_training_images_is_called_unfamiliar(page: Any, front: Front) -> None:
    """The answer keeps its scores, but its best label is not the headline; alone and among several images."""
    open_page(page, front, "?model=known-net")
    pick(page, ("dark.png", image_file(60)))
    answer(page, "2")
    assert text(page, "#facts").endswith("Concept score\n0.24, within the threshold of 0.39")
    pick(page, ("light.png", image_file(120)))
    answer(page, "Unfamiliar")
    assert text(page, "#sure").startswith("unlike the training images; closest 4 (")
    assert text(page, "#facts").endswith("Concept score\n0.47, over the threshold of 0.39")
    pick(page, ("dark.png", image_file(60)), ("light.png", image_file(120)))
    rows = page.locator("#several-list .said")
    rows.nth(1).get_by_text("Unfamiliar").wait_for()
    assert rows.nth(0).locator("strong").inner_text() == "2"
