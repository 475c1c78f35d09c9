"""Swagger UI in a real browser: every operation that it lists works as it stands."""

from typing import Any

import pytest
from gateway_kit import Front


def open_swagger(page: Any, front: Front) -> Any:
    """Open it and wait for the operations, which are returned."""
    page.goto(f"{front.url}/tf/")
    page.wait_for_selector(".opblock")
    return page.locator(".opblock")


def opened(operation: Any) -> Any:
    """Unfold an operation."""
    operation.locator(".opblock-summary").click()
    operation.locator(".execute").wait_for()
    return operation


def status(operation: Any) -> str:
    """Execute it as it stands; the status of the answer."""
    operation.locator(".execute").click()
    answer = operation.locator(".live-responses-table tbody .response-col_status").first
    answer.wait_for()
    return str(answer.inner_text()).split()[0]


def operation(page: Any, path: str) -> Any:
    """The operation of a path with one method."""
    return page.locator(".opblock", has=page.locator(f'[data-path="{path}"]'))


def path(operation: Any) -> str:
    return str(operation.locator(".opblock-summary-path").get_attribute("data-path"))


def test_every_operation_executed_as_it_stands_answers_2xx(page: Any, front: Front) -> None:
    operations = open_swagger(page, front)
    statuses: dict[tuple[str, str], str] = {}
    for number in range(operations.count()):
        operation = opened(operations.nth(number))
        method = operation.locator(".opblock-summary-method").inner_text()
        statuses[method, path(operation)] = status(operation)
        operation.locator(".opblock-summary").click()
    failed = {path for (_, path), found in statuses.items() if found not in ("200", "201")}
    assert failed <= {"/tf/models/broken-net/predict"}  # a model that fails on every call
    assert {
        ("POST", "/tf/mnist/{model}"),
        ("POST", "/v1/models/{model}/labels/{label}:predict"),
        ("PUT", "/tf/models/{model}/feedback"),
        ("POST", "/tf/models/mnist-net/predict"),
        ("GET", "/metrics"),
    } <= statuses.keys()


def test_an_image_is_written_in_rows_and_a_chosen_file_is_sent(page: Any, front: Front) -> None:
    open_swagger(page, front)
    predict = opened(operation(page, "/tf/models/mnist-net/predict"))
    text = predict.locator("textarea").first.input_value()
    assert 28 < len(text.splitlines()) < 40
    digits = opened(page.locator("#operations-digits-classify_digit"))
    digits.locator("input[type=file]").set_input_files(
        files=[{"name": "a.png", "mimeType": "image/png", "buffer": b"?"}]
    )
    assert status(digits) == "415"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_swagger_ui_follows_the_colour_scheme(page: Any, front: Front, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    open_swagger(page, front)
    filters = page.locator("#swagger-ui").evaluate("node => getComputedStyle(node).filter")
    assert ("invert" in filters) == (scheme == "dark")
