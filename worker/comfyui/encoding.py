"""Has our node pack encode the answer's pictures, where ComfyUI's node sends them as PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.comfyui.runs import ENCODING_NODE, FRAME_NODE

_PNG = "png"


def encoded_frames(
    graph: Mapping[str, Any],
    kind: str = _PNG,
    quality: int = 80,
    texts: Mapping[str, Sequence[str | None]] | None = None,
) -> dict[str, Any]:
    """The graph with `ENCODING_NODE` wherever it has `FRAME_NODE`.

    Args:
        kind: png, jpeg or webp.
        quality: of JPEG and WebP.
        texts: node id -> what its pictures carry, in their order: the infotext in a PNG, the EXIF
            block in base64 in the others; None for nothing.
    """
    return {
        name: {
            **node,
            "class_type": ENCODING_NODE,
            "inputs": {
                "images": node["inputs"]["images"],
                "format": kind,
                "quality": quality,
                "texts": json.dumps(list((texts or {}).get(name, ())), ensure_ascii=False),
            },
        }
        if isinstance(node, Mapping) and node.get("class_type") == FRAME_NODE
        else node
        for name, node in graph.items()
    }
