"""`PORT`: an HTTP server of one thread that answers 200; a request for /hang gets no answer for an hour."""

import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers all paths but one."""

    def do_GET(self) -> None:
        if self.path == "/hang":
            time.sleep(3600)  # no other request is answered meanwhile
        self.send_response(200)
        self.end_headers()


def main() -> None:
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
