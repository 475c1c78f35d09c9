"""Healthy when TensorBoard answers a request for runs, which needs its data server as well."""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", 6006, timeout=2)
try:
    connection.request("GET", "/data/runs")
    status = connection.getresponse().status
except OSError as error:
    sys.exit(f"GET /data/runs: {error}")
sys.exit(None if status == 200 else f"GET /data/runs: {status}, wanted 200")
