"""`python -m tests.kubernetes.load PORT RATE`: sample images to the gateway until the standard input is closed.

A program of its own, since it runs in the cluster's network. Prints the figures as JSON. A connection for each call, as
from many clients: they are spread over the gateways anew each time.
"""

import json
import sys
from dataclasses import asdict

from lab_engine.chaos.load import Client, Load
from tests.running import FORM, SAMPLES, image_form

PATH = "/tf/mnist/mnist-net"


def main() -> None:
    port, rate = sys.argv[1:]
    client = Client(f"http://127.0.0.1:{port}{PATH}", image_form(SAMPLES[0]), {**FORM, "Connection": "close"})
    with Load(client, float(rate)) as load:
        sys.stdin.read()
    json.dump(asdict(load.summary()), sys.stdout)


if __name__ == "__main__":
    main()
