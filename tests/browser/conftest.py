"""A real browser over the shared lab: Debian's chromium, driven by playwright."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def quiet_page(browser: Browser) -> Iterator[Page]:
    """A fresh page of 1280 x 900 in a profile of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def page(quiet_page: Page) -> Iterator[Page]:
    """The same, and the test fails if the page logs an error or sends a request to another host."""
    complaints: list[str] = []
    quiet_page.on("console", lambda message: complaints.append(said(message)) if message.type == "error" else None)
    quiet_page.on("pageerror", lambda error: complaints.append(str(error)))
    quiet_page.on("request", lambda sent: None if is_local(sent.url) else complaints.append(sent.url))
    yield quiet_page
    assert not complaints


def said(message: ConsoleMessage) -> str:
    return f"{message.text} {message.location['url']}"


def is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:"))
