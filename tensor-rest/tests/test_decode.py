"""Untrusted bytes: what is an image, what is refused, and that bounds come before decoding."""

import contextlib
import io
import tracemalloc
import warnings
from collections.abc import Callable

import bombs
import numpy as np
import pytest
from gateway_kit import image_file
from PIL import Image

from tensor_rest.errors import ApiError, BadRequestError, TooLargeError, UnsupportedMediaError
from tensor_rest.images import decode as decoding
from tensor_rest.images.decode import decode, prepare
from tensor_rest.images.formats import FORMATS
from tensor_rest.images.preprocess import ImageInput, fit

LIMIT = 16_000_000


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def levels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, LIMIT))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_is_read(kind: str) -> None:
    image = decode(image_file(60, (30, 20), kind), LIMIT)
    assert image.size == (30, 20)
    assert abs(float(np.asarray(image.convert("L")).mean()) - 60) < 2


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"", BadRequestError, "empty"),
        (b"hello, I am no image", UnsupportedMediaError, ", ".join(FORMATS)),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedMediaError, "not an image"),
        (image_file(60, kind="PCX"), UnsupportedMediaError, "not an image"),
        (image_file(60)[:10], BadRequestError, "cut off"),
        (image_file(60, (300, 300))[:-60], BadRequestError, "cut off"),
        (image_file(60, (300, 300), "JPEG")[:700], BadRequestError, "cut off"),
        (image_file(60, (300, 300), "GIF")[:30], BadRequestError, "cut off"),
        (image_file(60, (300, 300), "BMP")[:200], BadRequestError, "cut off"),
        (image_file(60, (300, 300), "WEBP")[:40], BadRequestError, "broken"),
    ],
)
def test_what_is_no_whole_image_is_refused(data: bytes, error: type[ApiError], text: str) -> None:
    with pytest.raises(error, match=text):
        decode(data, LIMIT)


def test_an_image_of_too_many_pixels_is_refused_from_its_header() -> None:
    bomb = bombs.png_pixels()
    assert len(bomb) < 200_000
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="13000 x 13000"):
        decode(bomb, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_the_limit_of_pixels_is_the_last_that_passes() -> None:
    assert decode(image_file(60, (20, 30)), 600).size == (20, 30)
    with pytest.raises(TooLargeError):
        decode(image_file(60, (20, 30)), 599)


def test_large_images_are_shrunk_keeping_their_shape() -> None:
    for kind in ("PNG", "JPEG"):
        width, height = decode(image_file(60, (3000, 1500), kind), LIMIT).size
        assert max(width, height) <= 1024
        assert abs(width / height - 2) < 0.01


def test_exif_orientation_is_applied() -> None:
    image = Image.new("L", (40, 20), 0)
    image.paste(255, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    turned = levels(saved(image, "JPEG", exif=exif, quality=95))
    assert turned.shape == (40, 20)
    assert turned[:18].mean() > 250
    assert turned[22:].mean() < 5


def test_transparency_shows_what_was_drawn() -> None:
    dark = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    dark.paste((0, 0, 0, 255), (4, 0, 6, 10))
    light = Image.new("RGBA", (10, 10), (255, 255, 255, 0))
    light.paste((255, 255, 255, 255), (4, 0, 6, 10))
    for image, ink, ground in ((dark, 0, 255), (light, 255, 0)):
        flat = levels(saved(image))
        assert flat[0, 5].tolist() == [ink] * 3
        assert flat[0, 0].tolist() == [ground] * 3


def test_transparency_of_grey_and_palette_images() -> None:
    grey = Image.new("LA", (10, 10), (0, 0))
    grey.paste((0, 255), (4, 0, 6, 10))
    assert levels(saved(grey))[0].tolist() == [255] * 4 + [0] * 2 + [255] * 4
    palette = Image.new("P", (10, 10), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.paste(0, (4, 0, 6, 10))
    flat = levels(saved(palette, transparency=1))
    assert flat[0, 0].tolist() == [255, 255, 255]
    assert flat[0, 5].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: saved(Image.fromarray(np.full((4, 4), 0x8000, np.uint16))), 128),
        (lambda: saved(Image.new("1", (4, 4), 1)), 255),
        (lambda: saved(Image.new("L", (4, 4), 77)), 77),
        (lambda: saved(Image.new("P", (4, 4), 0)), 0),
        (lambda: saved(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG"), 0),
    ],
    ids=["16 bit", "1 bit", "grey", "palette", "CMYK"],
)
def test_every_depth_becomes_eight_bits(make: Callable[[], bytes], wanted: int) -> None:
    flat = decode(make(), LIMIT)
    assert flat.mode in ("L", "RGB")
    assert abs(float(np.asarray(flat).mean()) - wanted) <= 1


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("L", (8, 8), level) for level in (60, 200)]
    for kind in ("GIF", "PNG", "WEBP"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert abs(float(np.asarray(decode(data, LIMIT).convert("L")).mean()) - 60) < 3


def test_damaged_images_are_refused_or_read_but_never_crash() -> None:
    """A seeded byte fuzzer over every format: nothing but a refusal may come out."""
    random = np.random.default_rng(7)
    gradient = Image.fromarray(np.arange(32 * 32, dtype=np.uint16).reshape(32, 32).astype(np.uint8))
    seeds = [saved(gradient, kind) for kind in FORMATS] + [saved(gradient.convert("RGBA"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of corrupt EXIF and the like
        for index in range(1500):
            data = bytearray(seeds[index % len(seeds)])
            for position in random.integers(0, len(data), 1 + index % 5):
                data[position] = random.integers(0, 256)
            cut = random.integers(1, len(data) + 1) if index % 3 == 0 else len(data)
            with contextlib.suppress(BadRequestError, TooLargeError, UnsupportedMediaError):
                decode(bytes(data[:cut]), 1_000_000)


# ---- the fast way of ordinary JPEGs


def noise(width: int, height: int, mode: str) -> Image.Image:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(1).integers(90, 180, shape, np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_fast_way_gives_the_same_pixels(mode: str, subsampling: int, channels: int) -> None:
    for width, height in ((28, 28), (97, 61), (300, 200)):
        for quality in (40, 75, 95):
            data = saved(noise(width, height, mode), "JPEG", quality=quality, subsampling=subsampling)
            assert decoding._plain_jpeg(data, channels, LIMIT) is not None
            for wanted in (ImageInput(height, width, channels), ImageInput(28, 28, channels, "dark-on-light")):
                assert np.array_equal(prepare(data, wanted, LIMIT), fit(decode(data, LIMIT), wanted))


def test_the_fast_way_leaves_to_the_other_what_needs_care() -> None:
    whole = noise(40, 30, "RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = saved(whole, "JPEG", exif=exif)
    assert prepare(turned, ImageInput(40, 30, 3), LIMIT).shape == (40, 30, 3)
    plain = saved(whole, "JPEG")
    for data in (
        turned,
        saved(whole, "JPEG", progressive=True),
        saved(whole.convert("CMYK"), "JPEG"),
        saved(noise(1100, 20, "L"), "JPEG"),
        plain[:-40],
        plain[:60],
    ):
        assert decoding._plain_jpeg(data, 3, LIMIT) is None
    with pytest.raises(BadRequestError, match="cut off"):
        prepare(plain[:-40], ImageInput(30, 40, 3), LIMIT)
    with pytest.raises(TooLargeError, match="40 x 30"):
        prepare(plain, ImageInput(30, 40, 3), 1000)
