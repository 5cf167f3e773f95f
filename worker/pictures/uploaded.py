"""Images as the server is sent them: 8-bit RGB or RGBA PNG, whose pixels every version reads alike.

ComfyUI's LoadImage reads with Pillow up to some version and with PyAV from then on. PyAV turns the
same JPEG into other colours (up to 16 levels of 255), grey into another grey, and 16 bits into
noise; of 8-bit RGB and RGBA PNG both read exactly what is stored. Pillow is what A1111 reads with.
"""

from __future__ import annotations

import struct
import warnings
from io import BytesIO

_HEADER = struct.Struct(">8sI4sIIBB")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = (2, 6)
"""PNG's RGB and RGBA."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

_COMPRESSION = 1
"""The file lives on the server's disk for a while; time counts more than bytes."""


def is_plain(data: bytes) -> bool:
    """Whether a file is an 8-bit RGB or RGBA PNG that says nothing of orientation or colour key."""
    if len(data) < _HEADER.size:
        return False
    signature, _, kind, _, _, depth, colour = _HEADER.unpack_from(data)
    if signature != _SIGNATURE or kind != b"IHDR" or depth != 8 or colour not in _COLOUR_TYPES:
        return False
    return not any(chunk in data for chunk in (b"eXIf", b"tRNS", b"acTL"))


def as_plain(data: bytes) -> bytes:
    """An image file as 8-bit RGB or RGBA PNG: the same bytes where it is one, else written anew.

    The picture is turned as its EXIF orientation says; of several frames it is the first, as in
    A1111.

    Raises:
        OSError: the pixels cannot be read.
    """
    if is_plain(data):
        return data
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            upright = ImageOps.exif_transpose(image)
            plain = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except Exception as error:  # a decoder raises whatever a broken file leads it to
        raise OSError(f"{type(error).__name__}: {error}") from error
    stream = BytesIO()
    plain.save(stream, "PNG", compress_level=_COMPRESSION)
    return stream.getvalue()
