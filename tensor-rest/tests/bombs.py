"""Small files that unpack to much: each is made here, byte by byte, and has to be refused before it is unpacked."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

MIB = 1 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(size: int) -> bytes:
    """zlib of `size` zero bytes, made without holding them."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join([*parts, packer.compress(bytes(size % MIB)), packer.flush()])


def png(width: int, height: int, *extra: bytes, bits: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    """A PNG of that header with further chunks; its pixels are `data`."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"".join([_PNG, header, *extra, chunk(b"IDAT", data or zeros(1)), chunk(b"IEND", b"")])


def png_pixels() -> bytes:
    """13,000 x 13,000 black pixels in 160 KB."""
    return png(13_000, 13_000, data=zeros(13_000 * 13_001))


def png_side() -> bytes:
    """A header of 2 ** 31 - 1 pixels a side."""
    return png(2**31 - 1, 2**31 - 1)


def png_profile() -> bytes:
    """A colour profile that unpacks to 256 MB."""
    return png(28, 28, chunk(b"iCCP", b"icc\0\0" + zeros(1 << 28)), data=zeros(28 * 29))


def png_text() -> bytes:
    """A comment that unpacks to 256 MB."""
    return png(28, 28, chunk(b"zTXt", b"Comment\0\0" + zeros(1 << 28)), data=zeros(28 * 29))


def png_texts() -> bytes:
    """Nine hundred comments of just under 1 MB each."""
    comment = chunk(b"zTXt", b"Comment\0\0" + zeros(MIB - 1))
    return png(28, 28, *[comment] * 900, data=zeros(28 * 29))


def apng() -> bytes:
    """An animation of 2 ** 31 - 1 frames, larger than the image they are in."""
    animation = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 65_535, 65_535, 0, 0, 1, 100, 0, 0))
    return png(65_535, 65_535, animation, frame, data=zeros(MIB))


def png_chunks() -> bytes:
    """9 MB of empty chunks."""
    return png(28, 28, chunk(b"abCd", b"") * (9 * MIB // 12), data=zeros(28 * 29))


def png_chunks_behind() -> bytes:
    """9 MB of empty chunks behind the pixels."""
    return png(28, 28, data=zeros(28 * 29))[:-12] + chunk(b"abCd", b"") * (9 * MIB // 12) + chunk(b"IEND", b"")


def jpeg_segments() -> bytes:
    """9 MB of empty comments."""
    data = _jpeg(28, progressive=True)
    return data[:2] + b"\xff\xfe\x00\x02" * (9 * MIB // 4) + data[2:]


def gif_comments() -> bytes:
    """9 MB of comment, a byte at a time."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 28, 28, 0x80, 0, 0) + bytes(6)
    comment = b"!\xfe" + b"\x01x" * (9 * MIB // 2) + b"\0"
    return screen + comment + b"," + struct.pack("<HHHHB", 0, 0, 28, 28, 0) + b"\x02\x02\x4c\x01\x00;"


def gif_extensions() -> bytes:
    """9 MB of empty extensions."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 28, 28, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 28, 28, 0) + b"\x02\x02\x4c\x01\x00;"
    return screen + b"!\xfe\x00" * (3 * MIB) + frame


def jpeg_side() -> bytes:
    """A JPEG of 28 x 28 whose header says 65,500 x 65,500."""
    data = bytearray(_jpeg(28))
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def jpeg_scans() -> bytes:
    """A progressive JPEG of 3,900 x 3,900 that goes over all of its pixels 5,000 times more."""
    data = _jpeg(3900, progressive=True)
    start = data.rindex(b"\xff\xda")  # the last pass refines one component
    return data[:-2] + data[start:-2] * 5000 + data[-2:]


def jpeg_profile() -> bytes:
    """9 MB of colour profile around one grey image."""
    part = b"\xff\xe2" + struct.pack(">H", 65_533) + b"ICC_PROFILE\0\x01\x01" + bytes(65_517)
    data = _jpeg(28)
    return data[:2] + part * 140 + data[2:]


def gif_frames() -> bytes:
    """A GIF whose canvas is small and whose frame is 65,535 x 65,535."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 28, 28, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x4c\x01\x00;"
    return screen + frame


def webp_canvas() -> bytes:
    """An animated WebP with a canvas of 16,383 x 16,383."""
    frames = [Image.new("L", (28, 28), level) for level in (0, 255)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    data = bytearray(file.getvalue())
    canvas = data.index(b"VP8X") + 12
    data[canvas : canvas + 6] = (16_382).to_bytes(3, "little") * 2
    return bytes(data)


def bmp_side() -> bytes:
    """A BMP whose header says 60,000 x 60,000."""
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, *[0] * 6)


def zip_ratio() -> bytes:
    """A zip of one entry that unpacks to 256 MB."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
        packed.open("a.png", "w") as entry,
    ):
        for _ in range(256):
            entry.write(bytes(MIB))
    return file.getvalue()


def zip_entries() -> bytes:
    """A zip of 60,000 empty entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for index in range(60_000):
            packed.writestr(f"{index}.png", b"")
    return file.getvalue()


def zip_lie() -> bytes:
    """A zip whose entry says it is a byte long and unpacks to 256 MB."""
    data = bytearray(zip_ratio())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(mark) + offset
        data[at : at + 4] = struct.pack("<I", 1)
    return bytes(data)


def gzip_body() -> bytes:
    """256 MB of zeros as a gzip body."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9) as packed:
        for _ in range(256):
            packed.write(bytes(MIB))
    return file.getvalue()


def json_depth() -> bytes:
    """A million opening brackets."""
    return b'{"instances": ' + b"[" * 999_990


def json_lists() -> bytes:
    """Nine million empty lists."""
    return b'{"instances": [' + b"[]," * (3 * MIB) + b"[]]}"


IMAGES: dict[Callable[[], bytes], tuple[int, ...]] = {
    png_pixels: (413,),
    png_side: (400, 413),
    png_profile: (400, 413),
    png_text: (400, 413),
    png_texts: (400, 413),
    png_chunks: (400, 413),
    png_chunks_behind: (400, 413),
    apng: (413,),
    jpeg_side: (413,),
    jpeg_scans: (400, 413),
    jpeg_segments: (400, 413),
    gif_frames: (400, 413),
    gif_comments: (400, 413),
    gif_extensions: (400, 413),
    webp_canvas: (400, 413),
    bmp_side: (413,),
}
"""Files sent as an image, with the statuses that refuse them."""

ZIPS: dict[Callable[[], bytes], tuple[int, ...]] = {zip_ratio: (413,), zip_entries: (413,), zip_lie: (400, 413)}
"""Files sent as a zip of images."""


def _jpeg(side: int, **options: bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(file, "JPEG", **options)
    return file.getvalue()
