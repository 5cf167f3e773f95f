"""Whatever stands in the place of a script's arguments: a graph, or an error that says so."""

from __future__ import annotations

import random
from typing import Any

import pytest

from translator import TranslationError, translate

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, 1e308, -1e308, float("nan"), float("inf"), 10**30),
    *("", "x", "1,2;3", "0,0", "ADDCOL", "Mask", "Latent", "Rows", "Advanced", "None", "{ }"),
    *([], [[]], [1], [[0, 1, 0, 1, 1]], {}, {"mask": "x"}, {"enable": True}, [{"weight": 1}]),
    *("nan", "inf", "1e308,1e308", ["Flip prompts"], {"version": 2}),
    *([{"mask": 1}], "a BREAK b", "\n", "9" * 500, {"stage_infos": [{}]}, {"stage_infos": 3}),
)

USUAL: dict[str, tuple[Any, ...]] = {
    "Regional Prompter": (
        *(True, False, "Matrix", "Columns", "Mask", "Prompt", "1,1", "0.2", False, False, False),
        *("Attention", [], "0", "0", "0.4", None, "0", "0", False),
    ),
    "Forge Couple": (True, True, "Basic", "", "Horizontal", "None", 0.5, [], "{ }", False, True),
    "Tiled Diffusion": (
        *(True, "MultiDiffusion", False, True, 1024, 1024, 16, 16, 8, 4, "None", 2, False, 10, 1),
        *(1, 64, False, True, True, False),
        *(True, 0.1, 0.1, 0.5, 0.5, "a", "b", "Foreground", 0.2, -1),
    ),
    "FreeU": (True, 0, 1, 0, "2", 1.2, 0.9, 0, 0.5, 0, 1),
    "FreeU Integrated (SD 1.x, SD 2.x, SDXL)": (True, 1.1, 1.2, 0.9, 0.8, 0.1, 0.9),
    "PerturbedAttentionGuidance Integrated": (True, 3, 10, 0.1, 0.9),
}
PROMPTS = (
    *("a BREAK b", "a AND b", "x ADDCOMM y ADDBASE a ADDROW b", "one\ntwo", "<lora:x:1> a"),
    *("a HAND BREAK b <lora:LAND:0.5>", "a <lora:x:0.5> BREAK b <lora:x:1e308>"),
)


@pytest.mark.parametrize("title", USUAL)
@pytest.mark.parametrize("seed", range(4))
def test_odd_arguments_are_answered(title: str, seed: int) -> None:
    drawn = random.Random(f"{title} {seed}")
    answered = 0
    for number in range(60):
        args = list(USUAL[title])
        for _ in range(drawn.choice((1, 1, 2, 4)) if number >= len(PROMPTS) else 0):
            args[drawn.randrange(1, len(args))] = drawn.choice(ODD)
        request = {
            "prompt": PROMPTS[number % len(PROMPTS)],
            "seed": 1,
            "steps": 3,
            "width": 256,
            "height": 192,
            "alwayson_scripts": {title: {"args": args}},
        }
        try:
            answered += bool(translate(request).graph)
        except TranslationError as error:
            assert str(error)
    assert answered, "some of them are fine"
