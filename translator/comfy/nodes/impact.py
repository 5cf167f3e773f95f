"""ComfyUI-Impact-Subpack's nodes."""

from __future__ import annotations

from translator.comfy.graph import BboxDetector, Graph, SegmDetector


def ultralytics_detector(graph: Graph, name: str) -> tuple[BboxDetector, SegmDetector]:
    node = graph.add("UltralyticsDetectorProvider", model_name=name)
    return node.out(BboxDetector), node.out(SegmDetector, 1)
