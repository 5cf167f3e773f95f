"""A1111's text in image files: PNG chunks without re-encoding, EXIF for JPEG and WebP."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

Buffer = bytes | memoryview

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR_END = len(PNG_SIGNATURE) + 4 + 4 + 13 + 4
_COMFY_TEXTS = (b"prompt\0", b"workflow\0")
_TEXT_CHUNKS = (b"tEXt", b"iTXt", b"zTXt")
_EXIF_IFD_TAG, _USER_COMMENT_TAG = 0x8769, 0x9286
_TYPE_LONG, _TYPE_UNDEFINED = 4, 7


def is_png(data: Buffer) -> bool:
    return bytes(data[: len(PNG_SIGNATURE)]) == PNG_SIGNATURE


def text_chunk(key: str, text: str) -> bytes:
    """A PNG text chunk as Pillow's ``PngInfo.add_text`` writes it.

    tEXt where the text is Latin-1, uncompressed iTXt otherwise.
    """
    try:
        kind, body = b"tEXt", key.encode("latin-1") + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        # keyword, 0, compression flag 0, method 0, language "", 0, translated keyword "", 0, text
        kind, body = b"iTXt", key.encode("latin-1") + b"\0\0\0\0\0" + text.encode()
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_parameters(png: Buffer, text: str | None) -> Buffer:
    """A PNG with A1111's infotext, without ComfyUI's texts, the pixels untouched.

    Args:
        text: the infotext, or None for no chunk.
    """
    return with_texts(png, {} if text is None else {"parameters": text})


def with_prompt(png: Buffer, graph: str) -> Buffer:
    """A PNG with the graph (as JSON) that made it, as SaveImage writes it."""
    return with_texts(png, {"prompt": graph})


def with_texts(png: Buffer, texts: Mapping[str, str]) -> Buffer:
    """A PNG with text chunks, by key, right behind IHDR, where Pillow puts them.

    ComfyUI's own ``prompt`` and ``workflow`` texts, which SaveImage writes, are left out. One copy
    of the image is made, or none where nothing changes.
    """
    pieces: list[Buffer] = [png[:_IHDR_END]]
    pieces += [text_chunk(key, text) for key, text in texts.items()]
    kept_from = _IHDR_END
    dropped = False
    for start, end, kind in _leading_chunks(png):
        if kind in _TEXT_CHUNKS and bytes(png[start + 8 : start + 17]).startswith(_COMFY_TEXTS):
            pieces.append(png[kept_from:start])
            kept_from, dropped = end, True
    if not texts and not dropped:
        return png
    pieces.append(png[kept_from:])
    return b"".join(pieces)


def _leading_chunks(png: Buffer) -> Iterator[tuple[int, int, bytes]]:
    """(start, end, type) of the chunks between IHDR and the pixels."""
    start = _IHDR_END
    while start + 12 <= len(png):
        (length,) = struct.unpack(">I", png[start : start + 4])
        kind = bytes(png[start + 4 : start + 8])
        if kind in (b"IDAT", b"IEND"):
            return
        end = start + 12 + length
        yield start, end, kind
        start = end


EXIF_CHARACTERS = 32_700
"""UTF-16 units of an infotext that fit the 65,533 bytes of a JPEG's EXIF."""


def fits_exif(text: str | None) -> bool:
    """Whether EXIF can hold a text."""
    return len((text or "").encode("utf-16-be")) <= 2 * EXIF_CHARACTERS


def exif_user_comment(text: str) -> bytes:
    """EXIF with a UserComment in Unicode, as A1111 gives it to JPEG and WebP (piexif's layout).

    Big-endian TIFF: IFD0 with one entry, the pointer to the Exif IFD, which has one entry too.
    """
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    ifd0_at, ifd_size = 8, 2 + 12 + 4
    exif_at = ifd0_at + ifd_size
    comment_at = exif_at + ifd_size
    return b"".join(
        (
            b"Exif\0\0MM\0*",
            struct.pack(">I", ifd0_at),
            struct.pack(">HHHIII", 1, _EXIF_IFD_TAG, _TYPE_LONG, 1, exif_at, 0),
            struct.pack(
                ">HHHIII", 1, _USER_COMMENT_TAG, _TYPE_UNDEFINED, len(comment), comment_at, 0
            ),
            comment,
        )
    )
