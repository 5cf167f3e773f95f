"""The node pack sd-dynamic-thresholding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from translator.comfy.graph import Graph, Model


def dynamic_thresholding(graph: Graph, model: Model, inputs: Mapping[str, Any]) -> Model:
    return graph.add("DynamicThresholdingFull", model=model, **inputs).out(Model)
