"""What a caller sees of a request, to tell whether a change of it leaves a trace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tests.translator.control_requests import mask, picture
from tests.translator.faceswap.test_reactor import _catalog as reactor_catalog
from translator import Catalog, TranslationError, translate

Payload = dict[str, Any]

PICTURE, OTHER, MASK = picture(96, 128), picture(96, 128, colour=(0, 200, 0)), mask(96, 128)

PLAIN: Payload = {
    "prompt": "a (red:1.2) cat, [dog:bird:0.5] in the long grass, by the river",
    "negative_prompt": "bad",
    "seed": 1,
    "steps": 4,
    "width": 128,
    "height": 128,
}
HIRES: Payload = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
FROM_PICTURE: Payload = {"init_images": [PICTURE], "denoising_strength": 0.5}
MASKED: Payload = {**FROM_PICTURE, "mask": MASK}
UNIT: Payload = {"image": PICTURE, "module": "canny", "model": "control_v11p_sd15_canny"}
DETAIL: Payload = {"ad_model": "face_yolov8n.pt"}
SDXL: Payload = {"override_settings": {"sd_model_checkpoint": "sd_xl_base_1.0"}}


def on(**scripts: Sequence[Any]) -> Payload:
    """Always-on scripts with their arguments; ``_`` in a title stands for a blank."""
    titles = {title.replace("_", " "): {"args": list(args)} for title, args in scripts.items()}
    return {"alwayson_scripts": titles}


def options(**changed: Any) -> Payload:
    return {"override_settings": changed}


@cache
def catalog() -> Catalog:
    return replace(reactor_catalog(), folders={})


def trace(tab: str, payload: Payload) -> tuple[Any, ...]:
    """All that a caller sees of a request, but for its echo."""
    try:
        made = translate(payload, f"/sdapi/v1/{tab}", catalog(), options={"draw_seed": lambda: 7})
    except TranslationError as error:
        return str(error), *map(str, error.warnings)
    info = json.dumps(made.info, default=str)
    return json.dumps(made.graph), str(made.outputs), str(made.answer), info, *made.warning_texts
