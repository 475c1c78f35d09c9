"""How the page looks and what it weighs: small screens, light and dark, contrast, motion, policy."""

from typing import Any

import pytest
from gateway_kit import HTTP, Front, image_file
from page_kit import answer, draw, open_page, pick

from tensor_rest.web import pages

MAX_PAGE_BYTES = 112 << 10  # bytes of document, styles and scripts

FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const over = (ground, color) => {
    canvas.fillStyle = `rgb(${ground})`;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const groundOf = (node) => {
    const chain = [];
    for (let at = node; at; at = at.parentElement) chain.unshift(getComputedStyle(at).backgroundColor);
    return chain.reduce(over, [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  for (const node of document.body.querySelectorAll("*")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest(":disabled, noscript, optgroup, option")) continue;
    const ground = groundOf(node);
    const [a, b] = [light(ground), light(over(ground, getComputedStyle(node).color))].sort();
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${node.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return faint;
}"""


TOO_WIDE = """(width) => {
  const wide = (node) => node.checkVisibility() && node.getBoundingClientRect().right > width + 1;
  const nodes = [...document.documentElement.querySelectorAll("body *")].filter(wide);
  return nodes.filter((node) => !node.closest(".visually-hidden")).map((node) => node.outerHTML.slice(0, 80));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(page: Any, front: Front, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    open_page(page, front)
    assert page.evaluate(FAINT) == []
    pick(page, ("two.png", image_file(60)), ("no.png", b"no image"))
    answer(page, "2")
    page.get_by_role("button", name="2", exact=True).click()
    page.wait_for_selector(".choice[aria-pressed=true]")
    page.mouse.move(0, 0)
    assert page.evaluate(FAINT) == []
    pick(page, ("no.png", b"no image"))
    page.wait_for_selector("#answer[data-state=problem]")
    assert page.evaluate(FAINT) == []


@pytest.mark.parametrize("width", [320, 360, 768, 1024], ids=["narrow", "phone", "tablet", "wide"])
def test_nothing_is_wider_than_the_screen(page: Any, front: Front, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    open_page(page, front, "?model=a-model-with-a-rather-long-name-that-is-not-served")
    assert page.evaluate(TOO_WIDE, width) == []
    pick(page, ("a" * 80 + ".png", image_file(60)), ("no.png", b"no image"))
    answer(page, "2")
    assert page.evaluate(TOO_WIDE, width) == []


def test_reduced_motion_is_respected(page: Any, front: Front) -> None:
    page.emulate_media(reduced_motion="reduce")
    open_page(page, front)
    draw(page)
    answer(page, "")
    moving = "node => getComputedStyle(node).transitionProperty.includes('width')"
    assert not page.locator("#bars .fill").first.evaluate(moving)


def test_the_page_is_light_and_its_policy_strict(page: Any, front: Front) -> None:
    weights: dict[str, int] = {}
    page.on("response", lambda got: weights.__setitem__(got.url.removeprefix(front.url), len(got.body())))
    open_page(page, front)
    own = {path: size for path, size in weights.items() if not path.startswith("/tf/") and not path.endswith(".svg")}
    assert len([path for path in own if path.endswith(".js")]) > 5
    assert sum(own.values()) < MAX_PAGE_BYTES, own
    policy = HTTP.get(front.url).headers["Content-Security-Policy"]
    assert policy == pages.PAGE_POLICY
    assert "unsafe" not in policy
    assert "data:" not in policy
