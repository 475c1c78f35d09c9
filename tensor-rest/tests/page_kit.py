"""What a person does on the page, for the tests of it."""

from typing import Any

from gateway_kit import Front

TIMEOUT_MS = 15_000  # milliseconds
Stroke = tuple[tuple[float, float], ...]
"""Points, as parts of the paper's width and height."""

BOW: Stroke = ((0.4, 0.2), (0.6, 0.5), (0.4, 0.8))


def open_page(page: Any, front: Front, query: str = "") -> None:
    """Open it and wait for the models."""
    page.goto(f"{front.url}/{query}")
    page.wait_for_selector("#model:enabled")


def press(page: Any, stroke: Stroke = BOW) -> None:
    """Draw with the mouse, which is still down at the end."""
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point, steps=5)


def draw(page: Any, stroke: Stroke = BOW) -> None:
    """Draw a stroke with the mouse."""
    press(page, stroke)
    page.mouse.up()


def pick(page: Any, *named: tuple[str, bytes]) -> None:
    """Choose files."""
    files = [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in named]
    page.locator("#file").set_input_files(files=files)


def run(page: Any, **fields: str) -> None:
    """Fill in the form of a model and run it."""
    for name, value in fields.items():
        page.locator(f"#fields textarea[name={name}]").fill(value)
    page.click("#run")


def answer(page: Any, label: str) -> None:
    """Wait for an answer with this label."""
    page.locator("#answer[data-state=answer] #best", has_text=label).wait_for()


def text(page: Any, selector: str) -> str:
    return str(page.locator(selector).inner_text())
