"""Every served model can be tried: images of floats, logits, texts, numbers, one number."""

from typing import Any

import pytest
from gateway_kit import HTTP, Front, image_file
from page_kit import answer, draw, open_page, pick, run, text


def outputs(page: Any) -> list[str]:
    """The outputs of an answer as text."""
    page.locator("#answer[data-state=answer] .output").first.wait_for()
    return [" ".join(shown.split()) for shown in page.locator("#outputs .output").all_inner_texts()]


def test_every_served_model_can_be_chosen_by_its_address(page: Any, front: Front) -> None:
    open_page(page, front)
    names = page.locator("#model option").evaluate_all("all => all.map(({value}) => value.split('/')[0])")
    served = page.locator("#served h3").all_inner_texts()
    assert set(names) == set(served)
    for name in served:
        open_page(page, front, f"?model={name}")
        assert page.input_value("#model") == name
        assert text(page, "#note") == ""


@pytest.mark.parametrize(("name", "images"), [("float-net", True), ("level-net", False), ("text-net", False)])
def test_the_gateway_lists_the_signatures_that_take_images(front: Front, name: str, images: bool) -> None:
    document = HTTP.get(f"{front.url}/tf/models/{name}").json()
    assert document["default"]["image_signatures"] == (["serving_default"] if images else [])


def test_a_model_of_float_images_is_answered(page: Any, front: Front) -> None:
    open_page(page, front, "?model=float-net")
    pick(page, ("bright.png", image_file(250)))
    answer(page, "9")
    assert text(page, "#sure") == "91.0 % sure"
    assert page.locator("#bars .label").all_inner_texts() == list("0123456789")
    assert "float-net version 1" in text(page, "#facts")


def test_logits_are_plain_scores_not_percentages(page: Any, front: Front) -> None:
    open_page(page, front, "?model=logits-net")
    draw(page)
    answer(page, "0")
    assert text(page, "#sure") == "score 2.02, the highest"
    assert page.locator("#bars .number").all_inner_texts() == ["2.02", "-1.5", "0.5"]
    assert "%" not in text(page, "#answer")


def test_logits_that_the_card_names_become_probabilities(page: Any, front: Front) -> None:
    open_page(page, front, "?model=named-logits-net")
    draw(page)
    answer(page, "0")
    assert text(page, "#sure") == "80.1 % sure"
    assert page.locator("#bars .number").all_inner_texts() == ["80.1 %", "2.4 %", "17.5 %"]


def test_a_weak_best_score_is_not_an_answer(page: Any, front: Front) -> None:
    open_page(page, front, "?model=doubt-net")
    draw(page)
    answer(page, "Not sure")
    assert text(page, "#sure") == "cat (42.0 %), dog (31.0 %), bird (27.0 %)"
    page.wait_for_selector("#recent button")
    assert text(page, "#recent button") == "?"
    pick(page, ("one.png", image_file(60)), ("two.png", image_file(90)))
    page.locator("#several-list .row", has_text="Not sure").first.wait_for()


def test_an_image_model_of_one_number_has_a_form_whose_example_works(page: Any, front: Front) -> None:
    open_page(page, front, "?model=level-net")
    assert page.locator("#paper").is_hidden()
    assert "uint8 [any, 4, 4, 1]" in text(page, "#fields")
    page.click("#run")
    assert outputs(page) == ["level [1] 1"]


def test_a_model_of_numbers_has_a_form_for_one_and_for_many(page: Any, front: Front) -> None:
    open_page(page, front, "?model=half-net")
    assert text(page, "#try-title") == "Fill in the inputs"
    assert "float [any]" in text(page, "#fields")
    page.click("#run")
    assert outputs(page) == ["y [1] 2.5"]
    assert "half-net version 1" in text(page, "#facts")
    run(page, x="1.0, 2.0, 5.0")
    page.locator("#outputs table").wait_for()
    assert outputs(page) == ["y [3] 2.5 3 4.5"]
    assert '"x":[1,2,5]' in text(page, "#curl")
    run(page, x="[4]")
    page.locator("#outputs", has_text="y [1]").wait_for()
    assert outputs(page) == ["y [1] 4"]


@pytest.mark.parametrize("wrong", ["two", "", "[1, 2", "1 2"])
def test_what_is_not_a_number_is_refused_at_its_field(page: Any, front: Front, wrong: str) -> None:
    open_page(page, front, "?model=half-net")
    run(page, x=wrong)
    page.locator("#fields .warning", has_text="expected a value such as 1 (float [any])").wait_for()
    assert page.evaluate("document.activeElement.name") == "x"
    page.click("#example")
    page.click("#run")
    assert outputs(page) == ["y [1] 2.5"]
    assert page.locator("#fields [aria-invalid]").count() == 0


def test_a_model_of_text_takes_what_is_typed(page: Any, front: Front) -> None:
    open_page(page, front, "?model=text-net")
    run(page, text='[ok] he said "no"')
    assert outputs(page) == ["codes [1, 3] 91 111 107", 'upper [1] [OK] HE SAID "NO"']
    run(page, text='["ab", "c"]')
    page.locator("#outputs", has_text="upper [2]").wait_for()
    assert outputs(page) == ["codes [2, 3] 97 98 32 99 32 32", "upper [2] AB C"]
    page.keyboard.press("Tab")
    page.locator("#fields textarea").fill("by key")
    page.keyboard.press("Control+Enter")
    page.locator("#outputs", has_text="BY KEY").wait_for()


def test_another_signature_has_its_own_fields(page: Any, front: Front) -> None:
    open_page(page, front, "?model=text-net")
    assert page.locator("#signature option").all_inner_texts() == ["serving_default", "twice"]
    page.select_option("#signature", "twice")
    with page.expect_request("**/predict") as sent:
        page.click("#run")
    assert sent.value.post_data_json["signature_name"] == "twice"


def test_a_text_classifier_is_answered_with_its_labels(page: Any, front: Front) -> None:
    open_page(page, front, "?model=mood-net")
    run(page, text="a good day")
    answer(page, "glad")
    assert text(page, "#sure") == "97.0 % sure"
    assert page.locator("#bars .label").all_inner_texts() == ["sad", "glad"]
    assert page.locator("#signature-row").is_hidden()  # `describe` is the card's


def test_logits_of_a_form_become_probabilities_as_in_classify(page: Any, front: Front) -> None:
    open_page(page, front, "?model=tone-net")
    run(page, text="a good day")  # logits 0 and 1, which look like probabilities
    answer(page, "glad")
    assert text(page, "#sure") == "73.1 % sure"


def test_an_error_of_the_model_is_shown_in_words(page: Any, front: Front) -> None:
    open_page(page, front, "?model=broken-net")
    page.click("#run")
    page.locator("#answer[data-state=problem]").wait_for()
    assert text(page, "#problem") != ""
    assert "50" in text(page, "#facts")


def test_a_form_keeps_what_was_typed_while_the_page_looks_for_models(page: Any, front: Front) -> None:
    open_page(page, front, "?model=half-net")
    page.locator("#fields textarea").fill("7")
    with page.expect_response("**/tf/models"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_load_state("networkidle")
    assert page.locator("#fields textarea").input_value() == "7"


def test_a_file_dropped_on_a_form_is_declined_in_words(page: Any, front: Front) -> None:
    open_page(page, front, "?model=half-net")
    page.evaluate("""() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["x"], "a.png", { type: "image/png" }));
      document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
    }""")
    page.locator("#note", has_text="half-net does not take images").wait_for()
