"""FastAPI with the model in process. A model call is short, so it runs on the loop: a thread pool would cost more."""

from typing import Any

import digits
import numpy as np
from fastapi import FastAPI, UploadFile

app = FastAPI()
model = digits.Model()


@app.post("/classify")
async def classify(image: UploadFile) -> dict[str, Any]:
    """Return the best digits of an image."""
    scores = model(digits.pixels(await image.read())[np.newaxis])
    return digits.answer(scores[0])
