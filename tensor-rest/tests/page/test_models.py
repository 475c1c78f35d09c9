"""Who answers, feedback, and what the page does while serving or a key is missing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_kit import Front, image_file, start_front
from page_kit import TIMEOUT_MS, answer, draw, open_page, pick, text
from toy_model_server import Model, ModelServer

from tensor_rest.middleware.api_keys import create

KEY, LINE = create("ada")


@pytest.fixture(scope="module")
def locked(toy: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A front that wants a key, keeps no feedback and knows no watcher."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "keys").write_text(f"{LINE}\n")
    running = start_front("uwsgi", folder / "run", toy.address, TENSOR_REST_API_KEYS_FILE=str(folder / "keys"))
    yield running
    running.stop()


def test_a_model_that_cannot_be_described_at_first_takes_drawings_as_soon_as_it_can(page: Any, front: Front) -> None:
    described = "**/tf/models/mnist-net/versions/*/metadata"
    page.route(described, lambda route: route.fulfill(status=503, content_type="application/json", body="{}"))
    open_page(page, front)
    page.locator("#canvas").wait_for(state="hidden")
    page.unroute(described)
    page.locator("#canvas").wait_for()
    draw(page)
    page.wait_for_selector("#recent button")


def test_models_of_images_can_be_chosen_with_version_and_label(page: Any, front: Front) -> None:
    open_page(page, front)
    group = page.locator("#model optgroup[label=mnist-net] option")
    choices = group.evaluate_all("options => options.map(({value}) => value)")
    labels = ["mnist-net/labels/stable", "mnist-net/labels/candidate"]
    assert sorted(choices) == sorted(["mnist-net", *labels, "mnist-net/versions/1", "mnist-net/versions/2"])
    assert group.first.inner_text() == "mnist-net · default (version 2)"
    pick(page, ("two.png", image_file(60)))
    answer(page, "2")
    assert "mnist-net version 2" in text(page, "#facts")
    page.select_option("#model", "mnist-net/labels/candidate")
    page.locator("#facts", has_text="mnist-net version 1 · candidate").wait_for()
    assert page.url.endswith("?model=mnist-net/labels/candidate")
    page.reload()
    page.wait_for_selector("#model:enabled")
    assert page.input_value("#model") == "mnist-net/labels/candidate"
    assert "mnist-net/labels/candidate/classify" in text(page, "#curl")


def test_a_version_is_shown_with_its_own_labels(page: Any, front: Front) -> None:
    open_page(page, front, "?model=letters-net/versions/1")
    assert page.locator("#bars .label").all_inner_texts() == list("0123456789")
    page.select_option("#second-model", "letters-net")
    assert page.locator("#second-bars .label").all_inner_texts() == list("abcdefghij")
    pick(page, ("two.png", image_file(60)))
    answer(page, "2")
    page.locator("#second[data-state=answer] #second-best", has_text="c").wait_for()
    assert page.locator("#feedback button").all_inner_texts()[:10] == list("0123456789")
    page.select_option("#model", "letters-net")
    answer(page, "c")
    assert page.locator("#bars .label").all_inner_texts() == list("abcdefghij")


def test_a_second_opinion_is_reported(page: Any, front: Front) -> None:
    open_page(page, front, "?model=unsure-net")
    pick(page, ("two.png", image_file(60)))
    answer(page, "2")
    assert "mnist-net version 2" in text(page, "#facts")
    assert "unsure-net was unsure (91.0 %), so mnist-net was called" in text(page, "#facts")


def test_many_labels_are_ranked_and_chosen_from_a_list(page: Any, front: Front, kept: Path) -> None:
    open_page(page, front, "?model=animal-net")
    assert text(page, "#try-title") == "Draw or drop an image"
    pick(page, ("two.png", image_file(60)))
    answer(page, "animal 2")
    assert page.locator("#bars .label").count() == 12
    assert page.locator("#bars .label").first.inner_text() == "animal 2"
    page.select_option("#labels select", "animal 7")
    page.click("#labels button")
    page.locator("#thanks", has_text="Kept as animal 7").wait_for()
    assert len(list((kept / "animal-net" / "animal 7").glob("*.png"))) == 1


def test_a_model_that_is_not_served_is_named_and_taken_when_it_comes(page: Any, front: Front, toy: ModelServer) -> None:
    open_page(page, front, "?model=late-net")
    page.locator("#note", has_text="late-net is not served now; mnist-net answers").wait_for()
    toy.models["late-net"] = Model()
    try:
        page.locator("#curl", has_text="late-net").wait_for()
        assert page.input_value("#model") == "late-net"
        assert text(page, "#note") == ""
    finally:
        del toy.models["late-net"]


def test_feedback_lands_as_a_file_and_another_label_moves_it(page: Any, front: Front, kept: Path) -> None:
    open_page(page, front)
    assert page.locator(".choice:enabled").count() == 0
    draw(page)
    answer(page, "")
    page.get_by_role("button", name="7", exact=True).click()
    page.locator("#thanks", has_text="Kept as 7, thank you").wait_for()
    assert page.locator(".choice[aria-pressed=true]").all_inner_texts() == ["7"]
    (sample,) = (kept / "mnist-net" / "7").glob("*.png")
    page.get_by_role("button", name="4", exact=True).click()
    page.locator("#thanks", has_text="Kept as 4, thank you").wait_for()
    assert not sample.exists()
    assert (kept / "mnist-net" / "4" / sample.name).exists()
    notes = (kept / "mnist-net" / "index.jsonl").read_text().splitlines()
    assert [json.loads(note)["label"] for note in notes][-2:] == ["7", "4"]


def test_no_label_can_be_given_before_the_new_image_has_its_answer(page: Any, front: Front) -> None:
    open_page(page, front)
    pick(page, ("image.png", image_file(60)))
    page.locator(".choice:enabled").first.wait_for()
    held: list[Any] = []
    page.route("**/classify*", lambda route: held.append(route))
    pick(page, ("image.png", image_file(61)))
    page.locator("#answer[aria-busy=true]").wait_for()
    assert page.locator(".choice:enabled").count() == 0
    held[0].continue_()
    page.locator(".choice:enabled").first.wait_for()


def test_serving_goes_and_comes_back_without_a_reload(page: Any, front: Front, toy: ModelServer) -> None:
    open_page(page, front)
    toy.stop()
    try:
        page.locator("#banner", has_text="This page keeps looking").wait_for()
        draw(page)
        page.wait_for_selector("#answer[data-state=problem][data-passes=true]")
        assert "sent again" in text(page, "#problem")
        toy.models["mnist-net"].versions.append(3)
        toy.models["mnist-net"].labels["stable"] = 3
    finally:
        toy.start()
    try:
        page.wait_for_selector("#answer[data-state=answer]")
        assert "version 3" in text(page, "#facts")
        page.wait_for_selector("#served .chip >> text=version 3")
        assert text(page, "#banner") == ""
    finally:
        toy.models["mnist-net"].versions.remove(3)
        toy.models["mnist-net"].labels["stable"] = 2


def test_a_list_of_models_that_stalls_is_reported(page: Any, front: Front) -> None:
    open_page(page, front)
    page.evaluate("""() => {
        const timeout = AbortSignal.timeout;
        AbortSignal.timeout = () => timeout.call(AbortSignal, 50);
        const stalled = (signal) => ({
            start: (stream) => signal.addEventListener("abort", () => stream.error(signal.reason)),
        });
        window.fetch = async (path, { signal }) => new Response(new ReadableStream(stalled(signal)));
    }""")
    page.locator("#banner", has_text="The gateway does not answer").wait_for()


def test_a_key_is_entered_once_and_kept_for_the_tab(browser: Any, locked: Front) -> None:
    context = browser.new_context()
    tab = context.new_page()
    tab.set_default_timeout(TIMEOUT_MS)
    tab.goto(locked.url)
    tab.wait_for_selector("#key-form:visible")
    tab.fill("#key", "lab_wrong")
    tab.keyboard.press("Enter")
    tab.locator("#key-why", has_text="not known").wait_for()
    tab.fill("#key", KEY)
    tab.get_by_role("button", name="Use this key").click()
    tab.wait_for_selector("#model:enabled")
    assert tab.locator("#key-form").is_hidden()
    tab.reload()
    tab.wait_for_selector("#model:enabled")
    draw(tab)
    answer(tab, "")
    assert "X-API-Key" in text(tab, "#curl")
    assert KEY not in tab.content()
    assert "TENSOR_REST_FEEDBACK_DIR" in text(tab, "#thanks")
    assert tab.locator(".choice").count() == 0
    tab.goto(f"{locked.url}/tf/")
    tab.locator("#operations-digits-classify_digit").wait_for()
    context.close()


def test_swagger_ui_has_a_field_for_the_key_and_sends_it(browser: Any, locked: Front) -> None:
    context = browser.new_context()
    tab = context.new_page()
    tab.set_default_timeout(TIMEOUT_MS)
    requested: list[str] = []
    tab.on("request", lambda request: requested.append(request.url))
    tab.goto(f"{locked.url}/tf/")
    for key, what in (("lab_wrong", "not known"), (KEY, "")):
        tab.wait_for_selector("#key-form:visible")
        tab.fill("#key", key)
        tab.keyboard.press("Enter")
        if what:
            tab.locator("#key-form label", has_text=what).wait_for()
    listing = tab.locator("#operations-models-list_models")
    listing.locator(".opblock-summary-control").click()
    listing.locator(".execute").click()
    status = listing.locator(".live-responses-table .response-col_status")
    status.get_by_text("200").wait_for()
    tab.locator(".scheme-container .authorize").click()
    dialog = tab.locator(".dialog-ux")
    dialog.get_by_text("Logout").click()
    dialog.locator("input").fill("lab_wrong")
    dialog.locator("button.authorize").click()
    dialog.locator(".btn-done").click()
    listing.locator(".execute").click()
    status.get_by_text("401").wait_for()
    assert not [url for url in requested if KEY in url or "lab_wrong" in url]
    context.close()


def test_no_key_no_questions(browser: Any, locked: Front) -> None:
    context = browser.new_context()
    tab = context.new_page()
    tab.set_default_timeout(TIMEOUT_MS)
    requested: list[str] = []
    tab.on("request", lambda request: requested.append(request.url) if "/tf/" in request.url else None)
    tab.clock.install()
    tab.goto(locked.url)
    tab.wait_for_selector("#key-form:visible")
    tab.clock.run_for(60_000)
    assert requested == [f"{locked.url}/tf/models"]
    draw(tab)  # which would be sent with a key
    tab.fill("#key", "lab_wrong")
    tab.keyboard.press("Enter")
    tab.locator("#key-why", has_text="not known").wait_for()
    requested.clear()
    tab.clock.run_for(60_000)
    assert requested == []
    context.close()


def test_the_upload_form_of_swagger_ui_works(page: Any, front: Front, tmp_path: Path) -> None:
    (tmp_path / "two.png").write_bytes(image_file(60))
    page.goto(f"{front.url}/tf/")
    page.click("#operations-digits-classify_digit .opblock-summary")
    form = page.locator("#operations-digits-classify_digit")
    form.locator("[data-param-name=model] select").select_option("mnist-net")
    form.locator("input[type=file]").set_input_files(tmp_path / "two.png")
    form.locator(".execute").click()
    form.locator(".live-responses-table .response-col_status").first.wait_for()
    assert '"digit": 2' in form.locator(".live-responses-table").inner_text()


def test_corrections_that_wait_are_counted_with_the_command_that_trains_with_them(page: Any, front: Front) -> None:
    open_page(page, front, "?model=known-net")
    assert page.locator("#waiting").is_hidden()
    for level, count in ((61, "1 correction waits"), (62, "2 corrections wait")):
        with page.expect_response("**/classify*"):
            pick(page, ("image.png", image_file(level)))
        answer(page, "2")
        page.click("#labels [data-label='5']")
        page.locator("#waiting", has_text=f"{count}, given since version 1 was made.").wait_for()
    assert text(page, "#train") == "bin/lab pipeline run --model known-net"
    page.locator("#waiting").scroll_into_view_if_needed()
    open_page(page, front, "?model=glyph-net")
    assert page.locator("#waiting").is_hidden()


def test_a_model_that_the_pipeline_made_links_to_the_pages_of_its_runs(page: Any, front: Front) -> None:
    open_page(page, front)
    links = page.locator("#served a", has_text="Pages of its pipeline runs")
    links.first.wait_for()
    assert [link.get_attribute("href") for link in links.all()] == ["http://127.0.0.1:8888/lab/tree/reports/known-net"]
