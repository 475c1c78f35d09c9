"""The page of a pipeline run in a real browser; the screenshot of it in docs/pipeline.md is taken here."""

import os
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_pages import UPDATE, take_screenshot
from tests.running import Lab

LAB = ("exec", "tensor-jupyter", "python", "-m", "tensor_jupyter")
SMALL = ("--epochs", "3", "--concept-epochs", "8", "--live-calls", "300", "--min-accuracy", "0.9")


@pytest.mark.skipif(not (UPDATE or os.environ.get("LAB_LONG_TESTS")), reason="minutes; set LAB_LONG_TESTS=1")
@pytest.mark.timeout(1800)
def test_the_page_of_a_run_shows_its_result(lab: Lab, quiet_page: Page, tmp_path: Path) -> None:
    if lab.engine != "local":
        pytest.skip("the page is opened as a file of this machine")
    command = lab.command(*LAB, "pipeline", "run", "--model", "digits", *SMALL, "--max-false-alarms", "0.2")
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=1500, check=True)
    path = done.stdout.partition("Page of the run: ")[2].splitlines()[0]
    sent: list[str] = []
    quiet_page.on("request", lambda request: sent.append(request.url))
    quiet_page.goto(Path(path).as_uri())
    expect(quiet_page.get_by_role("heading", level=1)).to_contain_text("digits version 1 promoted")
    expect(quiet_page.locator(".checks tbody tr")).to_have_count(13)
    take_screenshot(quiet_page, "run.png", tmp_path)
    quiet_page.set_viewport_size({"width": 360, "height": 740})
    assert quiet_page.evaluate("document.documentElement.scrollWidth") <= 360
    assert [url for url in sent if not url.startswith("data:")] == [Path(path).as_uri()]
    for name in ("digits", "digits-concept"):
        lab.compose(*LAB, "models", "delete", name, "--all", "--yes")
