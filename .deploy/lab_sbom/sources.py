"""The packages of an image or a lock file, as plain records."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_INSIDE = Path(__file__).with_name("inside.py")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"^\s+--hash=sha256:([0-9a-f]{64})")
_MAX_LICENSE_CHARS = 80  # characters; some packages have the whole license text in that field


@dataclass
class Package:
    """A package. `kind`, `namespace` and `qualifiers` as in package URLs; `marker`: where it is installed."""

    kind: str  # pypi or deb
    name: str
    version: str
    namespace: str = ""
    qualifiers: dict[str, str] = field(default_factory=dict)
    license: str = ""
    marker: str = ""
    sha256: list[str] = field(default_factory=list)  # of its files


@dataclass
class Image:
    """An image in Docker: its name, id, registry digest (empty before a push), labels and packages."""

    reference: str
    id: str
    digest: str
    labels: dict[str, str]
    packages: list[Package]


def image(reference: str) -> Image:
    """Inspect an image, by running a container of it without a network.

    Raises:
        subprocess.CalledProcessError: Docker does not have the image, or it has no Python.
    """
    inspected: dict[str, Any] = json.loads(_docker("image", "inspect", reference))[0]
    repository = reference.rpartition(":")[0] + "@"
    digests = [each.removeprefix(repository) for each in inspected["RepoDigests"] or [] if each.startswith(repository)]
    hardened = ("--read-only", "--cap-drop=ALL", "--network=none", "--security-opt=no-new-privileges")
    found = json.loads(_docker("run", "--rm", *hardened, "--entrypoint=python3", reference, "-c", _INSIDE.read_text()))
    release = dict(line.split("=", 1) for line in found["release"].splitlines() if "=" in line)
    name, number = (release.get(key, "").strip('"') for key in ("ID", "VERSION_ID"))
    debian = [
        Package(
            "deb",
            each["Package"],
            each["Version"],
            namespace=name,
            qualifiers={"arch": each["Architecture"], "distro": f"{name}-{number}"},
        )
        for each in found["debian"]
    ]
    python = [
        Package("pypi", each["Name"], each["Version"], license=each["License-Expression"] or _short(each["License"]))
        for each in found["python"]
    ]
    labels = inspected["Config"]["Labels"] or {}
    return Image(reference, inspected["Id"], digests[0] if digests else "", labels, [*debian, *python])


def lock_file(path: Path) -> list[Package]:
    """Return the pins of a requirements.txt, each with its hashes.

    Raises:
        ValueError: A line is neither a pin nor a hash nor a comment.
    """
    found: list[Package] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if pin := _PIN.match(line):
            found.append(Package("pypi", pin[1], pin[2], marker=(pin[3] or "").strip()))
        elif (digest := _HASH.match(line)) and found:
            found[-1].sha256.append(digest[1])
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"{path}:{number}: not a pin with its hashes: {line}")
    return found


def _short(license_field: str) -> str:
    text = license_field.strip()
    return text if len(text) <= _MAX_LICENSE_CHARS and "\n" not in text and text.upper() != "UNKNOWN" else ""


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout
