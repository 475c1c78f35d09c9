"""An image becomes what a model takes: size, polarity, centring."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from tensor_rest.errors import BadRequestError
from tensor_rest.images.preprocess import ImageInput, Polarity, fit

MNIST = ImageInput(28, 28, 1, "light-on-dark", "mnist")


def drawn(size: tuple[int, int], box: tuple[int, int, int, int], ink: int = 0, ground: int = 255) -> Image.Image:
    image = Image.new("L", size, ground)
    ImageDraw.Draw(image).rectangle(box, fill=ink)
    return image


def box_of(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what is lit, inclusive."""
    rows, columns = np.nonzero(pixels[..., 0] > 50)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_an_image_of_the_right_size_is_untouched() -> None:
    pixels = np.arange(784, dtype=np.uint16).reshape(28, 28).astype(np.uint8)
    pixels[0] = pixels[-1] = pixels[:, 0] = pixels[:, -1] = 3
    assert (fit(Image.fromarray(pixels), MNIST)[..., 0] == pixels).all()


def test_a_light_background_is_inverted_for_a_light_on_dark_model() -> None:
    pixels = np.full((28, 28), 250, np.uint8)
    pixels[10:18, 10:18] = 5
    result = fit(Image.fromarray(pixels), MNIST)
    assert result[0, 0, 0] == 5
    assert result[14, 14, 0] == 250


@pytest.mark.parametrize(("ground", "ink"), [(0, 255), (255, 0)])
def test_a_dark_on_light_model_gets_dark_on_light(ground: int, ink: int) -> None:
    wanted = ImageInput(28, 28, 1, "dark-on-light", "mnist")
    for size in ((28, 28), (100, 100)):
        side = size[0]
        box = (side // 3, side // 4, side // 2, 3 * side // 4)
        result = fit(drawn(size, box, ink, ground), wanted)
        assert result[0, 0, 0] == 255
        assert result.min() == 0


def test_a_model_without_polarity_gets_the_image_as_it_is() -> None:
    image = drawn((28, 28), (10, 10, 17, 17))
    assert (fit(image, ImageInput(28, 28, 1))[..., 0] == np.asarray(image)).all()


@pytest.mark.parametrize("size", [(280, 280), (1000, 400), (40, 900)])
@pytest.mark.parametrize("at", [(3, 5), (20, 60)])
def test_a_drawn_glyph_fills_twenty_pixels_with_its_mass_in_the_middle(
    size: tuple[int, int], at: tuple[int, int]
) -> None:
    left, top = at
    result = fit(drawn(size, (left, top, left + 11, top + 39)), MNIST)  # 12 x 40: becomes 6 x 20
    assert box_of(result) == (11, 4, 16, 23)
    assert result.max() == 255


def test_the_centre_of_mass_not_of_the_box_is_in_the_middle() -> None:
    image = drawn((200, 200), (20, 50, 99, 129))
    ImageDraw.Draw(image).rectangle((100, 88, 179, 91), fill=0)  # a thin arm to the right weighs little
    lit = fit(image, MNIST)[..., 0].astype(float)
    columns = (lit.sum(axis=0) * (np.arange(28) + 0.5)).sum() / lit.sum()
    left, _, right, _ = box_of(lit[..., None])
    assert abs(columns - 14) <= 1
    assert (left + right) / 2 > 15.5


def test_a_photograph_is_cleaned_of_its_background() -> None:
    random = np.random.default_rng(1)
    paper = random.normal(190, 6, (300, 300)).clip(0, 255).astype(np.uint8)
    paper[100:200, 140:160] = 60
    result = fit(Image.fromarray(paper), MNIST)[..., 0]
    assert result[:3].max() == 0
    assert result[:, :8].max() == 0
    assert result[14, 14] > 200


@pytest.mark.parametrize("size", [(100, 100), (28, 28)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_image_is_refused_where_a_glyph_is_wanted(size: tuple[int, int], level: int) -> None:
    blank = Image.new("L", size, level)
    with pytest.raises(BadRequestError, match="Nothing is drawn"):
        fit(blank, MNIST)
    assert fit(blank, ImageInput(28, 28, 1)).mean() == level


def test_a_dot_of_one_pixel_is_not_a_glyph() -> None:
    with pytest.raises(BadRequestError, match="Nothing is drawn"):
        fit(drawn((300, 300), (10, 10, 10, 10)), MNIST)


def test_colour_models_get_three_channels_of_any_image() -> None:
    wanted = ImageInput(8, 4, 3)
    red = fit(Image.new("RGB", (40, 40), (200, 0, 0)), wanted)
    assert red.shape == (8, 4, 3)
    assert red[0, 0].tolist() == [200, 0, 0]
    assert fit(Image.new("L", (40, 40), 90), wanted)[0, 0].tolist() == [90, 90, 90]
    assert fit(Image.new("RGB", (28, 28), (255, 255, 255)), ImageInput(28, 28, 1))[0, 0].tolist() == [255]


@settings(deadline=None)  # the machine may be busy
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 120), st.integers(1, 120)), elements=st.integers(0, 255)),
    st.sampled_from(["light-on-dark", "dark-on-light", None]),
)
def test_any_image_becomes_the_models_input(pixels: np.ndarray, polarity: Polarity | None) -> None:
    try:
        result = fit(Image.fromarray(pixels), ImageInput(28, 28, 1, polarity, "mnist"))
    except BadRequestError:
        return  # nothing that stands out
    assert result.shape == (28, 28, 1)
    assert result.dtype == np.uint8


def test_a_bright_speck_beside_a_faint_glyph_is_no_trouble() -> None:
    random = np.random.default_rng(2)
    sheet = random.integers(60, 90, (400, 400)).astype(np.uint8)
    sheet[200:280, 200:220] = 110
    sheet[20, 20] = 255
    assert fit(Image.fromarray(sheet), MNIST).shape == (28, 28, 1)
