"""What answers of every route draw on: one ComfyUI, what is known of it, and how to run on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from translator import Catalog
from worker.comfyui.connection import Comfy
from worker.comfyui.runs import ENCODING_NODE, FRAME_NODE
from worker.models.catalog import CatalogSource
from worker.options import OptionSource
from worker.running import Runner
from worker.settings import Settings

_T = TypeVar("_T")


@dataclass(frozen=True)
class Resources:
    """Attributes:
    settings: what an operator has set.
    comfy: the connection.
    catalog: what ComfyUI has.
    options: the translator's options and A1111's.
    runner: runs graphs.
    """

    settings: Settings
    comfy: Comfy
    catalog: CatalogSource
    options: OptionSource
    runner: Runner

    async def in_thread(self, work: Callable[..., _T], *args: Any) -> _T:
        """Run blocking work in the pool of the tasks."""
        return await self.runner.in_thread(work, *args)

    def current_catalog(self) -> Catalog:
        """The catalog; at a cold start it waits for ComfyUI. Blocks."""
        if not self.catalog.is_known:
            self.comfy.wait_ready(self.settings.patience_s)
        return self.catalog.current()

    def takes_frames(self, catalog: Catalog) -> bool:
        """Whether images can come over the websocket, with the name of the node they are of."""
        return self.comfy.labels_frames and catalog.has(FRAME_NODE)

    def encodes(self, catalog: Catalog) -> bool:
        """Whether ComfyUI has our node that sends finished files."""
        return self.takes_frames(catalog) and catalog.has(ENCODING_NODE)
