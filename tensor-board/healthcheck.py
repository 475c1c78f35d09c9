"""Healthy when TensorBoard answers."""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", 6006, timeout=2)
try:
    connection.request("GET", "/")
    status = connection.getresponse().status
except OSError as error:
    sys.exit(f"GET /: {error}")
sys.exit(None if status == 200 else f"GET /: {status}, wanted 200")
