"""The documents that the tests read, and their headings as the links name them."""

import re
from pathlib import Path

from tests.running import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("tensor-*/README.md")),
]


def anchors(document: Path) -> set[str]:
    """The fragments that GitHub gives to the document's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
