"""What core nodes do not tell SDXL, said as warnings."""

from __future__ import annotations

from typing import Any

import pytest

from translator import translate

XL = {"sd_model_checkpoint": "an_xl_model"}
HIRES = {"enable_hr": True, "denoising_strength": 0.5, "hr_resize_x": 1000, "hr_resize_y": 700}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (HIRES, "told the picture's own size 1000x704, A1111 tells it 1000x1000"),
        ({"override_settings": {"sdxl_crop_top": 64}}, "sdxl_crop_top and sdxl_crop_left"),
        (
            {
                "refiner_checkpoint": "xl_refiner",
                "override_settings": {"sdxl_refiner_low_aesthetic_score": 4.0},
            },
            "aesthetic scores",
        ),
    ],
)
def test_core_nodes_tell_what_sdxl_is_not_told(fields: dict[str, Any], said: str) -> None:
    payload = {"seed": 1, **fields}
    payload["override_settings"] = XL | fields.get("override_settings", {})
    told = translate(payload, options={"fidelity": "core"}).warning_texts
    assert any(said in warning for warning in told)
    plain = translate(
        {"seed": 1, "override_settings": XL}, options={"fidelity": "core"}
    ).warning_texts
    assert not any(said in warning for warning in plain)
