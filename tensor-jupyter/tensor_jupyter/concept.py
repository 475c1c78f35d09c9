"""A concept model: an autoencoder trained on one kind of images, whose error shows how foreign an image is."""

import keras
import numpy as np
from PIL import Image

from tensor_jupyter.training.batches import in_order


def reconstruct(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the autoencoder's reconstructions of the images: uint8 [N, H, W, C], the shape of `images`."""
    autoencoder = keras.Model(model.inputs[0], model.get_layer("reconstruction").output)
    shares = autoencoder.predict(in_order(images), verbose=0)  # float, 0 to 1
    levels: np.ndarray = (255 * shares).round().clip(0, 255).astype(np.uint8)
    return levels.reshape(images.shape)


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The area under the ROC curve: the probability that a foreign image has the higher error; 0.5 is chance.

    inside, outside: reconstruction errors, float [N] and [M].
    """
    from sklearn.metrics import roc_auc_score

    foreign = np.repeat([False, True], [len(inside), len(outside)])
    return float(roc_auc_score(foreign, np.concatenate([inside, outside])))


def turned(images: np.ndarray, degrees: float) -> np.ndarray:
    """The images rotated counter-clockwise, as by a tilted camera, with dark corners. uint8 [N, H, W, 1]."""
    flat = (Image.fromarray(image[..., 0]).rotate(degrees, Image.Resampling.BILINEAR) for image in images)
    return np.stack([np.asarray(image) for image in flat])[..., np.newaxis]
