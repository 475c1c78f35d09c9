"""Augmentation: vary images as if drawn by other people or taken by other cameras.

No random state is kept: the same seed, epoch and step give the same images, so that a resumed run continues as if it
had never stopped.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tensor_jupyter.data import Dataset
from tensor_jupyter.training.batches import prepared_ahead
from tensor_jupyter.training.run import Run

Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""change(images float32 [N, H, W, C] from 0 to 255, seed int32 [2]): the same images, each varied in its way."""


def batches(
    images: np.ndarray, targets: np.ndarray, size: int, seed: int, change: Change | None, rounds: range
) -> tuple[tf.data.Dataset, int]:
    """Return the batches of all `rounds`, and the number of batches in a round.

    A batch is a pair (uint8 [B, H, W, C], targets [B, ...]). size: B; the last batch of a round may be smaller. A round
    contains every image once, shuffled, and varied by `change`.
    """
    # Gathered by row from tensors: slicing 55,000 images one by one costs more than varying them.
    images, answers = tf.constant(images), tf.constant(targets)
    count = len(images)

    def pick(number: tf.Tensor, step: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = tf.gather(images, rows)
        if change:
            drawn = tf.cast(tf.stack([seed * 7919 + number, step]), tf.int32)
            varied = change(tf.cast(chosen, tf.float32), drawn)
            chosen = tf.cast(tf.round(tf.clip_by_value(varied, 0, 255)), tf.uint8)
        return tf.ensure_shape(chosen, (None, *images.shape[1:])), tf.gather(answers, rows)

    def one_round(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=tf.stack([number, seed]))
        rows = tf.data.Dataset.from_tensor_slices(order).batch(size).enumerate()
        return rows.map(lambda step, rows: pick(number, step, rows), num_parallel_calls=2, deterministic=True)

    pairs = tf.data.Dataset.range(rounds.start, rounds.stop).flat_map(one_round)
    return prepared_ahead(pairs), math.ceil(count / size)


def change_for(run: Run, data: Dataset, strength: float = 1.0) -> Change | None:
    """How the run varies the images of `data`; None if it does not. strength: of the distortion of digits, 0 to 1."""
    kind = run.augmentation
    if kind == "auto":
        kind = "none" if run.network == "autoencoder" else "digits" if data.centering == "mnist" else "photographs"
    if kind == "none":
        return None
    if kind == "photographs":
        return photographs
    return functools.partial(dark_digits if data.polarity == "dark-on-light" else digits, strength=strength)


def digits(images: tf.Tensor, seed: tf.Tensor, strength: float = 1.0) -> tf.Tensor:
    """Vary light glyphs on dark: rotate, shear, move and scale all, bend half, change the strokes of half.

    strength: of all changes but those of the strokes.
    """
    scale = (1 - 0.13 * strength, 1 + 0.3 * strength), (1 - 0.13 * strength, 1 + 0.18 * strength)
    shear = 0.25 * strength, 0.05 * strength
    moved = _warp(images, seed, 13 * strength, shear, scale, 0.07 * strength, "CONSTANT")
    moved = _bent(moved, seed, 2.5 * strength)
    return tf.where(_uniform(images, seed, 24) < 0.5, moved, _strokes(moved, seed))


def dark_digits(images: tf.Tensor, seed: tf.Tensor, strength: float = 1.0) -> tf.Tensor:
    """The same for dark glyphs on light."""
    return 255 - tf.clip_by_value(digits(255 - images, seed, strength), 0, 255)


def photographs(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Vary photographs: mirror half; rotate, shift and scale all a little; change brightness, contrast and colour."""
    mirrored = tf.where(_uniform(images, seed, 10) < 0.5, images, images[:, :, ::-1])
    moved = _warp(mirrored, seed, 10, (0.0, 0.0), ((0.8, 1.1), (0.8, 1.1)), 0.08, "REFLECT")
    grey = tf.reduce_mean(moved, axis=3, keepdims=True)
    coloured = grey + _uniform(images, seed, 11, 0.7, 1.3) * (moved - grey)
    mean = tf.reduce_mean(coloured, axis=(1, 2, 3), keepdims=True)
    return mean * _uniform(images, seed, 12, 0.8, 1.2) + _uniform(images, seed, 13, 0.8, 1.2) * (coloured - mean)


def _warp(
    images: tf.Tensor,
    seed: tf.Tensor,
    degrees: float,
    shear: tuple[float, float],
    scale: tuple[tuple[float, float], tuple[float, float]],
    shift: float,
    fill: str,
) -> tf.Tensor:
    """Apply one random affine transformation about the middle, so that images are interpolated once.

    degrees: the largest rotation. shear: the largest along x and y. scale: the ranges along x and y; above 1 makes
    the image smaller. shift: the largest, as a part of the side. fill: what is beyond the edge, zeros (CONSTANT) or
    the mirrored image (REFLECT).
    """
    height, width = images.shape[1:3]

    def draw(number: int, low: float, high: float) -> tf.Tensor:
        return _uniform(images, seed, number, low, high)[:, 0, 0, 0]

    turn = draw(0, -math.radians(degrees), math.radians(degrees))
    across, down = draw(1, -shear[0], shear[0]), draw(2, -shear[1], shear[1])
    wide, high = draw(3, *scale[0]), draw(4, *scale[1])
    cos, sin = tf.cos(turn), tf.sin(turn)
    a, b = wide * (cos - sin * down), high * (cos * across - sin)
    c, d = wide * (sin + cos * down), high * (sin * across + cos)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x = middle_x - a * middle_x - b * middle_y + draw(5, -shift, shift) * width
    y = middle_y - c * middle_x - d * middle_y + draw(6, -shift, shift) * height
    nothing = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, x, c, d, y, nothing, nothing], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill,
    )


def _bent(images: tf.Tensor, seed: tf.Tensor, most: float) -> tf.Tensor:
    """Distort half of the images elastically (Simard 2003): by smooth shifts of up to `most` pixels."""
    height, width, channels = images.shape[1:]
    count = tf.shape(images)[0]
    coarse = tf.random.stateless_uniform([count, 5, 5, 2], seed + tf.constant([0, 30_000_030]), -1.0, 1.0)
    field = tf.image.resize(coarse, (height, width), "bicubic")
    strength = most * height / 28 * tf.nn.relu(_uniform(images, seed, 31, -1.0, 1.0))
    rows, columns = tf.meshgrid(tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32), indexing="ij")
    places = tf.stack([rows, columns], axis=-1) + strength * field
    places = tf.clip_by_value(places, 0.0, tf.constant([height - 1.001, width - 1.001]))
    corner = tf.floor(places)
    down, right = tf.split(places - corner, 2, axis=-1)
    first = tf.cast(corner[..., 0] * width + corner[..., 1], tf.int32)
    flat = tf.reshape(images, [count, height * width, channels])

    def pixel(offset: int) -> tf.Tensor:
        return tf.gather(flat, first + offset, axis=1, batch_dims=1)

    above = pixel(0) * (1 - right) + pixel(1) * right
    below = pixel(width) * (1 - right) + pixel(width + 1) * right
    return above * (1 - down) + below * down


def _strokes(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Change each image's strokes: thicker or thinner, softer and fainter or stronger, some coarse or with noise."""
    weight = _uniform(images, seed, 20, -1.0, 1.3)
    thick = tf.nn.max_pool2d(images, 3, 1, "SAME")
    thin = -tf.nn.max_pool2d(-images, 2, 1, "SAME")
    images += tf.nn.relu(weight) * (thick - images) + tf.nn.relu(-weight) * (thin - images)
    blurred = tf.nn.avg_pool2d(images, 3, 1, "SAME")
    images += _uniform(images, seed, 21, -0.4, 0.8) * (blurred - images)
    few = [max(1, side * 11 // 28) for side in images.shape[1:3]]  # some look as if enlarged from 11 pixels
    coarse = tf.image.resize(tf.image.resize(images, few, "area"), images.shape[1:3])
    images = tf.where(_uniform(images, seed, 22) < 0.3, coarse, images)
    images *= _uniform(images, seed, 23, 0.6, 1.6)
    noise = tf.random.stateless_normal(tf.shape(images), seed + tf.constant([0, 32_000_032]))
    return images + tf.nn.relu(_uniform(images, seed, 25, -30.0, 15.0)) * noise


def _uniform(images: tf.Tensor, seed: tf.Tensor, number: int, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
    """One number for each image, [N, 1, 1, 1]; `number` makes this draw differ from others of the same seed."""
    mixed = seed + tf.constant([0, number * 1_000_003], tf.int32)
    return tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], mixed, low, high)
