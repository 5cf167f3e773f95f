"""The script "img2img alternative test": a picture is sampled from the noise behind it.

Source: A1111 v1.10.1 ``scripts/img2imgalt.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from translator.request.img2img import Decoding
from translator.scripts.chains import number, whole
from translator.scripts.expansion import Expansion, Fields, ScriptContext, settled_sampler
from translator.scripts.plain import expand_plain

TITLE = "img2img alternative test"

ARGUMENTS = (
    "info",
    "override_sampler",
    "override_prompt",
    "original_prompt",
    "original_negative_prompt",
    "override_steps",
    "decode_steps",
    "override_strength",
    "decode_cfg_scale",
    "randomness",
    "sigma_adjustment",
)

_PATHS = {name: f"script_args[{index}]" for index, name in enumerate(ARGUMENTS)}

_MOST_STEPS = 150
"""A1111's slider ends here."""


def expand_img2img_alternative(
    fields: Fields, args: Sequence[Any], context: ScriptContext
) -> Expansion | None:
    """The request as it is sampled from the noise of its picture, or None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    given = dict(zip(ARGUMENTS, args, strict=True))
    decoding = _decoding(given, context)
    if decoding is None:
        return None
    base = settled_sampler(fields)
    if given["override_sampler"]:
        base["sampler_name"] = "Euler"
    if given["override_prompt"]:
        base |= {"prompt": decoding.prompt, "negative_prompt": decoding.negative_prompt}
    if given["override_steps"]:
        base["steps"] = decoding.steps
    if given["override_strength"]:
        base["denoising_strength"] = 1.0
    return replace(
        expand_plain(base, context.a1111_options),
        variants=({**base, "decoding": decoding},),
        parameters={
            "Decode prompt": decoding.prompt,
            "Decode negative prompt": decoding.negative_prompt,
            "Decode CFG scale": decoding.cfg_scale,
            "Decode steps": decoding.steps,
            "Randomness": decoding.randomness,
            "Sigma Adjustment": given["sigma_adjustment"],
        },
    )


def _decoding(given: dict[str, Any], context: ScriptContext) -> Decoding | None:
    report = context.report
    texts = [given[name] for name in ("original_prompt", "original_negative_prompt")]
    for name in ("original_prompt", "original_negative_prompt"):
        if not isinstance(given[name], str):
            report.invalid(_PATHS[name], "a text is wanted", given[name])
    steps, cfg, share = (given[name] for name in ("decode_steps", "decode_cfg_scale", "randomness"))
    good = whole(steps, _PATHS["decode_steps"], "the number of decode steps", report)
    good = number(cfg, _PATHS["decode_cfg_scale"], "the decode CFG scale", report) and good
    good = number(share, _PATHS["randomness"], "the randomness", report) and good
    if good and not 1 <= steps <= _MOST_STEPS:
        report.invalid(_PATHS["decode_steps"], f"1 to {_MOST_STEPS} steps can be made", steps)
    elif good and not 0 <= share <= 1:
        report.invalid(_PATHS["randomness"], "the randomness is within 0..1", share)
    elif good and all(isinstance(text, str) for text in texts):
        return Decoding(texts[0], texts[1], steps, cfg, share, bool(given["sigma_adjustment"]))
    return None
