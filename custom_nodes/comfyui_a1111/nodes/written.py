"""Nodes for people in ComfyUI's editor: prompts and steps as A1111's page has them.

A translated graph holds what these work out, written as JSON (A1111TextEncode, A1111Sigmas,
A1111Sampler); a workflow for the editor has these in their place where they give the same.
"""

from __future__ import annotations

import json
from typing import Any

from ..vendor.prompt import written_input
from ..vendor.schedules.samplers import samplers, schedulers
from ..vendor.schedules.written import STARTS, TABLES, lay_out
from .inputs import flag, whole
from .sampling import A1111Sampler, A1111Sigmas
from .text import A1111TextEncode

KINDS = ("prompt", "negative prompt")
_MOST_CALLS = 100000
_PROMPT = "prompt"


class A1111Prompt(A1111TextEncode):
    """Encode a prompt as A1111 writes it: (a:1.2), [a:b:0.5], BREAK, AND.

    `calls` and `hires_calls` are the model calls that edits are laid out over, from A1111Schedule;
    `hires_calls` 0 is the first pass. LoRA tags are without effect: their nodes load them.
    """

    FUNCTION = "encode_text"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:
        inherited = super().INPUT_TYPES()
        required = {
            "clip": inherited["required"].pop("clip"),
            "text": ("STRING", {"default": "", "multiline": True}),
            "kind": (list(KINDS),),
            "calls": whole(20, 1, _MOST_CALLS),
        }
        del inherited["required"][_PROMPT]
        optional = {
            "hires_calls": whole(0, 0, _MOST_CALLS),
            "old_scheduling": flag(),
        }
        return {
            "required": {**required, **inherited["required"]},
            "optional": {**inherited["optional"], **optional},
        }

    def encode_text(
        self,
        text: str,
        kind: str,
        calls: int,
        emphasis: str,
        hires_calls: int = 0,
        old_scheduling: bool = False,
        old_emphasis: bool = False,
        **settings: Any,
    ) -> tuple[list[list[Any]]]:
        prompt = written_input(
            text,
            calls,
            hires_calls,
            negative=kind == KINDS[1],
            emphasis=emphasis,  # type: ignore[arg-type]
            old_emphasis=old_emphasis,
            old_scheduling=old_scheduling,
        )
        return self.encode(
            prompt=json.dumps(prompt), emphasis=emphasis, old_emphasis=old_emphasis, **settings
        )


class A1111Schedule(A1111Sampler):
    """A1111's sampler and its sigmas, by sampler, schedule type, steps and denoising strength.

    `options` and `extra` are JSON objects of A1111's rarer options. `calls` are the model calls of
    the pass (for A1111Guider), `prompt_calls` those that prompts are laid out over (A1111Prompt).
    """

    RETURN_TYPES = ("SAMPLER", "SIGMAS", "INT", "INT")
    RETURN_NAMES = ("SAMPLER", "SIGMAS", "calls", "prompt_calls")
    FUNCTION = "lay_out"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        inherited = super().INPUT_TYPES()["required"]
        own = {
            "sampler": ([row.name for row in samplers() if not row.beyond_a1111],),
            "scheduler": ([row.label for row in schedulers()],),
            "steps": whole(20, 1, 10000),
            "start": (list(STARTS),),
            "denoise": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "round": False}),
            "table": (list(TABLES),),
        }
        numbers = {name: inherited[name] for name in ("eta", "s_churn", "s_tmin", "s_tmax")}
        texts = {name: ("STRING", {"default": ""}) for name in ("options", "extra")}
        return {"required": {**own, **numbers, "s_noise": inherited["s_noise"], **texts}}

    def lay_out(
        self,
        sampler: str,
        scheduler: str,
        steps: int,
        start: str,
        denoise: float,
        table: str,
        options: str,
        extra: str,
        **numbers: float,
    ) -> tuple[Any, Any, int, int]:
        laid = lay_out(sampler, scheduler, steps, denoise, start, table=table, options=options)
        (made,) = self.make(
            sampler=sampler,
            sigma_min=laid.sigma_min,
            sigma_max=laid.sigma_max,
            timesteps=json.dumps(laid.timesteps),
            extra=json.dumps(
                {**(json.loads(extra) if extra.strip() else {}), **laid.sampler_extra}
            ),
            **numbers,
        )
        (sigmas,) = A1111Sigmas().make(json.dumps(laid.sigmas))
        return made, sigmas, laid.total_steps, laid.sampler.total_steps(steps)
