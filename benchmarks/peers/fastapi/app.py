"""FastAPI with the model in process. The call is short, so it runs on the loop: a thread pool costs more than it."""

from typing import Any

import digits
import numpy as np
from fastapi import FastAPI, UploadFile

app = FastAPI()
model = digits.Model()


@app.post("/classify")
async def classify(image: UploadFile) -> dict[str, Any]:
    """Which digit is this?"""
    scores = model(digits.pixels(await image.read())[np.newaxis])
    return digits.answer(scores[0])
