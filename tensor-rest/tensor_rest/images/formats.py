"""The image formats that the gateway reads. The page, the specification and the decoder take them from here."""

from typing import NamedTuple


class Format(NamedTuple):
    """An image format: Pillow's name of it, its media type, the bytes that each of its files begins with."""

    name: str
    media_type: str
    signature: bytes


TABLE = (
    Format("PNG", "image/png", b"\x89PNG"),
    Format("JPEG", "image/jpeg", b"\xff\xd8\xff"),
    Format("BMP", "image/bmp", b"BM"),
    Format("WEBP", "image/webp", b"RIFF"),
    Format("GIF", "image/gif", b"GIF8"),
)
FORMATS = tuple(each.name for each in TABLE)
FORMATS_TEXT = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
SIGNATURES = tuple(each.signature for each in TABLE)
MEDIA_TYPES = ",".join(each.media_type for each in TABLE)
