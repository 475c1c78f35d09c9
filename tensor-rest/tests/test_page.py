"""The page and Swagger UI in a real browser, over the real fronts and a toy model server."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_kit import Front, picture, start_front
from toy_model_server import Model, ModelServer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is for developers")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
QUIET = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def toy() -> Iterator[ModelServer]:
    server = ModelServer(mnist_net=Model()).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def front(toy: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    kind = "nginx" if shutil.which("nginx", path="/usr/sbin:/usr/bin") else "uwsgi"
    running = start_front(kind, tmp_path_factory.mktemp("page") / "run", toy.address)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-sync", *QUIET])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, front: Front) -> Iterator[Any]:
    """A fresh page; fails if anything was asked of another host or a policy or script complained."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda line: complaints.append(line.text) if "Security Policy" in line.text else None)
    tab.on("request", lambda request: None if _own(request.url, front) else complaints.append(request.url))
    yield tab
    context.close()
    assert complaints == []


def _own(url: str, front: Front) -> bool:
    return url.startswith((front.url, "data:", "blob:"))


def draw(page: Any) -> None:
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ((0.4, 0.2), (0.6, 0.5), (0.4, 0.8))]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def open_page(page: Any, front: Front) -> None:
    page.goto(front.url)
    page.wait_for_selector("#model:enabled")


def test_a_drawing_is_answered_and_can_be_taken_back(page: Any, front: Front) -> None:
    open_page(page, front)
    assert page.locator("#health").inner_text().startswith("Serving 1 model")
    draw(page)
    page.wait_for_selector("#answer[data-state=answer]")
    assert page.locator("#bars li").count() == 10
    assert page.locator("#bars li").first.inner_text().split()[1:] == ["91.0", "%"]
    assert "mnist-net version 1" in page.locator("#facts").inner_text()
    assert page.locator("#recent button").count() == 1
    page.click("#undo")
    page.wait_for_selector("#answer[data-state=empty]", state="attached")
    assert page.locator("#clear").is_disabled()


def test_a_chosen_picture_is_sent_as_it_is_and_a_refusal_is_shown(page: Any, front: Front) -> None:
    open_page(page, front)
    choose = page.locator("#file").set_input_files
    choose(files=[{"name": "two.png", "mimeType": "image/png", "buffer": picture(60)}])
    page.wait_for_selector("#answer[data-state=answer]")
    assert page.locator("#lead strong").inner_text() == "2"
    choose(files=[{"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"}])
    page.wait_for_selector("#answer[data-state=problem]")
    assert "not a picture" in page.locator("#problem").inner_text()
    assert "no.png cannot be shown" in page.locator("#hint").inner_text()


def test_a_new_model_and_a_restart_of_serving_show_without_a_reload(page: Any, front: Front, toy: ModelServer) -> None:
    open_page(page, front)
    toy.stop()
    try:
        page.wait_for_selector("#health[data-state=bad]")
        draw(page)
        page.wait_for_selector("#answer[data-state=problem]")
        toy.models["mnist-net"].versions.append(2)
    finally:
        toy.start()
    page.wait_for_selector("#answer[data-state=answer]")
    assert "version 2" in page.locator("#facts").inner_text()
    page.wait_for_selector("#served .chip >> text=version 2")


def test_the_page_works_by_keyboard_in_dark(browser: Any, front: Front) -> None:
    context = browser.new_context(color_scheme="dark")
    tab = context.new_page()
    open_page(tab, front)
    reached = set()
    for _ in range(12):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"model", "file", "copy", "REST API"} <= reached
    draw(tab)
    tab.wait_for_selector("#answer[data-state=answer]")
    tab.keyboard.press("Control+z")
    tab.wait_for_selector("#answer[data-state=empty]")
    context.close()


def test_the_upload_form_of_swagger_ui_works(page: Any, front: Front, tmp_path: Path) -> None:
    (tmp_path / "two.png").write_bytes(picture(60))
    page.goto(f"{front.url}/tf/")
    page.click("#operations-lab-classify_digit .opblock-summary")
    form = page.locator("#operations-lab-classify_digit")
    form.locator("input[placeholder=model]").fill("mnist-net")
    form.locator("input[type=file]").set_input_files(tmp_path / "two.png")
    form.locator(".execute").click()
    form.locator(".live-responses-table .response-col_status").first.wait_for()
    assert '"digit": 2' in form.locator(".live-responses-table").inner_text()
