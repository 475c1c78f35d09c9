"""Healthy when the model server speaks HTTP/2, which carries gRPC, and the watcher's inventory is up to date.

The model server opens its port before it serves, so a connection proves little. An HTTP/2 server first sends a SETTINGS
frame (RFC 9113, 3.4), which this script waits for. Exit codes: 1 if the model server or the inventory does not answer;
3 if both answer, but the models folder cannot be read, which a restart would not fix.
"""

import http.client
import socket
import sys

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # preface, empty SETTINGS frame
SETTINGS = 4

doing = "gRPC on 127.0.0.1:9000"
try:
    with socket.create_connection(("127.0.0.1", 9000), timeout=2) as server:
        server.sendall(HELLO)
        frame = server.recv(9)
        if len(frame) < 4 or frame[3] != SETTINGS:
            sys.exit(f"{doing}: {frame!r}, wanted an HTTP/2 SETTINGS frame")
    doing = "GET http://127.0.0.1:8502/healthz"
    inventory = http.client.HTTPConnection("127.0.0.1", 8502, timeout=2)
    inventory.request("GET", "/healthz")
    answer = inventory.getresponse()
    if answer.status != 200:
        print(f"{doing}: {answer.status}, wanted 200: {answer.read(1000)!r}", file=sys.stderr)  # noqa: T201
        sys.exit(3 if answer.status == 503 else 1)
except OSError as error:
    sys.exit(f"{doing}: {error}")
