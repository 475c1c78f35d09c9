"""Flask with the model in process, for gunicorn."""

import digits
import flask
import numpy as np

app = flask.Flask(__name__)
model = digits.Model()


@app.post("/classify")
def classify() -> flask.Response:
    """Return the best digits of an image."""
    scores = model(digits.pixels(flask.request.files["image"].read())[np.newaxis])
    return flask.jsonify(digits.answer(scores[0]))
