"""A kubectl that stands in for a cluster: it writes down what it is called with, and answers what a test says."""

import json
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import yaml
from kube_kit import KUBECTL

STAND_IN = r"""#!{python}
import json, pathlib, signal, subprocess, sys
folder = pathlib.Path({folder!r})
words = sys.argv[1:]
flags = sum(word in ("--context", "--namespace") for word in words[:3:2])
verb = words[2 * flags]
given = sys.stdin.read() if "apply" in words else ""
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps([words, given]) + "\n")
if verb in ("version", "kustomize"):
    sys.exit(subprocess.run([{kubectl!r}, *words]).returncode)
answers = json.loads((folder / "answers").read_text())
if verb == "port-forward":
    print("Forwarding from 127.0.0.1:%s -> 8080" % answers["port"], flush=True)
    signal.pause()
code, text = answers.get(" ".join(word for word in words[words.index(verb):][:2]), [0, ""])
print(text, file=sys.stderr if code else sys.stdout)
sys.exit(code)
"""


class Gateway(BaseHTTPRequestHandler):
    """Answers the sample image, and lists `models`."""

    models: ClassVar[list[dict[str, Any]]] = [{"name": "mnist-net", "versions": [{"version": 1, "state": "AVAILABLE"}]}]
    status = 200

    def do_GET(self) -> None:
        self._answer({"status": "ok", "lab": ""} if self.path == "/healthz" else {"models": self.models})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"classification_result": [{"digit": 2, "probability": 0.9988}]})

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


@dataclass
class Cluster:
    """The stand-in's folder, and what it answers by verb and first argument."""

    folder: Path
    answers: dict[str, Any]

    def answer(self) -> None:
        (self.folder / "answers").write_text(json.dumps(self.answers))

    def calls(self, verb: str) -> list[list[str]]:
        return [words for words, _ in self._all() if verb in words]

    def applied(self) -> list[dict[str, Any]]:
        texts = [given for words, given in self._all() if "apply" in words]
        found = [each for text in texts for each in yaml.safe_load_all(text)]
        return [each for one in found for each in (one["items"] if one["kind"] == "List" else [one])]

    def _all(self) -> list[tuple[list[str], str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]


def install(folder: Path) -> None:
    """Put the program into a folder."""
    program = folder / "kubectl"
    words = {"{python}": sys.executable, "{folder!r}": repr(str(folder)), "{kubectl!r}": repr(str(KUBECTL))}
    text = STAND_IN
    for name, value in words.items():
        text = text.replace(name, value)
    program.write_text(text)
    program.chmod(0o755)
