"""gRPC over plain HTTP/2 against h2spec, the conformance suite for HTTP/2 servers, where Go is at hand to build it."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from transport_kit import Place, scene

H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
_LARGER_TABLE = "it sets a table of 128 bytes and more, which our settings forbid; hpack 6.3 wants that refused"
FAIL_FOR_A_REASON = {
    ("generic/5", "Sends a dynamic table size update"): _LARGER_TABLE,
    ("generic/5", "Sends multiple dynamic table size update"): _LARGER_TABLE,
}


@pytest.fixture(scope="module")
def h2spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if not go:
        pytest.skip("Go, which h2spec is built with, is not installed")
    folder = tmp_path_factory.mktemp("h2spec")
    built = subprocess.run(
        [go, "install", H2SPEC], env={**os.environ, "GOBIN": str(folder)}, capture_output=True, text=True, timeout=600
    )
    if built.returncode:
        pytest.skip(f"h2spec cannot be built here: {built.stderr[-300:]}")
    return folder / "h2spec"


def test_the_server_conforms_to_http2(h2spec: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"

    async def play(here: Place) -> None:
        arguments = ("--strict", "--timeout", "10", "--port", str(here.port), "--path", "/t/echo")
        running = await asyncio.create_subprocess_exec(
            h2spec, *arguments, "--junit-report", str(report), stdout=asyncio.subprocess.DEVNULL
        )
        await asyncio.wait_for(running.wait(), 300)

    scene(play, max_calls=1024)
    cases = ElementTree.parse(report).getroot().findall(".//testcase")
    assert len(cases) > 140
    failed = {(case.get("package"), case.get("classname")) for case in cases if case.find("error") is not None}
    assert failed == set(FAIL_FOR_A_REASON)
