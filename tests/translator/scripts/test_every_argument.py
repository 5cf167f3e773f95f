"""Nothing is dropped in silence: fields of units and arguments of scripts all leave a trace.

As tests/translator/test_nothing_silent.py does for fields and options.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pytest

from tests.translator.control_requests import picture
from tests.translator.faceswap.test_reactor import arguments as reactor_arguments
from tests.translator.traces import (
    DETAIL,
    FROM_PICTURE,
    HIRES,
    MASK,
    MASKED,
    OTHER,
    PICTURE,
    PLAIN,
    SDXL,
    UNIT,
    Payload,
    trace,
)
from translator.detailer.units import KEYS, DetailerUnit
from translator.schemas import read_schema
from translator.tables import read_table

REGIONS = (
    *(True, False, "Matrix", "Columns", "Mask", "Prompt", "1,2", "0.2", True, True, True),
    *("Attention", [], "0", "0", "0.4", None, "0", "0", False),
)
BLOCKS = "A:" + ",".join(["1", "0"] * 8 + ["1"])

Contexts = Sequence[tuple[str, Payload, Any]]
"""Tab, fields of the request, and a script's arguments in which one is exchanged."""


def exchanged_acts(title: str, contexts: Contexts, place: Any, values: Iterable[Any]) -> bool:
    """Whether another value of an argument leaves a trace in some context.

    Args:
        place: position of an argument; or position of an object among them and its member.
    """
    tried = list(values)
    for tab, request, args in contexts:
        before = trace(tab, _with_script(request, title, args))
        for value in tried:
            changed = _exchanged(args, place, value)
            if trace(tab, _with_script(request, title, changed)) != before:
                return True
    return False


def _with_script(request: Payload, title: str, args: Sequence[Any]) -> Payload:
    scripts = {**request.get("alwayson_scripts", {}), title: {"args": list(args)}}
    return {**PLAIN, **request, "alwayson_scripts": scripts}


def _exchanged(args: Sequence[Any], place: Any, value: Any) -> list[Any]:
    changed = list(args)
    if isinstance(place, tuple):
        position, member = place
        changed[position] = {**changed[position], member: value}
    else:
        changed[place] = value
    return changed


def others(value: Any) -> Iterator[Any]:
    """Values of an argument's kind that are not its own."""
    match value:
        case bool():
            yield not value
        case int() | float():
            yield from (value + 1, value / 2, 0, 1, 0.5, 16)
        case str():
            yield from ("1", "other", "Rows", "Mask", "Background", "2,1")
        case _:
            yield from ([], ["x"], MASK, 1)


UNITS: Sequence[Payload] = (
    UNIT,
    {**UNIT, "module": "inpaint_only", "model": "control_v11p_sd15_inpaint"},
    {**UNIT, "image": picture(200, 100)},
    {"image": PICTURE, "module": "ip-adapter_pulid", "model": "ip-adapter_pulid_sdxl_fp16"},
    {"image": PICTURE, "module": "depth_midas", "model": "controlnet_union_sdxl"},
)
UNIT_VALUES: Mapping[str, Sequence[Any]] = {
    "module": ["depth_midas"],
    "model": ["other"],
    "image": [OTHER],
    "mask": [MASK],
    "resize_mode": ["Just Resize"],
    "control_mode": ["My prompt is more important"],
    "hr_option": ["Low res only"],
    "advanced_weighting": [[1 - n / 13 for n in range(13)]],
    "effective_region_mask": [MASK],
    "pulid_mode": ["Extreme style"],
    "union_control_type": ["Depth"],
    "ipadapter_input": ["x"],
    "input_mode": ["batch"],
    "weight": [0.5],
    "guidance_start": [0.3],
    "guidance_end": [0.7],
    "processor_res": [128],
    "threshold_a": [10],
    "threshold_b": [220],
}
SILENT_UNIT_FIELDS = {"low_vram": "it is about memory alone"}


@pytest.mark.parametrize("name", read_schema("controlnet_unit")["properties"])
def test_every_field_of_a_unit(name: str) -> None:
    item = read_schema("controlnet_unit")["properties"][name]
    contexts = [
        (tab, {**request, **model}, [unit])
        for unit in UNITS
        for tab, request in (("txt2img", HIRES), ("img2img", {**MASKED, "init_images": [OTHER]}))
        for model in ({}, SDXL)
    ]
    values = UNIT_VALUES.get(name) or [not item["default"]]
    found = exchanged_acts("ControlNet", contexts, (0, name), values)
    assert found is (name not in SILENT_UNIT_FIELDS)


DETAIL_VALUES: Mapping[str, Any] = {
    "ad_model": "hand_yolov8n.pt",
    "ad_model_classes": "cat",
    "ad_prompt": "other",
    "ad_negative_prompt": "other",
    "ad_mask_filter_method": "Confidence",
    "ad_mask_merge_invert": "Merge",
    "ad_checkpoint": "other",
    "ad_vae": "other",
    "ad_sampler": "Heun",
    "ad_scheduler": "Exponential",
    "ad_controlnet_model": "control_v11f1e_sd15_tile",
    "ad_controlnet_module": "inpaint_only",
}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_adetailer(key: str) -> None:
    switched = {
        **{name: True for name in KEYS if name.startswith("ad_use_")},
        "ad_cfg_scale": 3.0,
        "ad_noise_multiplier": 1.2,
        "ad_clip_skip": 2,
        "ad_checkpoint": "mine",
        "ad_vae": "mine",
        "ad_mask_k": 2,
        "ad_controlnet_model": "control_v11p_sd15_inpaint",
    }
    default = {item.name: item.default for item in fields(DetailerUnit)}[key]
    usual = switched.get(key, default)
    values = [DETAIL_VALUES[key]] if key in DETAIL_VALUES else list(others(usual))
    contexts = [
        ("txt2img", {}, [True, False, {**DETAIL, **more}])
        for more in ({}, switched, {"ad_model": "yolov8x-worldv2.pt"})
    ]
    assert exchanged_acts("ADetailer", contexts, (2, key), values)


BASIC = {"prompt": "a BREAK b BREAK c", "negative_prompt": "d BREAK e BREAK f", **HIRES}
LORAS = {**BASIC, "prompt": "x BREAK a <lora:one:1> BREAK b <lora:two:1>"}
LATENT = [*REGIONS[:11], "Latent", *REGIONS[12:]]
FEW = [*REGIONS[:6], "1,2", "0.2", False, False, False, *REGIONS[11:]]
COUPLE = (True, False, "Basic", "", "Horizontal", "First Line", 0.5, [], "{ }", False, False)
ADVANCED = (*COUPLE[:2], "Advanced", *COUPLE[3:7], [[0, 1, 0, 1, 1], [0, 1, 0, 1, 1]], *COUPLE[8:])
TILED = (
    *(True, "MultiDiffusion", False, True, 1024, 1024, 16, 16, 8, 4, "None", 2.0, False, 10, 1.0),
    *(0.5, 64, False, False, True, True, True, 0.1, 0.1, 0.5, 0.5, "a", "b", "Foreground", 0.2, 3),
)
CUT = {"width": 256, "height": 256}
BY_REGION = [*TILED[:18], True, *TILED[19:]]
WIDER = [*TILED[:2], True, *TILED[3:]]
INVERTED = [*TILED[:3], False, *TILED[4:10], "R-ESRGAN 4x+", 2.0, True, *TILED[13:]]
FREE_U = (True, 0.0, 0.9, 0.1, "2", 1.2, 0.9, 0.1, 0.5, 0.2, 1.0, 1.1, 0.8, 0.0, 0.5, 0.0, 1.0)
DYNAMIC = (
    *(True, False, 1, False, False, False, 1.1, 1.5, 100, 0.7, False, False, False, False, False),
    *(0, "Gustavosta/MagicPrompt-Stable-Diffusion", ""),
)
DRAWN = {"prompt": "{a|b} c", "negative_prompt": "{d|e}", "n_iter": 2}
COMBINED = [True, True, 2, *DYNAMIC[3:]]
SWAP = reactor_arguments(p0=PICTURE, p4="inswapper_128.onnx", p5="CodeFormer", p8="R-ESRGAN 4x+")
SWAP[9] = 2
MODEL_SWAP = [*SWAP[:22], 1, "one.safetensors", *SWAP[24:]]
FOLDER_SWAP = [*SWAP[:22], 2, "None", "/faces", *SWAP[25:]]

SCRIPTS: Mapping[str, Contexts] = {
    "Regional Prompter": (
        ("txt2img", BASIC, REGIONS),
        ("txt2img", LORAS, LATENT),
        ("txt2img", BASIC, FEW),
        ("txt2img", BASIC, [*FEW[:2], "Mask", *FEW[3:]]),
    ),
    "Forge Couple": (
        ("txt2img", {**HIRES, "prompt": "x {c:d}\na {c}\nb"}, COUPLE),
        ("txt2img", {"prompt": "a\nb"}, ADVANCED),
    ),
    "Tiled Diffusion": (
        ("txt2img", CUT, TILED),
        ("txt2img", CUT, BY_REGION),
        ("txt2img", CUT, WIDER),
        ("img2img", {**FROM_PICTURE, **CUT}, INVERTED),
        ("img2img", {**FROM_PICTURE, **CUT}, TILED),
    ),
    "MultiDiffusion Integrated": (
        ("txt2img", {"width": 1024}, (True, "MultiDiffusion", 512, 512, 64, 4)),
    ),
    "Soft Inpainting": (("img2img", MASKED, (True, 1, 0.5, 4, 0.1, 0.5, 2)),),
    "FreeU": (("txt2img", {}, FREE_U),),
    "FreeU Integrated": (("txt2img", {}, (True, 1.1, 1.2, 0.9, 0.8, 0.1, 0.5)),),
    "Self Attention Guidance": (("txt2img", {}, (True, 0.75, 1.0)),),
    "SelfAttentionGuidance Integrated": (("txt2img", {}, (True, 0.5, 2.0, 1.0)),),
    "PerturbedAttentionGuidance Integrated": (("txt2img", {}, (True, 3.0, 0.5, 0.1, 0.8)),),
    "Kohya HRFix Integrated": (
        ("txt2img", {}, (True, 3, 2.0, 0.1, 0.35, True, "bicubic", "bicubic")),
    ),
    "HyperTile Integrated": (("txt2img", {}, (True, 256, 2, 1, False)),),
    "CFG Rescale Extension": (("txt2img", {}, (0.5, False, 0.5, False)),),
    "Dynamic Prompts v2.17.1": (("txt2img", DRAWN, DYNAMIC), ("txt2img", DRAWN, COMBINED)),
    "LoRA Block Weight": (
        ("txt2img", {"prompt": "a <lora:one:1:lbw=A>"}, (BLOCKS, True, 0, *["None", ""] * 3)),
    ),
    "ReActor": (
        ("txt2img", {}, SWAP),
        ("txt2img", {}, MODEL_SWAP),
        ("txt2img", {}, FOLDER_SWAP),
        ("img2img", FROM_PICTURE, SWAP),
    ),
}

SILENT_ARGUMENTS: Mapping[str, Mapping[int, str]] = {
    "Forge Couple": {9: "it prints the common prompts"},
    "Tiled Diffusion": {17: "it is about memory alone", 20: "of the page alone"},
    "CFG Rescale Extension": {2: "of the colour fix, which is refused", 3: "likewise"},
    "Dynamic Prompts v2.17.1": {
        **dict.fromkeys((6, 7), "of the attention grabber, which is refused"),
        **dict.fromkeys((8, 9, 12, 16, 17), "of the magic prompt, which is refused"),
    },
    "LoRA Block Weight": dict.fromkeys(range(3, 9), "of its plot, which is told"),
    "ReActor": {
        **dict.fromkeys((18, 19), "what is kept in memory"),
        **dict.fromkeys((24, 26), "of a folder of sources, which is refused"),
        20: "the server's device",
        30: "which tab of its page was open",
    },
}

ARGUMENTS = [
    (title, place) for title, found in SCRIPTS.items() for place in range(len(found[0][2]))
]


@pytest.mark.parametrize(("title", "place"), ARGUMENTS)
def test_every_argument_of_a_script(title: str, place: int) -> None:
    contexts = SCRIPTS[title]
    found = exchanged_acts(title, contexts, place, others(contexts[0][2][place]))
    assert found is (place not in SILENT_ARGUMENTS.get(title, {}))


# --- scripts that a request names ----------------------------------------------------------------

MATRIX = {"prompt": "a|b|c"}
ROWS = '--prompt "a" --steps 3\nb'
WHOLE = {**FROM_PICTURE, "sampler_name": "Euler a"}
ALTERNATIVE = ("", False, False, "a dog", "bad", False, 3, False, 1.0, 0.5, True)
UPSCALE = (*(None, 64, 64, 8, 16, 32, 0.4, 16, 3, False, 0, False, 4, 2, 2, 256, 256, 2),)

NAMED: Mapping[str, Contexts] = {
    "prompt matrix": (
        ("txt2img", MATRIX, (False, False, "positive", "comma", 0)),
        ("txt2img", {**MATRIX, "negative_prompt": "d|e"}, (True, True, "positive", "comma", 0)),
    ),
    "prompts from file or textbox": (
        ("txt2img", {}, (False, False, "start", ROWS)),
        ("txt2img", {"seed": -1}, (False, False, "end", ROWS)),
    ),
    "x/y/z plot": (
        ("txt2img", {}, (4, "2,3", [], 6, "5,6", [], 0, "", [], True, *[False] * 6, 0, False)),
        (
            "txt2img",
            {"seed": -1},
            (1, "-1,-1", [], 4, "2,3", [], 6, "5,6", [], True, *[False] * 6, 0, False),
        ),
        (
            "txt2img",
            {},
            (9, "", ["Euler"], 9, "", ["Heun"], 9, "", ["LMS"], True, *[False] * 6, 0, False),
        ),
    ),
    "sd upscale": (("img2img", WHOLE, ("", 64, "R-ESRGAN 4x+", 2.0)),),
    "ultimate sd upscale": (
        ("img2img", WHOLE, UPSCALE),
        ("img2img", WHOLE, (*UPSCALE[:14], 1, *UPSCALE[15:])),
    ),
    "loopback": (("img2img", WHOLE, (3, 0.9, "Aggressive", "None")),),
    "outpainting mk2": (("img2img", WHOLE, ("", 64, 8, ["left"], 1.5, 0.1)),),
    "poor man's outpainting": (("img2img", WHOLE, (64, 4, 0, ["left"])),),
    "img2img alternative test": (
        ("img2img", WHOLE, ALTERNATIVE),
        ("img2img", {**WHOLE, "sampler_name": "Heun"}, ALTERNATIVE),
    ),
}

_PAGE = "a text of the page"
SILENT_NAMED: Mapping[str, Mapping[int, str]] = {
    "sd upscale": {0: _PAGE},
    "ultimate sd upscale": {0: _PAGE, **dict.fromkeys((9, 11), "of files on A1111's disk")},
    "outpainting mk2": {0: _PAGE},
    "img2img alternative test": {0: _PAGE},
}

NAMED_ARGUMENTS = [
    (title, place) for title, found in NAMED.items() for place in range(len(found[0][2]))
]


def named(request: Payload, title: str, args: Sequence[Any]) -> Payload:
    return {**PLAIN, **request, "script_name": title, "script_args": list(args)}


@pytest.mark.parametrize(("title", "place"), NAMED_ARGUMENTS)
def test_every_argument_of_a_named_script(title: str, place: int) -> None:
    found = False
    for tab, request, args in NAMED[title]:
        before = trace(tab, named(request, title, args))
        for value in others(args[place]):
            changed = _exchanged(args, place, value)
            found |= trace(tab, named(request, title, changed)) != before
    assert found is (place not in SILENT_NAMED.get(title, {}))


def test_every_named_script_of_a1111_is_looked_at() -> None:
    rows = read_table("api")["script_arguments"].items()
    assert {title for title, row in rows if not row["is_alwayson"]} <= NAMED.keys()
    for title, row in rows:
        if title in NAMED:
            assert len(row["args"]) == len(NAMED[title][0][2])


SET_BY_SCRIPTS = [
    ("prompt matrix", "n_iter"),
    ("loopback", "batch_size"),
    *(("ultimate sd upscale", name) for name in ("batch_size", "n_iter", "mask")),
    *(("poor man's outpainting", name) for name in ("batch_size", "n_iter", "mask")),
    ("outpainting mk2", "mask"),
]


@pytest.mark.parametrize(("title", "field"), SET_BY_SCRIPTS)
def test_fields_that_a_script_sets_itself_are_told(title: str, field: str) -> None:
    tab, request, args = NAMED[title][0]
    without = trace(tab, named(request, title, args))
    value = MASK if field == "mask" else 2
    graph, *seen = trace(tab, named({**request, field: value}, title, args))
    assert graph == without[0]
    told = [text for text in seen if text.startswith(f"{field}: without effect")]
    assert len(told) == 1
