"""Draws and encodes the images of a batch, large ones in a thread beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from devserver.draw import Style, encode_png, encode_preview, render
from devserver.pack_maths import load
from devserver.values import CELL, Encoding, Image, Latent

_SMALL = 128 * 128
"""Pixels up to which drawing in the event loop costs less than handing it to a thread."""


class Pictures:
    """Makes pictures in one style."""

    def __init__(self, style: Style) -> None:
        self._style = style

    async def png(
        self,
        images: Image,
        index: int,
        title: str,
        level: int,
        texts: Mapping[str, Any] | None = None,
    ) -> bytes:
        """One image of a batch as a PNG.

        Args:
            title: of the output node.
            level: zlib level.
            texts: JSON for tEXt chunks.
        """
        size = (images.width, images.height)

        def work() -> bytes:
            drawn = render(images.pictures[index], size, title, self._style)
            return encode_png(drawn.convert("RGBA") if images.alpha else drawn, level, texts)

        return await _beside(work, size)

    async def file(
        self, images: Image, index: int, title: str, how: Encoding, text: str | None
    ) -> bytes:
        """One image of a batch as our node pack's A1111ImageFrames writes it."""
        size = (images.width, images.height)

        def work() -> bytes:
            drawn = render(images.pictures[index], size, title, self._style)
            drawn = drawn.convert("RGBA") if images.alpha else drawn
            encoders = load("encoders")
            return bytes(encoders.encode(encoders.pixels_of(drawn), how.kind, how.quality, text))

        return await _beside(work, size)

    async def preview(self, latent: Latent) -> bytes:
        """A sampling preview of the first image of a batch, as a JPEG."""
        size = (latent.width * CELL, latent.height * CELL)

        def work() -> bytes:
            return encode_preview(render(latent.pictures[0], size, "preview", self._style))

        return await _beside(work, size)


async def _beside(work: Callable[[], bytes], size: tuple[int, int]) -> bytes:
    if size[0] * size[1] <= _SMALL:
        return work()
    return await asyncio.to_thread(work)
