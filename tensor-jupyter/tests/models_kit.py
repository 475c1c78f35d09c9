"""A gateway on loopback that lists the models of a folder, as their serving.json says."""

import http.server
import json

from tensor_jupyter.publishing.registry import Registry


class Gateway(http.server.ThreadingHTTPServer):
    """Answers GET /tf/models from the folder, as watcher and gateway would; `quarantined`: reasons by version."""

    def __init__(self, models):
        self.models, self.quarantined, self.ignored, self.requests = models, {}, [], 0
        super().__init__(("127.0.0.1", 0), Answers)

    def document(self):
        entries = []
        for family in sorted(self.models.glob("[!.]*/")):
            registry = Registry(self.models, family.name)
            present = [number for number in registry.numbers() if number not in self.quarantined]
            conf = registry.settings()
            entries.append(
                {
                    "name": family.name,
                    "versions": [
                        {"version": number, "state": "AVAILABLE", "error": ""} for number in conf.listed(present)
                    ],
                    "labels": {label: number for label, number in conf.labels.items() if number in present},
                    "quarantined": [{"version": v, "reason": reason} for v, reason in self.quarantined.items()],
                }
            )
        return {"models": entries, "ignored": self.ignored}


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        body = json.dumps(self.server.document()).encode()
        self.send_response(200 if self.path == "/tf/models" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass
