"""Calls the gateway it is given with the generated package lab_client and prints a line for each answer."""

import sys
from pathlib import Path

from lab_client import Client  # type: ignore[import-not-found]
from lab_client.api.digits import classify_digit  # type: ignore[import-not-found]
from lab_client.api.models import list_models, show_client  # type: ignore[import-not-found]
from lab_client.api.predict import predict  # type: ignore[import-not-found]
from lab_client.models import ClassifyDigitBody, Error, PredictRequest  # type: ignore[import-not-found]
from lab_client.types import File  # type: ignore[import-not-found]


def lines(url: str) -> list[str]:
    client = Client(base_url=url, raise_on_unexpected_status=True)
    with Path("digit.png").open("rb") as image:
        body = ClassifyDigitBody(image=File(payload=image, file_name="digit.png"))
        found = classify_digit.sync("mnist-net", client=client, body=body, limit=1)
    first = found.classification_result[0]
    predicted = predict.sync("half-net", client=client, body=PredictRequest(inputs=[1.0, 2.0]))
    refused = predict.sync("missing-net", client=client, body=PredictRequest(inputs=[1.0]))
    models = list_models.sync(client=client)["models"]
    return [
        f"{first.digit} {first.probability}",
        str(predicted.outputs["y"]),
        f"{isinstance(refused, Error)} {refused.code}",
        str(sorted(model["name"] for model in models)),
        str(show_client.sync("mnist-net", client=client).startswith('"""')),
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines(sys.argv[1])))
