"""MLServer with its adaptive batching: images as bytes in its own protocol in, scores out."""

import digits
import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Digits(MLModel):
    """One model in each worker."""

    async def load(self) -> bool:
        """Load it."""
        self.model = digits.Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Scores of the images in the first input."""
        images = Base64Codec.decode_input(payload.inputs[0])
        scores = self.model(np.stack([digits.pixels(image) for image in images]))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
