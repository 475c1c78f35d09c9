"""One image file to the form that a model takes: turned upright, eight bits, sized, with the right polarity."""

import io

import numpy as np
import pytest
from PIL import Image

from tensor_jupyter.data import ImageSpec, image_files


def file_of(colour, mode="RGB", kind="PNG", **more):
    """The bytes of an image of one colour, 20 wide and 10 high."""
    file = io.BytesIO()
    Image.new(mode, (20, 10), colour).save(file, kind, **more)
    return file.getvalue()


def test_an_image_on_its_side_is_turned():
    """Orientation 6: the first row of the file is the right edge of the image."""
    lying = Image.new("L", (40, 20))
    lying.paste(255, (0, 0, 40, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    lying.save(file, "PNG", exif=exif)
    assert image_files.measure(file) == (40, 20, 1)
    read = image_files.read(file.getvalue(), ImageSpec(40, 20, 1))
    assert (read[:, 10:] == 255).all()
    assert (read[:, :10] == 0).all()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (file_of((0, 0, 0, 0), mode="RGBA"), [255, 255, 255]),
        (file_of(40_000, mode="I;16"), [156] * 3),
        (file_of(1, mode="P"), None),
        (file_of((10, 20, 30), mode="RGB", kind="WEBP", lossless=True), [10, 20, 30]),
    ],
    ids=["transparent", "16 bits", "palette", "webp"],
)
def test_every_kind_of_image_becomes_eight_bits(content, expected):
    read = image_files.read(content, ImageSpec(4, 4, 3))
    assert (read.shape, read.dtype) == ((4, 4, 3), np.uint8)
    if expected:
        assert read[0, 0].tolist() == expected


def test_a_drawing_is_brought_to_what_mnist_looks_like():
    """A dark bar on light paper, 100x200: light on dark, fitted into the 20x20 box, in the middle."""
    paper = Image.new("L", (200, 100), 230)
    paper.paste(20, (150, 20, 170, 60))
    file = io.BytesIO()
    paper.save(file, "PNG")
    read = image_files.read(file.getvalue(), ImageSpec(28, 28, 1, "light-on-dark", "mnist"))[..., 0]
    rows, columns = np.nonzero(read > 128)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 23, 9, 18)
    assert read[0, 0] == 0


@pytest.mark.parametrize("polarity", ["light-on-dark", "dark-on-light", None])
def test_an_image_of_the_right_size_is_only_given_the_polarity(polarity):
    dark_on_light = Image.new("L", (28, 28), 250)
    dark_on_light.putpixel((14, 14), 40)
    read = image_files.fit(dark_on_light, ImageSpec(28, 28, 1, polarity, "mnist"))[..., 0]
    assert (read[0, 0], read[14, 14]) == ((5, 215) if polarity == "light-on-dark" else (250, 40))
