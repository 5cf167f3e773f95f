"""The nodes of comfyui_controlnet_aux."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from translator.comfy.graph import Graph, Image, Mask


def preprocessor(graph: Graph, class_type: str, inputs: Mapping[str, Any]) -> Image:
    """One of the many preprocessors, by a row of ``tables/modules.json``."""
    return graph.add(class_type, **inputs).out(Image)


def inpaint_preprocessor(graph: Graph, image: Image, mask: Mask) -> Image:
    """A picture with -1 where its mask is 1, as inpaint ControlNets take it."""
    node = graph.add("InpaintPreprocessor", image=image, mask=mask, black_pixel_for_xinsir_cn=False)
    return node.out(Image)
