"""Print the packages of the image this runs in, as JSON, with the image's own Python and nothing else.

An image without dpkg has no Debian packages.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

status = Path("/var/lib/dpkg/status")
blocks = status.read_text(errors="replace").split("\n\n") if status.exists() else []
fields = [
    dict(line.split(": ", 1) for line in block.splitlines() if line[:1].isalpha() and ": " in line)
    for block in blocks
    if "\nStatus: install ok installed" in block
]
python = [  # PackageMetadata promises no `get`
    {key: found[key] if key in found else "" for key in ("Name", "Version", "License-Expression", "License")}  # noqa: SIM401
    for found in (each.metadata for each in importlib.metadata.distributions())
]
debian = [{key: each.get(key, "") for key in ("Package", "Version", "Architecture")} for each in fields]
release = Path("/etc/os-release").read_text()
sys.stdout.write(json.dumps({"release": release, "python": python, "debian": debian}))
