"""Checkpoints that read a picture beside the latent: graphs, infotexts, and what A1111 fails on."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image

from translator import Catalog, ModelFacts, Translation, TranslationError, translate

INPAINT, EDIT, PLAIN, XL = "inpaint", "edit", "plain", "xl-inpaint"
FACTS = {
    INPAINT: ModelFacts(architecture="SD1", picture_channels=5),
    EDIT: ModelFacts(architecture="SD1", picture_channels=4),
    PLAIN: ModelFacts(architecture="SD1", picture_channels=0),
    XL: ModelFacts(architecture="SDXL", picture_channels=5),
}
IMG2IMG = "/sdapi/v1/img2img"


def picture(width: int = 64, height: int = 64, color: object = 128) -> str:
    buffer = io.BytesIO()
    Image.new("L", (width, height), color).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def catalog() -> Catalog:
    bundled = Catalog.bundled()
    files = tuple(f"{name}.safetensors" for name in FACTS)
    return Catalog(
        nodes=bundled.nodes,
        folders={"checkpoints": files},
        facts={("checkpoints", f"{name}.safetensors"): facts for name, facts in FACTS.items()},
        open=True,
    )


def translated(
    checkpoint: str, endpoint: str = "/sdapi/v1/txt2img", fidelity: str = "exact", **fields: Any
) -> Translation:
    settings = {"sd_model_checkpoint": checkpoint, **fields.pop("override_settings", {})}
    payload = {"prompt": "a cat", "seed": 5, "steps": 10, "width": 64, "height": 64, **fields}
    options = {"fidelity": fidelity, "default_checkpoint": PLAIN}
    return translate(
        {**payload, "override_settings": settings}, endpoint, catalog(), options=options
    )


def from_picture(checkpoint: str, **fields: Any) -> Translation:
    return translated(checkpoint, IMG2IMG, init_images=[picture()], **fields)


def nodes(translation: Translation, class_type: str) -> list[Mapping[str, Any]]:
    return [
        node["inputs"] for node in translation.graph.values() if node["class_type"] == class_type
    ]


def told(translation: Translation) -> tuple[str, bool]:
    info = translation.info
    return info["infotexts"][0], info["is_using_inpainting_conditioning"]


@pytest.mark.parametrize("name", [PLAIN])
def test_other_checkpoints_have_no_such_node(name: str) -> None:
    for made in (translated(name), from_picture(name, mask=picture())):
        assert not nodes(made, "A1111ImageConditioning")
        assert "Conditional mask weight" not in told(made)[0]


@pytest.mark.parametrize(("checkpoint", "named"), [(INPAINT, True), (XL, False)])
def test_txt2img_gives_a_grey_and_a_whole_mask(checkpoint: str, named: bool) -> None:
    made = translated(checkpoint, width=70, batch_size=2)
    (beside,) = nodes(made, "A1111ImageConditioning")
    assert (beside["source"], beside["width"], beside["height"]) == ("blank", 70, 64)
    assert beside["posterior_seed"] == 6  # the batch's last image's
    (guider,) = nodes(made, "A1111Guider")
    assert "image_cfg_scale" not in guider
    text, flag = told(made)
    assert flag == named
    assert ("Conditional mask weight: 1.0" in text) == named


def test_img2img_gives_the_picture_around_the_mask() -> None:
    made = from_picture(
        INPAINT,
        mask=picture(),
        inpainting_fill=1,
        mask_round=False,
        override_settings={"inpainting_mask_weight": 0.5},
    )
    (beside,) = nodes(made, "A1111ImageConditioning")
    assert (beside["kind"], beside["source"], beside["round"]) == ("inpaint", "pixels", False)
    assert beside["mask_weight"] == 0.5
    assert beside["posterior_seed"] == -1
    (inpaint,) = (key for key, node in made.graph.items() if node["class_type"] == "A1111Inpaint")
    assert (beside["pixels"], beside["mask"]) == ([inpaint, 0], [inpaint, 1])
    text, flag = told(made)
    assert flag
    assert "Denoising strength: 0.75, Conditional mask weight: 0.5" in text


def test_sdxl_always_rounds_and_latent_noise_seeds_what_follows() -> None:
    made = from_picture(XL, mask=picture(), inpainting_fill=2, mask_round=False, batch_size=3)
    (beside,) = nodes(made, "A1111ImageConditioning")
    assert beside["round"] is True
    assert beside["posterior_seed"] == 7
    (repeat,) = nodes(made, "RepeatImageBatch")
    assert repeat["amount"] == 3
    assert told(made)[1]


def test_hires_gives_the_enlarged_picture_as_a1111_does() -> None:
    made = translated(
        INPAINT, enable_hr=True, hr_upscaler="Lanczos", denoising_strength=0.5, batch_size=2
    )
    first, hires = nodes(made, "A1111ImageConditioning")
    assert (first["source"], hires["source"], hires["signed"]) == ("blank", "pixels", True)
    assert hires["drawn"] == "[[2,4,8,8],[2,4,16,16]]"
    (encode,) = nodes(made, "A1111VAEEncode")
    assert encode["drawn"] == "[[2,4,8,8]]"


def test_hires_in_latent_space_needs_a_weight_below_one() -> None:
    fields = {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    with pytest.raises(TranslationError, match="hr_upscaler"):
        translated(INPAINT, **fields)
    made = translated(INPAINT, **fields, override_settings={"inpainting_mask_weight": 0.5})
    assert [item["source"] for item in nodes(made, "A1111ImageConditioning")] == [
        "blank",
        "samples",
    ]


@pytest.mark.parametrize(("scale", "guides"), [(1.5, True), (0, True), (1, False), (None, False)])
def test_an_editing_checkpoint_is_guided_by_the_picture(scale: float, guides: bool) -> None:
    made = from_picture(EDIT, image_cfg_scale=scale)
    (beside,) = nodes(made, "A1111ImageConditioning")
    assert (beside["kind"], beside["source"]) == ("edit", "pixels")
    (guider,) = nodes(made, "A1111Guider")
    assert ("image_cfg_scale" in guider) == guides
    text, flag = told(made)
    assert not flag
    assert ("Image CFG scale" in text) == (scale is not None)
    assert not any(warning.path == "image_cfg_scale" for warning in made.warnings)


def test_image_guidance_without_effect_is_told() -> None:
    made = from_picture(PLAIN, image_cfg_scale=1.5)
    assert any(warning.path == "image_cfg_scale" for warning in made.warnings)
    assert "Image CFG scale" not in told(made)[0]


REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("override_settings.sd_model_checkpoint", EDIT, {}),
    ("prompt", EDIT, {"prompt": "a AND b", "image_cfg_scale": 1.5}),
    (
        "override_settings.skip_early_cond",
        EDIT,
        {"image_cfg_scale": 1.5, "override_settings": {"skip_early_cond": 0.2}},
    ),
    ("refiner_checkpoint", PLAIN, {"refiner_checkpoint": INPAINT, "refiner_switch_at": 0.5}),
    ("resize_mode", EDIT, {"resize_mode": 3, "width": 128}),
    (
        "hr_resize_x",
        INPAINT,
        {
            "enable_hr": True,
            "hr_upscaler": "Lanczos",
            "hr_resize_x": 128,
            "hr_resize_y": 64,
            "denoising_strength": 0.5,
        },
    ),
]


@pytest.mark.parametrize(("path", "checkpoint", "fields"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_a1111_fails_on_is_refused(path: str, checkpoint: str, fields: dict[str, Any]) -> None:
    make = translated if checkpoint != EDIT or not fields else from_picture
    with pytest.raises(TranslationError) as caught:
        make(checkpoint, **fields)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_core_nodes_do_what_they_can() -> None:
    inpaint = from_picture(INPAINT, fidelity="core", mask=picture(), inpaint_full_res=False)
    assert nodes(inpaint, "InpaintModelConditioning")
    edit = from_picture(EDIT, fidelity="core", image_cfg_scale=1.5)
    (guider,) = nodes(edit, "DualCFGGuider")
    assert guider["cfg_cond2_negative"] == 1.5
    assert nodes(edit, "InstructPixToPixConditioning")
    plain = from_picture(EDIT, fidelity="core")
    assert nodes(plain, "InstructPixToPixConditioning")
    assert not nodes(plain, "DualCFGGuider")
    assert not nodes(translated(INPAINT, fidelity="core"), "InpaintModelConditioning")


def test_a_unit_that_inpaints_beside_an_inpainting_checkpoint_is_told() -> None:
    def told(checkpoint: str, module: str) -> bool:
        unit = {
            "image": picture(),
            "mask": picture(),
            "module": module,
            "model": "control_v11p_sd15_inpaint",
        }
        args = {"controlnet": {"args": [unit]}}
        made = translated(checkpoint, alwayson_scripts=args, unsupported="warn")
        return any("shows an inpainting checkpoint" in text for text in made.warning_texts)

    assert told(INPAINT, "inpaint") and told(INPAINT, "inpaint_only")
    assert not told(PLAIN, "inpaint") and not told(INPAINT, "canny")
