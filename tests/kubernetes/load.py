"""`python -m tests.kubernetes.load PORT RATE`: sample pictures to the gateway until the standard input is closed.

A program of its own, since it runs in the cluster's network. Prints the figures as JSON. A connection for each call, as
from many clients: they are spread over the gateways anew each time.
"""

import json
import sys
from dataclasses import asdict

from lab_engine.chaos.load import Client, Load
from tests.running import SAMPLES

PATH = "/tf/mnist/mnist-net"


def picture(index: int = 0) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request with one of the sample pictures."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'
    body = head + SAMPLES[index].read_bytes() + b"\r\n--b--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=b"}


def main() -> None:
    port, rate = sys.argv[1:]
    body, headers = picture()
    client = Client(f"http://127.0.0.1:{port}{PATH}", body, {**headers, "Connection": "close"})
    with Load(client, float(rate)) as load:
        sys.stdin.read()
    json.dump(asdict(load.summary()), sys.stdout)


if __name__ == "__main__":
    main()
