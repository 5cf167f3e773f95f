"""inpaint_only+lama: which passes and batches start from the picture that LaMa filled in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.control_requests import mask, picture
from translator import Translation, translate

UNIT = {
    "enabled": True,
    "image": picture(),
    "mask": mask(),
    "module": "inpaint_only+lama",
    "model": "control_v11p_sd15_inpaint",
}


def made(*units: dict[str, Any], **fields: Any) -> Translation:
    request = {"prompt": "a", "steps": 4, "seed": 1, "sampler_name": "Euler a", **fields}
    return translate({**request, "alwayson_scripts": {"controlnet": {"args": list(units)}}})


def noises(translation: Translation) -> list[str | None]:
    """For each sampling in order: what its noise is laid over, None for plain noise."""
    graph = translation.graph
    found = []
    for node in graph.values():
        if node["class_type"] == "SamplerCustomAdvanced":
            noise = graph[node["inputs"]["noise"][0]]
            laid = noise["class_type"] == "A1111NoiseOverLatent"
            found.append(graph[noise["inputs"]["latent"][0]]["class_type"] if laid else None)
    return found


def test_the_first_pass_starts_from_the_filled_picture_and_hires_does_not() -> None:
    translation = made(UNIT, enable_hr=True, hr_scale=1.5, denoising_strength=0.5)
    assert noises(translation) == ["VAEEncode", None]
    assert translation.warnings == () or not any("lama" in str(w) for w in translation.warnings)


def test_the_latent_is_that_of_the_map_which_the_control_net_sees() -> None:
    graph = made(UNIT).graph
    (laid,) = [node for node in graph.values() if node["class_type"] == "A1111NoiseOverLatent"]
    fitted = graph[graph[laid["inputs"]["latent"][0]]["inputs"]["pixels"][0]]
    assert fitted["class_type"] == "A1111ControlNetFit"
    assert graph[fitted["inputs"]["image"][0]]["class_type"] == "A1111ControlNetLama"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"n_iter": 3}, ["VAEEncode", None, None]),
        (
            {"n_iter": 3, "refiner_checkpoint": "other", "refiner_switch_at": 0.8},
            [None, "VAEEncode", "VAEEncode"],
        ),
    ],
    ids=["the first batch", "with a refiner those behind it"],
)
def test_batches(fields: dict[str, Any], expected: list[str | None]) -> None:
    assert noises(made(UNIT, **fields)) == expected


def test_a_unit_that_never_acts_is_heeded_and_inpaint_only_is_not() -> None:
    assert noises(made({**UNIT, "guidance_start": 0.99, "guidance_end": 1.0})) == ["VAEEncode"]
    assert noises(made({**UNIT, "module": "inpaint_only"})) == [None]


def test_the_last_of_two_units_counts() -> None:
    other = {**UNIT, "image": picture(64, 64), "mask": mask(64, 64)}
    graph = made(UNIT, other).graph
    (laid,) = [node for node in graph.values() if node["class_type"] == "A1111NoiseOverLatent"]
    fill = graph[
        graph[graph[laid["inputs"]["latent"][0]]["inputs"]["pixels"][0]]["inputs"]["image"][0]
    ]
    loaded = graph[fill["inputs"]["image"][0]]["inputs"]["image"]
    sent = {node["inputs"]["image"] for node in graph.values() if node["class_type"] == "LoadImage"}
    assert len(sent) == 2
    assert loaded == made(other).uploads[0].name


def test_img2img_lays_its_noise_over_it_too() -> None:
    request = {
        "init_images": [picture(64, 64)],
        "steps": 4,
        "seed": 1,
        "width": 64,
        "height": 64,
        "alwayson_scripts": {"controlnet": {"args": [UNIT]}},
    }
    assert noises(translate(request, endpoint="/sdapi/v1/img2img")) == ["VAEEncode"]


def test_inside_adetailer_noise_and_guider_hang_on_the_region() -> None:
    unit = {
        "ad_model": "face_yolov8n.pt",
        "ad_controlnet_model": "control_v11p_sd15_inpaint",
        "ad_controlnet_module": "inpaint_only+lama",
    }
    request = {"prompt": "a", "alwayson_scripts": {"ADetailer": {"args": [True, False, unit]}}}
    graph = translate(request).graph
    (each,) = [node for node in graph.values() if node["class_type"] == "A1111DetailEachRegion"]
    laid = graph[each["inputs"]["noise"][0]]
    assert laid["class_type"] == "A1111NoiseOverLatent"
    above, seen = [each["inputs"]["noise"][0]], set()
    while above:
        node = graph[above.pop()]
        seen.add(node["class_type"])
        above += [value[0] for value in node["inputs"].values() if isinstance(value, list)]
    assert {"A1111ControlNetLama", "A1111RegionPicture"} <= seen
