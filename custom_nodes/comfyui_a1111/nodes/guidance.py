"""FreeU and perturbed-attention guidance in a range of A1111's steps, and token merging."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..maths.free_u import COUNTERS, STEPS, FreeU, Schedule
from ..maths.perturbed import Perturbed, guided
from ..maths.reference import BATCH, WholeBatch
from ..maths.token_merging import merge_tokens
from ..vendor.plan.free_u import Stage
from .inputs import number, whole

CATEGORY = "A1111/sampling"
_MOST = 100000


class A1111FreeU:
    """FreeU by sd-webui-freeu's rules (calls) or Forge's (steps), in a range of them.

    `stages` is a JSON list of [backbone, skip, offset, width, cutoff, high] for 1280, 640 and 320
    channels. `range` is a JSON list of start and stop: shares of the steps, or, as whole numbers,
    steps. Needs our guider, which counts.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "version": (["1", "2"],),
                "stages": ("STRING", {"default": "[]", "multiline": False}),
                "range": ("STRING", {"default": "[0.0, 1.0]", "multiline": False}),
                "smoothness": number(0.0, 0.0, 1.0),
                "counter": (list(COUNTERS),),
                "steps": whole(20, 1, _MOST),
                "first_call": whole(0, 0, _MOST),
            }
        }

    def patch(
        self,
        model: Any,
        version: str,
        stages: str,
        range: str,
        smoothness: float,
        counter: str,
        steps: int,
        first_call: int,
    ) -> tuple[Any]:
        start, stop = json.loads(range)
        schedule = Schedule(start, stop, smoothness, steps, first_call, counter)
        found = tuple(Stage(*stage) for stage in json.loads(stages))
        patched = model.clone()
        patched.set_model_output_block_patch(
            FreeU(found, version == "2", halves=counter == STEPS, schedule=schedule)
        )
        return (patched,)


class A1111TokenMerging:
    """Option token_merging_ratio: self-attention on fewer tokens, chosen as A1111 chooses them."""

    CATEGORY = "A1111/model"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"model": ("MODEL",), "ratio": number(0.0, 0.0, 1.0)}}

    def patch(self, model: Any, ratio: float) -> tuple[Any]:
        return (merge_tokens(model, ratio),)


class A1111PerturbedAttention:
    """Perturbed-attention guidance as Forge has it: in a range of steps, weakening by and by.

    Needs our guider, which counts.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "scale": number(3.0, 0.0, 100.0),
                "attenuation": number(0.0, 0.0, 100.0),
                "start": number(0.0, 0.0, 1.0),
                "end": number(1.0, 0.0, 1.0),
                "steps": whole(20, 1, _MOST),
            }
        }

    def patch(
        self,
        model: Any,
        scale: float,
        attenuation: float,
        start: float,
        end: float,
        steps: int,
    ) -> tuple[Any]:
        perturbed = Perturbed(scale, attenuation, start, end, steps)
        patched = model.clone()
        patched.set_model_sampler_post_cfg_function(lambda args: _led_away(perturbed, args))
        return (patched,)


def _led_away(perturbed: Perturbed, args: Mapping[str, Any]) -> Any:
    """The guided prediction of a call, led away from that without self-attention."""
    import comfy.model_patcher
    import comfy.samplers

    options = args["model_options"]
    batch = options.get("transformer_options", {}).get(BATCH, WholeBatch())
    scale = perturbed.scale_at(batch)
    if scale == 0:
        return args["denoised"]
    replaced = comfy.model_patcher.set_model_options_patch_replace(
        options.copy(), lambda q, k, v, extra, **more: v, "attn1", "middle", 0
    )
    (degraded,) = comfy.samplers.calc_cond_batch(
        args["model"], [args["cond"]], args["input"], args["sigma"], replaced
    )
    return guided(args["denoised"], args["cond_denoised"], degraded, scale)
