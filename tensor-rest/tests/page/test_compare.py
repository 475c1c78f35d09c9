"""Two models, or two versions, side by side; candidates, and folders that are not served."""

from typing import Any

import pytest
from gateway_kit import Front, image_file
from page_kit import draw, open_page, pick, run, text


def second(page: Any, label: str) -> None:
    page.locator("#second[data-state=answer] #second-best", has_text=label).wait_for()


def test_two_models_answer_the_same_image_side_by_side(page: Any, front: Front) -> None:
    open_page(page, front)
    page.select_option("#second-model", "float-net")
    assert text(page, "#first-title") == "mnist-net"
    assert text(page, "#second-title") == "float-net"
    pick(page, ("two.png", image_file(60)))
    page.locator("#answer[data-state=answer] #best", has_text="2").wait_for()
    second(page, "2")
    assert text(page, "#second-sure") == "91.0 % sure"
    assert "float-net version 1" in text(page, "#second-by")
    assert page.locator("#second-bars li").count() == 10
    left, right = (page.locator(name).bounding_box() for name in ("#bars", "#second-bars"))
    assert left["x"] + left["width"] <= right["x"]
    pick(page, ("bright.png", image_file(5)))
    second(page, "0")
    page.select_option("#second-model", "doubt-net")
    second(page, "Not sure")
    page.select_option("#second-model", "")
    page.locator("#second").wait_for(state="hidden")


def test_a_candidate_is_named_and_compared_with_a_press(page: Any, front: Front) -> None:
    open_page(page, front)
    page.locator("#candidate", has_text="Version 1 is a candidate: it is served, but it is not the default").wait_for()
    draw(page)
    page.wait_for_selector("#recent button")
    page.click("#compare-candidate")
    page.locator("#second-by", has_text="mnist-net version 1 · candidate").wait_for()
    assert "mnist-net version 2 · stable" in text(page, "#facts")
    assert page.locator("#compare-candidate").is_hidden()
    page.select_option("#model", "float-net")
    page.locator("#candidate").wait_for(state="hidden")


def test_only_models_of_the_same_inputs_are_offered_to_compare(page: Any, front: Front) -> None:
    open_page(page, front, "?model=text-net")
    offered = page.locator("#second-model option").evaluate_all("all => all.map(({value}) => value)")
    assert offered == ["", "broken-net"]
    run(page, text="abc")
    page.locator("#outputs", has_text="ABC").wait_for()
    page.select_option("#second-model", "broken-net")
    page.locator("#second[data-state=problem]").wait_for()
    assert text(page, "#second-problem") != ""
    assert "ABC" in text(page, "#outputs")
    open_page(page, front, "?model=half-net")
    assert page.locator("#compare").is_hidden()


@pytest.mark.parametrize("width", [360, 1280])
def test_two_answers_fit_the_screen(page: Any, front: Front, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    open_page(page, front)
    page.select_option("#second-model", "doubt-net")
    draw(page)
    second(page, "Not sure")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_folders_that_are_nearly_models_are_listed_with_the_remedy(page: Any, front: Front) -> None:
    folder = {"path": "ResNet", "reason": "the name has capitals", "fix": "mv models/ResNet models/resnet"}

    def listed(route: Any) -> None:
        document = route.fetch().json()
        route.fulfill(json={**document, "ignored": [folder]})

    page.route("**/tf/models", listed)
    open_page(page, front)
    page.locator("#served .ignored", has_text="ResNet: the name has capitals").wait_for()
    assert text(page, "#served .ignored code") == "mv models/ResNet models/resnet"
