"""The shared goldens' payloads and ``info``, and the facts that a payload alone should give.

``tests/goldens/info/txt2img.jsonl`` holds what a real A1111 1.10.1 answered on the models of
``shared/lab`` (payload and ``info`` of every txt2img case that succeeded).
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from translator.infotext.text import GenerationFacts, HiresFacts, ModelName, PassFacts, RefinerFacts
from translator.report import Report
from translator.request.a1111_options import A1111Options, resolve_a1111_options
from translator.schedules.passes import ScheduleOptions, first_pass, second_pass
from translator.schedules.samplers import resolve, resolve_hires

GOLDENS = Path(__file__).parent.parent / "goldens" / "info" / "txt2img.jsonl"

MODELS = {
    "synth15": ModelName("synth15", "5f0ab447f2"),
    "synth15_alt": ModelName("synth15_alt", "23453c9855"),
}
_TITLES = {*MODELS, *(model.title for model in MODELS.values())}
VAES = {"synthvae.safetensors": ModelName("synthvae.safetensors", "ea5e1122b8")}
LORAS = {"synthlora": "02d47e156b81"}
EMBEDDINGS = {"synthemb": "1e09ceb9e043"}
STYLES = {
    "cine": ("cinematic film still of {prompt}, dramatic light", "cartoon, drawing"),
    "tail": ("highly detailed, 8k", ""),
    "negonly": ("", "ugly, deformed"),
}

LEFT_SET = {"misc/after_no_restore": {"CLIP_stop_at_last_layers": 2}}
"""Options that an earlier golden left set on the server."""


@cache
def goldens() -> dict[str, dict[str, Any]]:
    """Case name ("family/name") -> {"payload", "info"}."""
    rows = map(json.loads, GOLDENS.read_text("utf-8").splitlines())
    return {row["case"]: row for row in rows}


def facts_of(
    payload: dict[str, Any],
    *,
    seed: int,
    subseed: int,
    server: dict[str, Any] | None = None,
    inherited: dict[str, Any] | None = None,
) -> GenerationFacts:
    """The facts that a payload gives; only drawn seeds come from outside.

    Args:
        seed, subseed: what was drawn where the payload gives none.
        server: options that were set on the server.
        inherited: what a script's earlier generations left in extra_generation_params.
    """
    payload = {name: value for name, value in payload.items() if value is not None}
    settings = resolve_a1111_options(server or {}, payload.get("override_settings"), Report("warn"))
    options = ScheduleOptions.from_a1111_options(settings)
    steps = int(payload.get("steps", 50))
    resolved = resolve(
        payload.get("sampler_name"), payload.get("scheduler"), payload.get("sampler_index", "Euler")
    )
    count = int(payload.get("batch_size", 1)) * payload.get("n_iter", 1)
    strength = payload.get("subseed_strength", 0)
    first = _given(payload, "seed", seed)
    variation = _given(payload, "subseed", subseed)
    prompt, negative = payload.get("prompt", ""), payload.get("negative_prompt", "")
    prompts = (_styled(prompt, payload, settings, 0),) * count
    negatives = (_styled(negative, payload, settings, 1),) * count
    refiner = payload.get("refiner_checkpoint")
    return GenerationFacts(
        a1111_options=settings,
        first=PassFacts(
            resolved,
            first_pass(resolved, steps, options=options),
            _eta(payload, settings, resolved.sampler.eta_option),
        ),
        prompts=prompts,
        negative_prompts=negatives,
        seeds=tuple(first + (0 if strength else k) for k in range(count)),
        subseeds=tuple(variation + k for k in range(count)),
        steps=steps,
        cfg_scale=float(payload.get("cfg_scale", 7.0)),
        width=payload.get("width", 512),
        height=payload.get("height", 512),
        batch_size=int(payload.get("batch_size", 1)),
        checkpoint=_checkpoint(settings.sd_model_checkpoint),
        vae=VAES.get(settings.sd_vae or ""),
        subseed_strength=strength,
        seed_resize_from=(
            payload.get("seed_resize_from_w", -1),
            payload.get("seed_resize_from_h", -1),
        ),
        denoising_strength=payload.get("denoising_strength"),
        styles=tuple(payload.get("styles") or ()),
        restore_faces=payload.get("restore_faces", settings.face_restoration),
        tiling=payload.get("tiling", settings.tiling),
        s_min_uncond=payload.get("s_min_uncond", 0.0),
        hires=_hires(payload, resolved, options, settings, prompts, negatives),
        refiner=RefinerFacts(MODELS[refiner], payload.get("refiner_switch_at"))
        if refiner
        else None,
        lora_hashes=_loras(payload, prompt),
        embeddings=_embeddings(prompt, negative),
        encoded_texts=(negative, prompt),
        inherited=inherited or {},
    )


def _given(payload: dict[str, Any], field: str, drawn: int) -> int:
    value = int(payload.get(field, -1))
    return drawn if value == -1 else value


def _eta(payload: dict[str, Any], settings: A1111Options, option: str | None) -> float:
    if payload.get("eta") is not None:
        return float(payload["eta"])
    return getattr(settings, option) if option else 1.0


def _checkpoint(name: str | None) -> ModelName:
    stem = (name or "synth15").removesuffix(".safetensors")
    return MODELS.get(stem, MODELS["synth15"])


def _styled(text: str, payload: dict[str, Any], settings: A1111Options, side: int) -> str:
    for name in payload.get("styles") or ():
        style = STYLES[name][side]
        if "{prompt}" in style:
            text = style.replace("{prompt}", text)
        else:
            text = ", ".join(part for part in (text.strip(), style.strip()) if part)
    if settings.enable_prompt_comments:
        text = re.sub(r"#[^\n]*", "", text)
    return text


def _hires(
    payload: dict[str, Any],
    first: Any,
    options: ScheduleOptions,
    settings: A1111Options,
    prompts: tuple[str, ...],
    negatives: tuple[str, ...],
) -> HiresFacts | None:
    if not payload.get("enable_hr"):
        return None
    resolved = resolve_hires(first, payload.get("hr_sampler_name"), payload.get("hr_scheduler"))
    steps = payload.get("hr_second_pass_steps") or payload.get("steps", 50)
    schedule = second_pass(resolved, steps, payload["denoising_strength"], options=options)
    checkpoint = payload.get("hr_checkpoint_name")
    return HiresFacts(
        sampling=PassFacts(
            resolved, schedule, _eta(payload, settings, resolved.sampler.eta_option)
        ),
        prompts=prompts,
        negative_prompts=negatives,
        scale=float(payload.get("hr_scale", 2.0)),
        resize=(payload.get("hr_resize_x", 0), payload.get("hr_resize_y", 0)),
        steps=payload.get("hr_second_pass_steps", 0),
        upscaler=payload.get("hr_upscaler"),
        sampler_name=payload.get("hr_sampler_name"),
        checkpoint=MODELS[checkpoint.split(" [")[0]] if checkpoint in _TITLES else None,
    )


def _loras(payload: dict[str, Any], prompt: str) -> dict[str, str]:
    if payload.get("disable_extra_networks"):
        return {}
    named = re.findall(r"<lora:(\w+)", prompt)
    return {name: LORAS[name] for name in named if name in LORAS}


def _embeddings(prompt: str, negative: str) -> tuple[dict[str, str], ...]:
    return tuple(
        {name: digest for name, digest in EMBEDDINGS.items() if name in text}
        for text in (negative, prompt)
    )
