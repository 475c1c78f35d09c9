"""Healthy when JupyterLab answers the one path that wants no token."""

import http.client
import os
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("LAB_JUPYTER_PORT") or 8888), timeout=2)
try:
    connection.request("GET", "/api")
    status = connection.getresponse().status
except OSError as error:
    sys.exit(f"GET /api: {error}")
sys.exit(None if status == 200 else f"GET /api: {status}, wanted 200")
