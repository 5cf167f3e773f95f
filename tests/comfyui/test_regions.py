"""Prompts by region on the real server: each part of the picture follows its own text."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.comfyui.test_control import controlled, unit
from tests.comfyui.test_requests import is_picture, likeness, pixels, sd15, sdxl
from tests.comfyui.worker import Worker

NEAR_DB = 60.0
SAME_DB = 50.0
SIZE = {"width": 128, "height": 128, "steps": 3}
RP = "Regional Prompter"
COLUMNS = [True, False, "Matrix", "Columns", "Mask", "Prompt", "1,1", "0.2", False, False, False]
LORA = "<lora:synth_lora_sd15:1>"


def scripted(worker: Worker, title: str, args: list[Any], **fields: Any) -> Any:
    scripts = {title: {"args": args}}
    return pixels(worker.generate(sd15(**{**SIZE, **fields}, alwayson_scripts=scripts)))


def plain(worker: Worker, prompt: str, **fields: Any) -> Any:
    return pixels(worker.generate(sd15(**{**SIZE, **fields, "prompt": prompt})))


def picture(colors: list[tuple[int, int, int]]) -> str:
    """Columns of one width in these colours, as base64 text."""
    row = np.repeat(np.array(colors, dtype=np.uint8), 64 // len(colors), axis=0)
    data = io.BytesIO()
    Image.fromarray(np.tile(row, (64, 1, 1))).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode("ascii")


MASK = picture([(128, 64, 64), (64, 128, 128)])

WAYS = {
    "couple": ("Forge Couple", [True, True, "Basic"], "\n"),
    "couple mask": (
        "Forge Couple",
        [
            *(True, True, "Mask", "", "Horizontal", "None", 0.5),
            [
                {"mask": picture([(255,) * 3, (0,) * 3]), "weight": 1},
                {"mask": picture([(0,) * 3, (255,) * 3]), "weight": 1},
            ],
        ],
        "\n",
    ),
    "attention": (RP, [*COLUMNS, "Attention"], " BREAK "),
    "latent": (RP, [*COLUMNS, "Latent"], " BREAK "),
    "mask": (
        RP,
        [True, False, "Mask", *COLUMNS[3:], "Attention", [], "0", "0", "0.4", MASK],
        " BREAK ",
    ),
    "mask latent": (
        RP,
        [True, False, "Mask", *COLUMNS[3:], "Latent", [], "0", "0", "0.4", MASK],
        " BREAK ",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_regions_have_their_own_prompts(worker: Worker, way: str) -> None:
    """Two regions of one prompt are that prompt; two prompts are neither of them."""
    title, args, between = WAYS[way]

    def divided(left: str, right: str) -> Any:
        return scripted(worker, title, args, prompt=f"{left}{between}{right}")

    one, other = (plain(worker, name) for name in ("cat", "dog"))
    assert likeness(divided("cat", "cat"), one) > NEAR_DB
    both = divided("cat", "dog")
    assert is_picture(both)
    assert likeness(both, one) < NEAR_DB and likeness(both, other) < NEAR_DB
    swapped = divided("dog", "cat")
    assert likeness(both, swapped) < NEAR_DB


def test_ways_that_divide_alike_agree(worker: Worker) -> None:
    """Halves are halves as a matrix, as a mask and as Forge Couple's tiles."""
    found = []
    for way in ("attention", "mask", "couple", "couple mask"):
        title, args, between = WAYS[way]
        found.append(scripted(worker, title, args, prompt=f"cat{between}dog"))
    assert all(likeness(item, found[0]) > SAME_DB for item in found[1:])
    latent = [
        scripted(worker, WAYS[way][0], WAYS[way][1], prompt="cat BREAK dog")
        for way in ("latent", "mask latent")
    ]
    assert likeness(*latent) > SAME_DB and likeness(latent[0], found[0]) < NEAR_DB


@pytest.mark.parametrize("calculation", ["Attention", "Latent"])
def test_the_base_has_its_share(worker: Worker, calculation: str) -> None:
    def based(share: str) -> Any:
        args = [*COLUMNS[:7], share, True, *COLUMNS[9:], calculation]
        return scripted(worker, RP, args, prompt="owl ADDBASE cat BREAK dog")

    assert likeness(based("1"), plain(worker, "owl")) > NEAR_DB
    args = [*COLUMNS, calculation]
    without = scripted(worker, RP, args, prompt="cat BREAK dog")
    assert likeness(based("0"), without) > NEAR_DB
    assert likeness(based("0.5"), without) < NEAR_DB


def test_a_negative_prompt_is_divided_like_the_positive_one(worker: Worker) -> None:
    args = [*COLUMNS, "Attention"]
    both = scripted(worker, RP, args, prompt="cat BREAK cat", negative_prompt="x BREAK x")
    assert likeness(both, plain(worker, "cat", negative_prompt="x")) > NEAR_DB


def test_in_latent_a_lora_acts_in_its_region(worker: Worker) -> None:
    args = [*COLUMNS, "Latent"]
    without = scripted(worker, RP, args, prompt="cat BREAK cat")
    left = scripted(worker, RP, args, prompt=f"cat {LORA} BREAK cat")
    right = scripted(worker, RP, args, prompt=f"cat BREAK cat {LORA}")
    assert all(likeness(one, without) < NEAR_DB for one in (left, right))
    assert likeness(left, right) < NEAR_DB
    both = scripted(
        worker, RP, [*args, [], "1", "1"], prompt=f"cat {LORA[:-2]}0.5> BREAK cat {LORA[:-2]}0.5>"
    )
    assert likeness(both, plain(worker, f"cat {LORA}")) > SAME_DB, "everywhere, and twice a half"


IP_ADAPTER = {"module": "ip-adapter_clip_sd15", "model": "ip-adapter_sd15", "weight": 0.6}


@pytest.mark.parametrize(
    ("way", "acts"), [("couple", True), ("attention", False), ("latent", True)]
)
@pytest.mark.parametrize("negative", ["", "x " * 80], ids=["one length", "two lengths"])
def test_an_image_prompt_beside_regions(
    worker: Worker, need: Callable[..., None], way: str, acts: bool, negative: str
) -> None:
    """With one prompt in both regions it does what it does without regions, or nothing."""
    need("IPAdapterAdvanced")
    title, args, between = WAYS[way]
    fields = {**SIZE, "prompt": f"cat{between}cat", "negative_prompt": negative}
    regions = {title: {"args": args}}
    prompted = controlled(unit(**IP_ADAPTER))["alwayson_scripts"]
    answer = worker.generate(sd15(**fields, alwayson_scripts={**regions, **prompted}))
    told = [text for text in answer.get("warnings", ()) if "has no effect beside" in text]
    assert bool(told) is not acts
    whole = {"prompt": "cat", "alwayson_scripts": prompted}
    same = {**fields, **(whole if acts else {"alwayson_scripts": regions})}
    assert likeness(pixels(answer), pixels(worker.generate(sd15(**same)))) > SAME_DB


def test_sdxl_has_regions_too(worker: Worker) -> None:
    def made(calculation: str) -> Any:
        scripts = {RP: {"args": [*COLUMNS, calculation]}}
        request = sdxl(**SIZE, prompt="cat BREAK dog", alwayson_scripts=scripts)
        return pixels(worker.generate(request))

    attention, latent = made("Attention"), made("Latent")
    assert is_picture(attention) and is_picture(latent)
    assert likeness(attention, latent) < NEAR_DB


def test_a_mask_without_regions_is_one_clear_error(worker: Worker) -> None:
    args = [True, False, "Mask", *COLUMNS[3:], "Attention", [], "0", "0", "0.4"]
    blank = picture([(255, 255, 255)])
    answer = worker.call(
        sd15(**SIZE, prompt="a BREAK b", alwayson_scripts={RP: {"args": [*args, blank]}})
    )
    assert "no region's colour" in str(answer)
