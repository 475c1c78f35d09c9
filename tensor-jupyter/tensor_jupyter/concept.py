"""A concept model: an autoencoder that knows one world of pictures, and says how foreign a picture is to it."""

import keras
import numpy as np
from PIL import Image


def reconstruct(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The pictures as the autoencoder draws them again: uint8, of the shape of `images`, [N, H, W, C]."""
    decoder = keras.Model(model.inputs[0], model.get_layer("reconstruction").output)
    again = decoder.predict(images, batch_size=512, verbose=0)
    return (255 * again).round().clip(0, 255).astype(np.uint8).reshape(images.shape)


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The area under the ROC curve: how likely a foreign picture has the higher error; 0.5 is a coin, 1 perfect.

    inside, outside: reconstruction errors, float [N] and [M].
    """
    from sklearn.metrics import roc_auc_score

    foreign = np.repeat([False, True], [len(inside), len(outside)])
    return float(roc_auc_score(foreign, np.concatenate([inside, outside])))


def turned(images: np.ndarray, degrees: float) -> np.ndarray:
    """The pictures as a camera that hangs askew takes them: counter-clockwise, dark outside. uint8 [N, H, W, 1]."""
    flat = (Image.fromarray(image[..., 0]).rotate(degrees, Image.Resampling.BILINEAR) for image in images)
    return np.stack([np.asarray(image) for image in flat])[..., np.newaxis]
