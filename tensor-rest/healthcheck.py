"""Healthy when nginx and uWSGI answer GET /healthz with 200.

It does not check the model server; GET /readyz does.
"""

import http.client
import os
import sys

port = os.environ.get("TENSOR_REST_PORT", "")
# Kubernetes sets tcp://... for a Service named tensor-rest; the gateway ignores it, too.
connection = http.client.HTTPConnection("127.0.0.1", int(port) if port.isdigit() else 8080, timeout=2)
try:
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
except OSError as error:
    sys.exit(f"GET /healthz: {error}")
sys.exit(None if status == 200 else f"GET /healthz: {status}, wanted 200")
