"""LitServe with its batching. Usage: app.py PORT"""

import os
import sys
from typing import Any

import digits
import litserve
import numpy as np
from fastapi import Request


class Digits(litserve.LitAPI):
    """A form with an image in, the best digits out."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - its interface
        self.model = digits.Model()

    def decode_request(self, request: Request) -> Any:
        return digits.pixels(request["image"].file.read())

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        return self.model(x)

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return digits.answer(output)


if __name__ == "__main__":
    api = Digits(max_batch_size=digits.BATCH, batch_timeout=0.001, api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(os.environ["BENCHMARK_WORKERS"]))
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
