"""Pictures as other hands and other cameras would have made them: turned, slanted, moved, scaled, thick, thin,
blurred, coarse."""

import keras
import tensorflow as tf
from keras import layers

_COARSE = 11  # pixels: some pictures look as if enlarged from as few


def batches(images: object, labels: object, batch_size: int, seed: int) -> tf.data.Dataset:
    """Endless variety over (uint8 [N, H, W, C], int [N]): shuffled batches, each picture changed anew every epoch."""
    warp = keras.Sequential(
        [
            layers.RandomRotation(15 / 360, fill_mode="constant", seed=seed),
            layers.RandomShear(0.25, 0.05, fill_mode="constant", seed=seed + 1),
            layers.RandomZoom((-0.1, 0.15), (-0.1, 0.35), fill_mode="constant", seed=seed + 2),
            layers.RandomTranslation(0.06, 0.06, fill_mode="constant", seed=seed + 3),
        ]
    )

    def change(pictures: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        changed = _strokes(warp(tf.cast(pictures, tf.float32), training=True))
        return tf.cast(tf.round(tf.clip_by_value(changed, 0, 255)), tf.uint8), classes

    pairs = tf.data.Dataset.from_tensor_slices((images, labels))
    return pairs.shuffle(len(pairs), seed=seed).batch(batch_size).map(change).prefetch(tf.data.AUTOTUNE)


def _strokes(pictures: tf.Tensor) -> tf.Tensor:
    """Each picture's strokes made thicker or thinner, softer and fainter or stronger, by an amount of its own."""
    shape = [tf.shape(pictures)[0], 1, 1, 1]
    weight = tf.random.uniform(shape, -0.7, 1.3)
    thick = tf.nn.max_pool2d(pictures, 3, 1, "SAME")
    thin = -tf.nn.max_pool2d(-pictures, 2, 1, "SAME")
    pictures += tf.nn.relu(weight) * (thick - pictures) + tf.nn.relu(-weight) * (thin - pictures)
    blurred = tf.nn.avg_pool2d(pictures, 3, 1, "SAME")
    pictures += tf.random.uniform(shape, 0.0, 0.8) * (blurred - pictures)
    coarse = tf.image.resize(tf.image.resize(pictures, [_COARSE, _COARSE], "area"), pictures.shape[1:3])
    pictures = tf.where(tf.random.uniform(shape) < 0.3, coarse, pictures)
    return pictures * tf.random.uniform(shape, 0.9, 1.6)
