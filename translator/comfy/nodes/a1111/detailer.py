"""Our nodes for ADetailer's regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translator.comfy.graph import (
    BboxDetector,
    Graph,
    Guider,
    Image,
    Mask,
    Number,
    Regions,
    SegmDetector,
)
from translator.comfy.nodes.a1111.json_text import json_text as _json


@dataclass(frozen=True)
class RegionWork:
    """How a region's pass is laid out: size in pixels, mask blur, padding (-1: whole picture)."""

    width: int
    height: int
    mask_blur: int
    padding: int
    match_size: str


def a1111_detect_regions(
    graph: Graph,
    *,
    image: Image,
    detector: str,
    bbox_detector: BboxDetector | None,
    segm_detector: SegmDetector | None,
    **rules: Any,
) -> Regions:
    node = graph.add(
        "A1111DetectRegions",
        title=f"Detect {detector}",
        image=image,
        detector=detector,
        bbox_detector=bbox_detector,
        segm_detector=segm_detector,
        **rules,
    )
    return node.out(Regions)


def a1111_region_picture(
    graph: Graph, image: Image, regions: Regions, work: RegionWork, source: Image | None
) -> tuple[Image, Mask]:
    """What a region's pass works on; stands for every region where its nodes are copied."""
    node = graph.add(
        "A1111RegionPicture",
        image=image,
        regions=regions,
        region=0,
        **vars(work),
        source=source,
    )
    return node.out(Image), node.out(Mask, 1)


def a1111_detail_regions(
    graph: Graph,
    *,
    each: bool,
    guiders: Sequence[Guider],
    work: RegionWork,
    prompts: Sequence[int | None],
    dynamic_denoise: Mapping[str, Any] | None,
    soft_inpainting: Mapping[str, Any] | None,
    drawn: Sequence[Sequence[int]],
    **inputs: Any,
) -> tuple[Image, Number]:
    """A1111DetailRegions, or with `each` A1111DetailEachRegion: picture, next posterior seed."""
    first, *others = guiders
    more: dict[str, Any] = {f"guider_{number}": item for number, item in enumerate(others, 1)}
    if not each:
        more["region"] = -1
    node = graph.add(
        "A1111DetailEachRegion" if each else "A1111DetailRegions",
        **inputs,
        **vars(work),
        prompts=_json(prompts),
        dynamic_denoise=_json(dynamic_denoise) if dynamic_denoise else "",
        soft_inpainting=_json(soft_inpainting) if soft_inpainting else None,
        drawn=_json(drawn) if drawn else None,
        guider=first,
        **more,
    )
    return node.out(Image), node.out(Number, 1)
