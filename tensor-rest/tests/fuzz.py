"""Broken images by the thousand: valid files of every kind, damaged in ways a seed decides.

The long run, on every core but without a network:

    python tests/fuzz.py --cases 100000 --jobs 2

It says which cases broke a rule, and `--only NUMBER` does one of them again. The rules: an answer or an ApiError of
4xx, not more than `MAX_SECONDS` seconds of CPU time for one case, not more than `MAX_MEMORY_BYTES` on top of what the
process has needed before.
"""

import argparse
import faulthandler
import io
import multiprocessing
import random
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a program: the package beside the tests

import numpy as np
from PIL import Image

from tensor_rest.errors import ApiError
from tensor_rest.images.decode import prepare
from tensor_rest.images.preprocess import ImageInput

MAX_SECONDS = 2.0
"""Seconds of CPU time; an honest image of 16 megapixels takes most of one."""

MAX_MEMORY_BYTES = 600 << 20
"""Bytes the process may grow by, at its peak."""

MAX_PIXELS = 16_000_000
_WANTED = (
    ImageInput(28, 28, 1, "light-on-dark", "mnist"),
    ImageInput(28, 28, 1),
    ImageInput(32, 48, 3),
    ImageInput(24, 20, 1, "dark-on-light", "mnist"),
)
_MARKS = tuple(
    b"\xff\xd8 \xff\xd9 \xff\xda \xff\xc0 \xff\xc2 \xff\xe1 !\xf9 BM "
    b"IHDR IDAT PLTE tRNS iCCP eXIf acTL VP8L VP8X ANMF ALPH".split()
)
_SIZES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEAD = 64  # bytes: where sizes, depths and flags stand


def seeds() -> list[bytes]:
    """A file of every kind and mode that is read."""
    chance = np.random.default_rng(1)
    found = []
    for mode, size in (("L", (28, 28)), ("RGB", (40, 30)), ("RGBA", (17, 23)), ("P", (28, 28)), ("1", (33, 9))):
        shape = (size[1], size[0], len(mode)) if mode in ("RGB", "RGBA") else (size[1], size[0])
        pixels = Image.fromarray(chance.integers(0, 256, shape, np.uint8)).convert(mode)
        for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
            if kind != "JPEG" or mode in ("L", "RGB"):
                found.append(_saved(pixels, kind))
    colours = Image.fromarray(chance.integers(0, 256, (30, 40, 3), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    found += [
        _saved(colours, "JPEG", progressive=True),
        _saved(colours, "JPEG", exif=turned.tobytes(), subsampling=2),
        _saved(colours.convert("CMYK"), "JPEG"),
        _saved(Image.fromarray(chance.integers(0, 65536, (20, 20), np.uint16)), "PNG"),
        _saved(colours, "PNG", exif=turned.tobytes(), icc_profile=bytes(200)),
        _saved(colours, "WEBP", lossless=True),
        *(_saved(colours, kind, save_all=True, append_images=[colours.rotate(90)]) for kind in ("GIF", "WEBP", "PNG")),
    ]
    return found


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def case(number: int, seed: int, files: list[bytes]) -> bytes:
    """The file of one case: a valid one, damaged one to four times."""
    chance = random.Random(f"{seed}/{number}")
    data = chance.choice(files)
    for _ in range(chance.randint(1, 4)):
        data = chance.choice(_DAMAGES)(data, chance, files) or data
    return data


Damage = Callable[[bytes, random.Random, list[bytes]], bytes]


def _flip(data: bytes, chance: random.Random, _files: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _header(data: bytes, chance: random.Random, _files: list[bytes]) -> bytes:
    """A size that is extreme, in either order of bytes, where headers have theirs."""
    width = chance.choice((1, 2, 4))
    at = chance.randrange(min(len(data), _HEAD))
    size = chance.choice(_SIZES) & ((1 << 8 * width) - 1)
    return data[:at] + size.to_bytes(width, chance.choice(("big", "little"))) + data[at + width :]


def _cut(data: bytes, chance: random.Random, _files: list[bytes]) -> bytes:
    return data[: chance.randrange(1, len(data) + 1)]


def _splice(data: bytes, chance: random.Random, files: list[bytes]) -> bytes:
    """The beginning of one and the end of another."""
    other = chance.choice(files)
    return data[: chance.randrange(1, len(data) + 1)] + other[chance.randrange(len(other)) :]


def _repeat(data: bytes, chance: random.Random, _files: list[bytes]) -> bytes:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.choice((1, 12, 64, 500))]
    return data[:start] + piece * chance.choice((2, 3, 50)) + data[start + len(piece) :]


def _mark(data: bytes, chance: random.Random, _files: list[bytes]) -> bytes:
    at = chance.randrange(len(data))
    mark = chance.choice(_MARKS)
    return data[:at] + mark + data[at + chance.choice((0, len(mark))) :]


def _noise(data: bytes, chance: random.Random, _files: list[bytes]) -> bytes:
    start = chance.randrange(len(data))
    length = chance.choice((1, 4, 40))
    return data[:start] + chance.randbytes(length) + data[start + length :]


_DAMAGES: tuple[Damage, ...] = (_flip, _header, _cut, _splice, _repeat, _mark, _noise)


def outcome(number: int, data: bytes) -> str:
    """What the gateway says of it: "read", or the status of the error. Anything else is raised."""
    wanted = _WANTED[number % len(_WANTED)]
    try:
        pixels = prepare(data, wanted, MAX_PIXELS)
    except ApiError as error:
        if error.status >= 500:
            raise
        return str(error.status)
    assert pixels.shape == (wanted.height, wanted.width, wanted.channels)
    assert pixels.dtype == np.uint8
    return "read"


def run(numbers: range, seed: int) -> tuple[Counter[str], list[str], float]:
    """How many had which outcome, what broke a rule, and the CPU seconds of the slowest."""
    files, found, broken, slowest = seeds(), Counter[str](), list[str](), 0.0
    at_start = _peak()
    for number in numbers:
        data = case(number, seed, files)
        before = time.thread_time()
        try:
            found[outcome(number, data)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            broken.append(f"case {number}: {type(error).__name__}: {error}")
        spent = time.thread_time() - before
        slowest = max(slowest, spent)
        if spent > MAX_SECONDS:
            broken.append(f"case {number}: {spent:.1f} s")
    grown = _peak() - at_start
    if grown > MAX_MEMORY_BYTES:
        broken.append(f"{grown >> 20} MB more memory in {numbers}")
    return found, broken, slowest


def _peak() -> int:
    """The most bytes this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    """Run as the command line says; exit code 1 if a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, help="do this one case and say what it is")
    chosen = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")  # Pillow's, of what is broken
    if chosen.only is not None:
        data = case(chosen.only, chosen.seed, seeds())
        print(f"case {chosen.only}: {len(data)} bytes, {data[:80]!r}: {outcome(chosen.only, data)}")  # noqa: T201
        return
    parts = [range(job, chosen.cases, chosen.jobs) for job in range(chosen.jobs)]
    with multiprocessing.get_context("spawn").Pool(chosen.jobs) as pool:
        results = pool.starmap(run, [(part, chosen.seed) for part in parts])
    found = sum((counts for counts, _, _ in results), Counter[str]())
    broken = [line for _, lines, _ in results for line in lines]
    slowest = max(seconds for _, _, seconds in results)
    print(f"{sum(found.values())} cases: {dict(found)}; the slowest took {slowest:.2f} s")  # noqa: T201
    sys.exit("\n".join(broken))


if __name__ == "__main__":
    main()
