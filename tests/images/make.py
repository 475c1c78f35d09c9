"""Write the table of images and the pixels they become: `python tests/images/make.py`, then read the difference.

`table.json` lists for each case the file, what a model takes, and the golden pixels (a PNG) or the error. The tests of
tensor-rest and of tensor-jupyter both read it: the gateway serves what the workbench trains on.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tensor_rest.errors import BadRequestError
from tensor_rest.images.decode import prepare
from tensor_rest.images.preprocess import ImageInput

HERE = Path(__file__).resolve().parent
MNIST = {"height": 28, "width": 28, "channels": 1, "polarity": "light-on-dark", "centering": "mnist"}


def drawn(mode: str, ground: Any, stroke: Any, side: int = 60, width: int = 5) -> Image.Image:
    """A seven."""
    image = Image.new(mode, (side, side), ground)
    points = [(side * 0.25, side * 0.2), (side * 0.7, side * 0.2), (side * 0.4, side * 0.8)]
    ImageDraw.Draw(image).line(points, fill=stroke, width=width, joint="curve")
    return image


def saved(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def colours(width: int = 16, height: int = 12) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([rows * 20, columns * 15, rows * columns], axis=-1).astype(np.uint8))


def palette() -> Image.Image:
    image = drawn("P", 1, 0, 24, 3)
    image.putpalette([20, 40, 160, 255, 0, 0])
    return image


def sixteen(depth: int) -> Image.Image:
    levels = np.asarray(drawn("L", 0, 255, 28, 3)).astype(np.uint32) * ((1 << depth) - 1) // 255
    return Image.fromarray(levels.astype(np.uint16))


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # by 90 degrees clockwise
    return exif


def shaded(levels: Image.Image, noise: float = 0) -> Image.Image:
    grey = np.asarray(levels).astype(float)
    grey *= np.linspace(0.6, 1, grey.shape[1])
    grey += np.random.default_rng(1).normal(0, noise, grey.shape)
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


def framed(levels: Image.Image) -> Image.Image:
    pen = ImageDraw.Draw(levels)
    side = levels.width
    pen.rectangle((0, 0, side - 1, side - 1), outline=0, width=3)
    return levels


def specked(levels: Image.Image) -> Image.Image:
    ImageDraw.Draw(levels).rectangle((4, 4, 6, 6), fill=0)
    return levels


def as_it_is(image: Image.Image, channels: int = 3) -> dict[str, Any]:
    return {"height": image.height, "width": image.width, "channels": channels, "polarity": None, "centering": "none"}


def frames(kind: str, **more: Any) -> bytes:
    return saved(drawn("L", 255, 0, 24), kind, save_all=True, append_images=[Image.new("L", (24, 24), 9)], **more)


CASES: dict[str, Callable[[], tuple[str, bytes, dict[str, Any]]]] = {
    # decoding: every mode and format becomes 8 bits, upright, without alpha
    "rgb": lambda: ("png", saved(colours()), as_it_is(colours())),
    "rgb-to-grey": lambda: ("png", saved(colours()), as_it_is(colours(), 1)),
    "grey": lambda: ("png", saved(drawn("L", 200, 30, 24)), as_it_is(drawn("L", 0, 0, 24), 1)),
    "grey-to-rgb": lambda: ("png", saved(drawn("L", 200, 30, 24)), as_it_is(drawn("L", 0, 0, 24))),
    "one-bit": lambda: ("png", saved(drawn("1", 1, 0, 24)), as_it_is(drawn("1", 0, 0, 24), 1)),
    "palette": lambda: ("png", saved(palette()), as_it_is(palette())),
    "palette-transparent": lambda: ("png", saved(palette(), transparency=1), as_it_is(palette())),
    "cmyk": lambda: ("jpg", saved(colours().convert("CMYK"), "JPEG"), as_it_is(colours())),
    "jpeg": lambda: ("jpg", saved(colours(), "JPEG"), as_it_is(colours())),
    "jpeg-grey": lambda: ("jpg", saved(colours().convert("L"), "JPEG"), as_it_is(colours(), 1)),
    "jpeg-turned": lambda: (
        "jpg",
        saved(colours(), "JPEG", exif=turned()),
        as_it_is(colours().transpose(Image.Transpose.ROTATE_270)),
    ),
    "png-turned": lambda: (
        "png",
        saved(colours(), exif=turned()),
        as_it_is(colours().transpose(Image.Transpose.ROTATE_270)),
    ),
    "webp": lambda: ("webp", saved(colours(), "WEBP", lossless=True), as_it_is(colours())),
    "bmp": lambda: ("bmp", saved(colours(), "BMP"), as_it_is(colours())),
    "gif-first-frame": lambda: ("gif", frames("GIF"), as_it_is(drawn("L", 0, 0, 24), 1)),
    "scaled": lambda: ("png", saved(colours(40, 30)), {**as_it_is(colours()), "height": 8, "width": 8}),
    "rgba-light-on-transparent": lambda: (
        "png",
        saved(drawn("RGBA", (255, 255, 255, 0), (255, 255, 255, 255), 24)),
        as_it_is(drawn("L", 0, 0, 24)),
    ),
    "rgba-dark-on-transparent": lambda: (
        "png",
        saved(drawn("RGBA", (0, 0, 0, 0), (0, 0, 0, 255), 24)),
        as_it_is(drawn("L", 0, 0, 24)),
    ),
    "rgba-light-alpha-100": lambda: (
        "png",
        saved(drawn("RGBA", (255, 255, 255, 0), (255, 255, 255, 100), 24)),
        as_it_is(drawn("L", 0, 0, 24)),
    ),
    "rgba-dark-alpha-100": lambda: (
        "png",
        saved(drawn("RGBA", (0, 0, 0, 0), (0, 0, 0, 100), 24)),
        as_it_is(drawn("L", 0, 0, 24)),
    ),
    "rgba-all-transparent": lambda: (
        "png",
        saved(Image.new("RGBA", (6, 6), (9, 9, 9, 0))),
        as_it_is(Image.new("L", (6, 6))),
    ),
    "grey-alpha-light": lambda: (
        "png",
        saved(drawn("LA", (255, 0), (255, 255), 24)),
        as_it_is(drawn("L", 0, 0, 24), 1),
    ),
    "grey-alpha-dark": lambda: ("png", saved(drawn("LA", (0, 0), (0, 255), 24)), as_it_is(drawn("L", 0, 0, 24), 1)),
    "sixteen-bits": lambda: ("png", saved(sixteen(16)), as_it_is(sixteen(16), 1)),
    "sixteen-bits-of-which-12": lambda: ("png", saved(sixteen(12)), as_it_is(sixteen(12), 1)),
    "sixteen-bits-of-which-8": lambda: ("png", saved(sixteen(8)), as_it_is(sixteen(8), 1)),
    # a model of drawn glyphs: polarity, ground, centring
    "mnist-as-it-is": lambda: ("png", saved(drawn("L", 0, 255, 28, 3)), MNIST),
    "mnist-inverted": lambda: ("png", saved(drawn("L", 255, 0, 28, 3)), MNIST),
    "glyph-grey-paper-28": lambda: ("png", saved(drawn("L", 190, 120, 28, 3)), MNIST),
    "glyph-12-bits-28": lambda: ("png", saved(sixteen(12)), MNIST),
    "glyph-clean": lambda: ("png", saved(drawn("L", 255, 0)), MNIST),
    "glyph-light-on-dark": lambda: ("png", saved(drawn("L", 0, 255)), MNIST),
    "glyph-dark-on-light-model": lambda: ("png", saved(drawn("L", 0, 255)), {**MNIST, "polarity": "dark-on-light"}),
    "glyph-no-polarity": lambda: ("png", saved(drawn("L", 255, 0)), {**MNIST, "polarity": None}),
    "glyph-speck": lambda: ("png", saved(specked(drawn("L", 255, 0, 120, 9))), MNIST),
    "glyph-frame": lambda: ("png", saved(framed(drawn("L", 255, 0))), MNIST),
    "glyph-shaded": lambda: ("png", saved(shaded(drawn("L", 200, 60))), MNIST),
    "glyph-camera": lambda: ("jpg", saved(shaded(drawn("L", 200, 60, 130, 8), 6), "JPEG"), MNIST),
    "glyph-light-on-transparent": lambda: (
        "png",
        saved(drawn("RGBA", (255, 255, 255, 0), (255, 255, 255, 255))),
        MNIST,
    ),
    "glyph-dark-on-transparent": lambda: ("png", saved(drawn("RGBA", (0, 0, 0, 0), (0, 0, 0, 255))), MNIST),
    "glyph-alpha-100": lambda: ("png", saved(drawn("RGBA", (255, 255, 255, 0), (255, 255, 255, 100))), MNIST),
    "glyph-small-on-a-large-sheet": lambda: ("png", saved(placed(drawn("L", 255, 0, 40, 3), 500)), MNIST),
    "blank": lambda: ("png", saved(Image.new("L", (60, 60), 255)), MNIST),
    "blank-28": lambda: ("png", saved(Image.new("L", (28, 28), 0)), MNIST),
    "blank-photograph": lambda: ("jpg", saved(shaded(Image.new("L", (280, 280), 200), 4), "JPEG"), MNIST),
}


def placed(image: Image.Image, side: int) -> Image.Image:
    sheet = Image.new("L", (side, side), 255)
    sheet.paste(image, (side // 2, side // 3))
    return sheet


def main() -> None:
    for folder in ("files", "pixels"):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).iterdir():
            old.unlink()
    table = []
    for name, make in CASES.items():
        suffix, data, wanted = make()
        (HERE / "files" / f"{name}.{suffix}").write_bytes(data)
        case: dict[str, Any] = {"file": f"files/{name}.{suffix}", "input": wanted}
        try:
            pixels = prepare(data, ImageInput(**wanted), 1_000_000)
        except BadRequestError:
            case["error"] = "nothing is drawn"
        else:
            case["pixels"] = f"pixels/{name}.png"
            Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(HERE / case["pixels"])
        table.append(case)
    lines = ",\n".join(json.dumps(case) for case in table)
    (HERE / "table.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
