"""Drawing on the page: with the mouse, a finger, or the keyboard alone."""

from typing import Any

from gateway_kit import Front, image_file
from page_kit import BOW, TIMEOUT_MS, answer, draw, open_page, pick, press, text
from page_models import every_kind

SHIFTS = """() => {
  window.shifts = 0;
  const add = (list) => list.getEntries().forEach((entry) => (window.shifts += entry.value));
  new PerformanceObserver(add).observe({ type: "layout-shift" });
}"""


def test_a_drawing_is_answered_in_full_and_can_be_taken_back(page: Any, front: Front) -> None:
    open_page(page, front)
    assert text(page, "#health") == f"Serving {len(every_kind())} models"
    draw(page)
    page.wait_for_selector("#recent button")  # the whole stroke's answer; before it, those of its parts
    labels = page.locator("#bars .label").all_inner_texts()
    assert labels == list("0123456789")
    assert page.locator("#bars .best .number").all_inner_texts() == ["91.0 %"]
    assert text(page, "#bars .best .label") == text(page, "#best")
    page.locator("#why", has_text="Inverted: the border of the image is light").wait_for()
    assert page.locator("#saw").evaluate("canvas => [canvas.width, canvas.height]") == [28, 28]
    assert saw_ink(page)
    assert "mnist-net version 2" in text(page, "#facts")
    assert text(page, "#facts").count(" ms") == 3
    page.click("#undo")
    page.wait_for_selector("#answer[data-state=empty]")
    assert page.locator("#clear").is_disabled()
    assert not saw_ink(page)


def saw_ink(page: Any) -> bool:
    """Whether the image of what the model saw has anything light on it."""
    script = """canvas => {
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((level, index) => index % 4 < 3 && level > 128);
    }"""
    return bool(page.locator("#saw").evaluate(script))


def test_bars_move_while_the_pen_is_down_and_nothing_else_does(page: Any, front: Front) -> None:
    open_page(page, front)
    page.evaluate(SHIFTS)
    press(page)
    answer(page, "")
    assert page.locator("#recent button").count() == 0  # it is not finished
    page.mouse.up()
    page.wait_for_selector("#recent button")
    assert page.evaluate("window.shifts") < 0.01


def test_a_drawing_of_two_strokes_is_one_try(page: Any, front: Front) -> None:
    open_page(page, front)
    draw(page)
    page.wait_for_selector("#recent button")
    with page.expect_response("**/classify*"):
        draw(page, ((0.2, 0.5), (0.8, 0.5)))
    page.wait_for_selector("#answer:not([aria-busy])")
    assert page.locator("#recent button").count() == 1


def test_a_single_press_is_a_dot(page: Any, front: Front) -> None:
    open_page(page, front, "?model=glyph-net")
    draw(page, ((0.5, 0.5),))
    page.wait_for_selector("#recent button")
    assert saw_ink(page)


def test_a_finger_draws_on_a_phone(browser: Any, front: Front) -> None:
    phone = {"width": 360, "height": 740}
    context = browser.new_context(viewport=phone, has_touch=True, is_mobile=True)
    tab = context.new_page()
    tab.set_default_timeout(TIMEOUT_MS)
    open_page(tab, front)
    box = tab.locator("#canvas").bounding_box()
    hand = context.new_cdp_session(tab)
    kinds = ["touchStart", *["touchMove"] * (len(BOW) - 1)]
    for kind, (x, y) in zip(kinds, reversed(BOW), strict=True):  # upwards, as one scrolls down
        point = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    answer(tab, "")
    assert tab.evaluate("scrollY") == 0
    assert tab.locator("#best").bounding_box()["y"] < phone["height"]  # in sight below the paper
    context.close()


def test_the_keyboard_alone_is_enough(page: Any, front: Front) -> None:
    open_page(page, front)
    reach(page, "canvas")
    assert page.locator("#pen").is_visible()
    for key in ("Space", *["ArrowDown"] * 6, "Space"):
        page.keyboard.press(key)
    answer(page, "")
    page.wait_for_selector(".choice:enabled")
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    passed = reach(page, "copy")
    assert {"file", "undo", "clear"} <= set(passed)
    assert {"0", "9"} <= set(passed)  # the labels of feedback
    assert page.evaluate(ring) == "solid"
    page.keyboard.press("Control+z")
    page.wait_for_selector("#answer[data-state=empty]")
    page.locator("#model").focus()
    page.keyboard.type("animal")
    page.locator("#curl", has_text="animal-net").wait_for()


def reach(page: Any, wanted: str) -> list[str]:
    """Press Tab until the element has the focus; what had it on the way."""
    passed: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        passed.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        if passed[-1] == wanted:
            return passed
    raise AssertionError(f"{wanted} is not among {passed}")


def test_recent_tries_outlive_a_reload_and_can_be_seen_again(page: Any, front: Front) -> None:
    open_page(page, front)
    draw(page)
    page.wait_for_selector("#recent button")
    drawn = text(page, "#best")
    pick(page, ("two.png", image_file(60)))
    answer(page, "2")
    page.locator("#recent button").nth(1).wait_for()
    page.reload()
    page.locator("#recent button").nth(1).click()
    answer(page, drawn)
    assert page.locator("#undo").is_enabled()
    page.locator("#recent button").first.click()
    answer(page, "2")
    page.select_option("#model", "mnist-net/versions/1")
    page.locator("#facts", has_text="version 1").wait_for()
    answer(page, "2")
