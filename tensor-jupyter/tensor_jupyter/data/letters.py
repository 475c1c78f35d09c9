"""Letters from A to J: notMNIST from its archive, or rendered letters without a network.

notMNIST (Yaroslav Bulatov) is cut from fonts: 28x28, light on dark, each letter filling its image, a few
files broken.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tensor_jupyter.data.archive import read_archive
from tensor_jupyter.data.dataset import Dataset, ImageSpec, LabelledImages
from tensor_jupyter.data.download import Remote, fetch, problem
from tensor_jupyter.data.synthetic import varied
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

LETTERS = "ABCDEFGHIJ"

ARCHIVE = Remote("notMNIST_small.tar.gz", size=8_458_043, md5="c9890a473a9769fda4bdf314aaf500dd")
"""Only its size and MD5 are published, so the SHA-256 of the first download is kept to check later ones."""

VARIATIONS = 20
"""How many images of each letter in each font are rendered."""

_SIDE = 28
_LARGE = 112  # pixels; letters are drawn at this size and then reduced
_EVERY = 5  # every fifth font is for testing, so that letters are tested in fonts that were not trained on
# Matplotlib's fonts, without those of symbols.
_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
)


def load_notmnist(settings: Settings) -> Dataset:
    """notMNIST's small set from LAB_DATA/notmnist, else downloaded; without a network rendered letters."""
    try:
        path = cached(settings)
    except LabError as error:
        return rendered_letters(str(error).rstrip("."))
    # Read without a polarity: else a bold letter that fills its image would be taken for the ground, and inverted.
    return replace(read_archive(path, ImageSpec(_SIDE, _SIDE, 1), "notmnist"), polarity="light-on-dark")


def cached(settings: Settings) -> Path:
    """The archive in LAB_DATA, downloaded if need be. Raises LabError."""
    path = settings.data / "notmnist" / ARCHIVE.name
    if problem(path, ARCHIVE):
        if settings.offline:
            raise LabError(f"notmnist is not in {settings.data}, and LAB_OFFLINE is set.")
        return fetch(ARCHIVE, settings.notmnist_mirrors, path.parent)
    return path


def rendered_letters(reason: str) -> Dataset:
    """The offline set: ten letters in 21 fonts, turned, slanted, scaled, moved, blurred, noisy; always the same."""
    random = np.random.default_rng(7)
    fonts = _fonts()
    images, labels, test = [], [], []
    for number, font in enumerate(fonts):
        for label, letter in enumerate(LETTERS):
            drawn = _drawn(letter, font)
            images += [varied(drawn, random, _SIDE, turn=0.2, slant=0.25, scale=0.15) for _ in range(VARIATIONS)]
            labels += [label] * VARIATIONS
            test += [number % _EVERY == _EVERY - 1] * VARIATIONS
    every, held_out = LabelledImages(np.stack(images)[..., np.newaxis], np.array(labels, np.int64)), np.array(test)
    return Dataset(
        name="rendered-letters",
        labels=tuple(LETTERS),
        train=every.take(~held_out),
        test=every.take(held_out),
        split=f"every fifth of {len(fonts)} fonts is test",
        message=f"Offline data: letters rendered in {len(fonts)} fonts instead of notMNIST. Why: {reason}.",
        polarity="light-on-dark",
        stand_in_for="notmnist",
    )


def _fonts() -> list[ImageFont.FreeTypeFont]:
    """Matplotlib's, and the one that Pillow brings."""
    import matplotlib as mpl

    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    size = round(0.8 * _LARGE)
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), size) for name in _FONTS]
    own = ImageFont.load_default(size)
    return [*fonts, own] if isinstance(own, ImageFont.FreeTypeFont) else fonts


def _drawn(letter: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The letter, light on dark, enlarged until it fills the image."""
    left, top, right, bottom = font.getbbox(letter)
    glyph = Image.new("L", (round(right - left) + 2, round(bottom - top) + 2))
    ImageDraw.Draw(glyph).text((1 - left, 1 - top), letter, fill=255, font=font)
    scale = _LARGE / max(glyph.size)
    fitted = glyph.resize([max(1, round(side * scale)) for side in glyph.size])
    canvas = Image.new("L", (_LARGE, _LARGE))
    canvas.paste(fitted, ((_LARGE - fitted.width) // 2, (_LARGE - fitted.height) // 2))
    return canvas
