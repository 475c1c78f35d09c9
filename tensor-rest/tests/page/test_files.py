"""Images that are picked, pasted and dropped, one and many."""

from base64 import b64encode
from typing import Any

import pytest
from gateway_kit import Front, image_file
from page_kit import answer, open_page, pick, text

HAND_OVER = """([kind, images]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  for (const [name, data] of images) transfer.items.add(new File([bytes(data)], name, { type: "image/png" }));
  const options = { bubbles: true, cancelable: true, clipboardData: transfer, dataTransfer: transfer };
  const made = kind === "paste" ? new ClipboardEvent(kind, options) : new DragEvent(kind, options);
  document.getElementById("paper").dispatchEvent(made);
}"""


def hand_over(page: Any, kind: str, *named: tuple[str, bytes]) -> None:
    page.evaluate(HAND_OVER, [kind, [[name, b64encode(data).decode()] for name, data in named]])


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_an_image_comes_over_the_clipboard_or_is_dropped(page: Any, front: Front, kind: str) -> None:
    open_page(page, front)
    if kind == "drop":
        hand_over(page, "dragover")
        assert page.locator("#paper.target").count() == 1
    hand_over(page, kind, ("two.png", image_file(60)))
    answer(page, "2")
    page.locator("#why", has_text="Not inverted").wait_for()  # drawn from a bitmap, a moment after the label
    assert page.locator("#paper.target").count() == 0


def test_a_picked_file_is_answered_and_a_refusal_is_shown_in_words(page: Any, front: Front) -> None:
    open_page(page, front)
    pick(page, ("two.png", image_file(60)))
    answer(page, "2")
    pick(page, ("no.png", b"no image"))
    page.wait_for_selector("#answer[data-state=problem]")
    assert "not an image" in text(page, "#problem")
    assert "415" in text(page, "#facts")
    assert "no.png cannot be shown" in text(page, "#hint")
    assert page.locator(".choice:enabled").count() == 0
    pick(page, ("two.png", image_file(60)))
    answer(page, "2")
    assert text(page, "#problem") == ""


def test_an_image_over_the_gateways_bounds_is_made_smaller(page: Any, front: Front) -> None:
    open_page(page, front)
    with page.expect_response("**/classify*") as came:
        pick(page, ("large.png", image_file(60, (2000, 1000))))
    size = came.value.json()["results"][0]["explain"]["size"]["image"]
    assert size == {"width": 1000, "height": 500}


def test_several_images_become_a_list_to_look_through(page: Any, front: Front) -> None:
    open_page(page, front)
    levels = range(0, 220, 10)
    named = [(f"{level}.png", image_file(level)) for level in levels]  # more than one request holds
    pick(page, *named, ("no.png", b"no image"))
    page.locator("#several-sum", has_text="23 images, 22 answered, 1 refused").wait_for()
    rows = page.locator("#several-list .row")
    assert rows.locator("strong").all_inner_texts() == [str(min(level, 255 - level) // 25) for level in levels]
    assert "not an image" in rows.last.inner_text()
    assert rows.last.is_disabled()
    assert rows.first.get_attribute("aria-current") is not None
    answer(page, "0")
    rows.nth(20).click()
    answer(page, "2")
    held: list[Any] = []
    page.route("**/labels/candidate/classify*", lambda route: held.append(route))
    page.select_option("#model", "mnist-net/labels/candidate")
    page.wait_for_function("!document.querySelector('#several-list .row:enabled')")  # none has an answer
    page.unroute("**/labels/candidate/classify*")
    page.select_option("#model", "mnist-net")
    with page.expect_response("**/labels/candidate/classify*"):
        page.select_option("#model", "mnist-net/labels/candidate")
    page.locator("#facts", has_text="version 1").wait_for()
    page.locator("#several-sum", has_text="22 answered").wait_for()
    page.click("#put-away")
    assert page.locator("#several").is_hidden()


def test_of_nothing_but_bad_images_each_gets_its_own_reason(page: Any, front: Front) -> None:
    open_page(page, front)
    pick(page, ("no.png", b"no image"), ("cut.png", image_file(60)[:50]))
    page.locator("#several-sum", has_text="2 images, 0 answered, 2 refused").wait_for()
    first, second = page.locator("#several-list .wrong").all_inner_texts()
    assert first != second
