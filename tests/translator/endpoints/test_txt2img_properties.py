"""Whatever a payload holds: a graph that the signatures accept, or a TranslationError."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.corpus import picture
from tests.corpus.signatures import bundled, faults
from translator import Translation, TranslationError, translate
from translator.comfy.catalog import Catalog
from translator.control import modules
from translator.models.upscalers import names as upscaler_names
from translator.request.a1111_options import option_rows
from translator.schedules.samplers import samplers, schedulers
from translator.schemas import read_schema

pytestmark = pytest.mark.slow

_PROPERTIES = read_schema("txt2img")["properties"]

EXAMPLES = os.environ.get("EXAMPLES")
"""More examples, other ones in every run; without it the same few."""

_NUMBERS = st.one_of(
    st.sampled_from([-1, 0, 0.05, 0.3, 0.5, 1, 1.6, 2, 7, 20, 64, 512, 1000, 1e6, -0.5]),
    st.integers(-10, 3000),
    st.floats(-5, 200, allow_nan=False),
)
_STEPS = st.one_of(st.integers(-1, 40), st.just(9999))
_SIDES = st.one_of(st.integers(0, 2100), st.sampled_from([64, 512, 513, 768, 1024, 16384]))
_COUNTS = st.integers(-1, 4)
_SEEDS = st.one_of(
    st.integers(-3, 2**32),
    st.sampled_from(["", None, "12", -1, 2**63, -(2**63), 2**64 - 1, 2**64, 1.5]),
)

_PIECES = [
    "a cat", "dog", ",", " AND ", " BREAK ", "(", ")", "[", "]", ":", "|", "0.5", "1.3", "-2",
    "<lora:x:0.7>", "<lora:y:te=1:unet=a>", "<hypernet:h:2>", "<lyco:z>", "<unknown:q:1>", "\\(",
    "#", "\n", "10", "easynegative", "{prompt}", "é", "\u0000", "\\",
]  # fmt: skip
_TEXTS = st.lists(st.sampled_from(_PIECES), max_size=12).map("".join)

_SAMPLERS = [row.name for row in samplers()] + [
    "DPM++ SDE Karras",
    "k_euler",
    "",
    "Euler a uniform",
]
_SCHEDULERS = [row.label for row in schedulers()] + ["karras", "automatic", "nonsense", ""]
_CHECKPOINTS = [
    "sd_xl_base_1.0.safetensors [31e35c80fc]", "v1-5-pruned", "v2-1_768", "a\\b.ckpt", "", "None",
    "sd_xl_refiner_1.0", "Use same checkpoint",
]  # fmt: skip

_MODELS = [
    "control_v11p_sd15_canny [d14c016b]", "diffusers_xl_canny_full", "None", "none", "",
    "ip-adapter_instant_id_sdxl [eb2d3ec0]", "control_instant_id_sdxl [c5c25a50]",
    "ip-adapter_sd15", "ip-adapter-faceid_sdxl", "t2iadapter_style_sd14v1", "nothing",
    "t2iadapter_canny_sd15v2", "controlnet_union_sdxl", "control_v11e_sd15_shuffle",
    "kohya_controllllite_xl_canny",
]  # fmt: skip
_MODULES = ["InsightFace (InstantID)", "canny", "none", "no such module", "tile_resample"]


_IMAGES = st.one_of(
    st.sampled_from(["face.jpg", "photo.jpg", "logo.png", "mask.png"]).map(picture),
    st.sampled_from(["", "not base64", "aGVsbG8=", "data:image/png;base64,", None]),
)
_UNIT_VALUES = {
    "image": st.one_of(
        _IMAGES,
        st.fixed_dictionaries({"image": _IMAGES}, optional={"mask": _IMAGES}),
        st.lists(_IMAGES, max_size=3),
    ),
    "mask": _IMAGES,
    "effective_region_mask": _IMAGES,
    "module": st.sampled_from([*modules.table(), *_MODULES]),
    "model": st.sampled_from(_MODELS),
    "advanced_weighting": st.one_of(
        st.none(), st.lists(st.floats(-1, 3), max_size=17), st.just([1.0] * 13), st.just([0.5] * 10)
    ),
    "input_mode": st.sampled_from(["simple", "merge", 0]),
    "processor_res": st.one_of(st.integers(-5, 3000), st.just("512")),
}
_ANYTHING = st.one_of(
    st.none(), st.booleans(), st.text(max_size=5), _NUMBERS, st.just([]), st.just({}), st.just([1])
)


@st.composite
def _some_fields(draw: Any, schema: str, own: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Some of a schema's fields; one of them may hold anything."""
    properties = read_schema(schema)["properties"]
    names = draw(st.lists(st.sampled_from(sorted(properties)), max_size=most, unique=True))
    fields = {name: draw(own.get(name, _plain(properties[name]))) for name in names}
    odd = draw(st.sampled_from([None, *names, *[None] * len(names)]))
    return fields | ({odd: draw(_ANYTHING)} if odd else {})


def _plain(item: Mapping[str, Any]) -> Any:
    if "enum" in item:
        return st.sampled_from([*item["enum"], 0, 1, 2, "nonsense"])
    kinds = item["type"] if isinstance(item["type"], list) else [item["type"]]
    return {
        "boolean": st.booleans(),
        "integer": st.integers(-5, 2000),
        "number": _NUMBERS,
        "string": _TEXTS,
        "array": st.lists(_TEXTS, max_size=2),
        "object": st.just({}),
    }[kinds[0]]


@st.composite
def _unit(draw: Any) -> dict[str, Any]:
    needed = {name: draw(_UNIT_VALUES[name]) for name in ("image", "module", "model")}
    return needed | draw(_some_fields("controlnet_unit", _UNIT_VALUES, 5))


_UNITS = st.lists(st.one_of(_unit(), _unit(), _ANYTHING), max_size=4)
_OPTION_VALUES = st.one_of(_NUMBERS, st.booleans(), _TEXTS, st.none())
_OVERRIDES = st.one_of(
    st.dictionaries(st.sampled_from([*option_rows(), "nonsense"]), _OPTION_VALUES, max_size=6),
    st.fixed_dictionaries(
        {},
        optional={
            "sd_model_checkpoint": st.sampled_from(_CHECKPOINTS),
            "sd_vae": st.sampled_from(["Automatic", "None", "vae.safetensors", ""]),
            "CLIP_stop_at_last_layers": st.integers(-1, 14),
            "emphasis": st.sampled_from(["Original", "No norm", "Ignore", "None", "x"]),
            "randn_source": st.sampled_from(["GPU", "CPU", "NV"]),
            "samples_format": st.sampled_from(["png", "jpg", "webp", "gif"]),
        },
    ),
)
_SCRIPTS = [
    ("X/Y/Z plot", [4, "5,6", "", 9, "", ["Euler"], 0, "", "", True] + [False] * 6 + [0, False]),
    ("X/Y/Z plot", list(range(18))),
    ("Prompt matrix", [False, True, "negative", "space", 3]),
    ("Prompts from file or textbox", [True, False, "end", "a\n--prompt b --steps 3"]),
    ("Prompts from file or textbox", [1, 2, 3, "--batch_size 0\n--width 7\n--cfg_scale x"]),
    ("Prompts from file or textbox", [0, 1, "start", "--sd_model x --styles y --n_iter 3"]),
    ("nonsense", []),
]  # fmt: skip
_OWN = {
    "prompt": _TEXTS,
    "negative_prompt": _TEXTS,
    "hr_prompt": _TEXTS,
    "hr_negative_prompt": _TEXTS,
    "seed": _SEEDS,
    "subseed": _SEEDS,
    "steps": _STEPS,
    "hr_second_pass_steps": _STEPS,
    "batch_size": _COUNTS,
    "n_iter": _COUNTS,
    "width": _SIDES,
    "height": _SIDES,
    "firstphase_width": st.one_of(st.just(0), _SIDES),
    "firstphase_height": st.one_of(st.just(0), _SIDES),
    "hr_resize_x": st.one_of(st.just(0), _SIDES),
    "hr_resize_y": st.one_of(st.just(0), _SIDES),
    "sampler_name": st.sampled_from(_SAMPLERS),
    "sampler_index": st.sampled_from(_SAMPLERS),
    "hr_sampler_name": st.sampled_from(_SAMPLERS),
    "scheduler": st.sampled_from(_SCHEDULERS),
    "hr_scheduler": st.sampled_from(_SCHEDULERS),
    "hr_upscaler": st.sampled_from([*upscaler_names(Catalog.bundled()), "LDSR", "x/y", ""]),
    "hr_checkpoint_name": st.sampled_from(_CHECKPOINTS),
    "refiner_checkpoint": st.sampled_from(_CHECKPOINTS),
    "override_settings": _OVERRIDES,
    "script_args": st.one_of(st.just([]), st.lists(_ANYTHING, max_size=18)),
    "script_name": st.sampled_from([name for name, _ in _SCRIPTS]),
    "alwayson_scripts": st.one_of(
        _UNITS.map(lambda units: {"controlnet": {"args": units}}),
        st.dictionaries(st.sampled_from(["ControlNet", "ADetailer", "x"]), _ANYTHING, max_size=2),
    ),
    "infotext": st.one_of(
        _TEXTS,
        st.just("a\nSteps: 3, Sampler: DPM++ 2M, Size: 64x0, Seed: x, Hires upscale: -1, RNG: CPU"),
    ),
    "force_task_id": st.none(),
    "firstpass_image": st.none(),
}

_SENSIBLE = _OWN | {
    "enable_hr": st.just(True),
    "denoising_strength": st.floats(0, 1),
    "steps": st.integers(1, 30),
    "batch_size": st.integers(1, 3),
    "n_iter": st.integers(1, 2),
    "infotext": st.none(),
    "script_name": st.none(),
    "width": st.integers(16, 2048),
    "height": st.integers(16, 2048),
}


@st.composite
def _sensible(draw: Any) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(_PROPERTIES)), max_size=10, unique=True))
    fields = {name: draw(_SENSIBLE.get(name, _plain(_PROPERTIES[name]))) for name in names}
    return {"seed": 1, "denoising_strength": 0.5, **fields}


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "unsupported": st.sampled_from(["error", "warn"]),
        "fidelity": st.sampled_from(["exact", "core"]),
        "defaults": st.sampled_from(["a1111", "runpod-worker-a1111"]),
        "detected_maps": st.sampled_from(["result", "all"]),
        "image_output": st.sampled_from(["save", "preview", "websocket"]),
    },
)


def _check(payload: Any, options: Mapping[str, Any]) -> None:
    try:
        translation = translate(payload, options=options)
    except TranslationError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
        event("refused")
        return
    event("translated")
    _check_translation(translation)


def _check_translation(translation: Translation) -> None:
    assert faults(translation.graph, bundled()) == []
    json.dumps(
        translation.to_json(),
        allow_nan=False,
    )
    uploads = {upload.name for upload in translation.uploads}
    for output in translation.outputs:
        assert output.upload in uploads or output.node in translation.graph


_SETTINGS = settings(
    max_examples=int(EXAMPLES or 120),
    derandomize=EXAMPLES is None,
    suppress_health_check=[HealthCheck.too_slow],
)


@_SETTINGS
@given(payload=_some_fields("txt2img", _OWN, 12), options=OPTIONS)
def test_any_payload_is_translated_or_refused(payload: Any, options: Mapping[str, Any]) -> None:
    _check(payload, options)


@_SETTINGS
@given(payload=_sensible(), options=OPTIONS)
def test_sensible_payloads_are_translated_or_refused(
    payload: Any, options: Mapping[str, Any]
) -> None:
    _check(payload, options)


@_SETTINGS
@given(
    units=_UNITS,
    checkpoint=st.sampled_from(_CHECKPOINTS),
    hires=st.booleans(),
    options=OPTIONS,
)
def test_any_control_net_units_are_translated_or_refused(
    units: Any, checkpoint: str, hires: bool, options: Mapping[str, Any]
) -> None:
    payload = {
        "prompt": "a cat",
        "seed": 1,
        "steps": 10,
        "enable_hr": hires,
        "denoising_strength": 0.5,
        "override_settings": {"sd_model_checkpoint": checkpoint},
        "alwayson_scripts": {"controlnet": {"args": units}},
    }
    _check(payload, options)


@_SETTINGS
@given(
    script=st.sampled_from(_SCRIPTS),
    position=st.integers(0, 17),
    odd=st.one_of(st.nothing(), _ANYTHING, _TEXTS),
    others=_sensible(),
    options=OPTIONS,
)
def test_any_script_is_expanded_or_refused(
    script: tuple[str, list[Any]],
    position: int,
    odd: Any,
    others: dict[str, Any],
    options: Mapping[str, Any],
) -> None:
    name, args = script[0], list(script[1])
    args[position : position + 1] = [odd]
    _check({**others, "script_name": name, "script_args": args}, options)


@pytest.mark.parametrize("payload", [None, [], "text", 5, True])
def test_what_is_no_object_is_refused(payload: Any) -> None:
    with pytest.raises(TranslationError, match="not an object"):
        translate(payload)
