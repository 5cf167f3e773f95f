"""What each supported node does, symbolically: one function or table row per node class."""

from __future__ import annotations

from devserver.nodes import (
    a1111,
    conditioning,
    control,
    images,
    latents,
    models,
    outputs,
    preprocessors,
    sampling,
)
from devserver.nodes.table import NodeFunction, merge

TABLE: dict[str, NodeFunction] = merge(
    models.NODES,
    conditioning.NODES,
    sampling.NODES,
    latents.NODES,
    images.NODES,
    control.NODES,
    preprocessors.NODES,
    a1111.NODES,
    outputs.NODES,
)
"""Node class -> the function that executes it."""
