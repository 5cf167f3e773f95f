"""What A1111 writes about a picture, gathered from request, options and plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from translator import prompt as prompts
from translator.comfy.catalog import Catalog
from translator.infotext.text import GenerationFacts, HiresFacts, ModelName, PassFacts, RefinerFacts
from translator.models.names import Checkpoint, ModelFile, stem
from translator.plan.planner import SAME_CHECKPOINT
from translator.plan.values import HiresPlan, Plan, SamplerNumbers, SamplingPass
from translator.request.a1111_options import A1111Options
from translator.request.txt2img import Txt2Img

_SHORT = 12
"""Digits of the hashes of LoRAs and embeddings."""


def gather(request: Txt2Img, plan: Plan, catalog: Catalog) -> GenerationFacts:
    """The facts of one plan, for `infotext.create_infotext` and `infotext.create_info`."""
    a1111_options = plan.a1111_options
    count = len(plan.seeds)
    first = plan.first
    return GenerationFacts(
        a1111_options=a1111_options,
        first=_pass_facts(first, plan.first_noise),
        prompts=(first.prompt.text,) * count,
        negative_prompts=(first.prompt.negative_text,) * count,
        seeds=plan.seeds,
        subseeds=plan.subseeds,
        steps=request.steps,
        cfg_scale=request.cfg_scale,
        width=plan.requested_size[0],
        height=plan.requested_size[1],
        batch_size=request.batch_size,
        checkpoint=_checkpoint(first.checkpoint),
        vae=_vae(first.vae),
        subseed_strength=request.subseed_strength,
        seed_resize_from=(request.seed_resize_from_w, request.seed_resize_from_h),
        denoising_strength=request.denoising_strength,
        styles=tuple(request.styles or ()),
        restore_faces=bool(_chosen(request.restore_faces, a1111_options.face_restoration)),
        tiling=plan.tiling,
        s_min_uncond=plan.guidance.s_min_uncond,
        hires=_hires(request, plan, plan.hires) if plan.hires else None,
        refiner=_refiner(request, plan),
        refiner_requested=request.refiner_checkpoint is not None,
        controlnet=plan.control.infotext_entries,
        lora_hashes=_lora_hashes(plan),
        embeddings=tuple(_embeddings(first, catalog)),
        encoded_texts=tuple(_texts(first)),
        old_scheduling_differs=_old_scheduling_differs(first, a1111_options),
    )


def _chosen(wished: bool | None, option: bool) -> bool:
    return option if wished is None else wished


def _pass_facts(painted: SamplingPass, a1111_options: SamplerNumbers) -> PassFacts:
    call = None
    if painted.refiner is not None and painted.refiner.step < painted.schedule.steps_run:
        call = painted.schedule.sampler.total_steps(painted.refiner.step)
    return PassFacts(painted.sampler, painted.schedule, a1111_options.eta, call)


def _hires(request: Txt2Img, plan: Plan, hires: HiresPlan) -> HiresFacts:
    count = len(plan.seeds)
    painted = hires.sampling
    named = request.hr_checkpoint_name not in SAME_CHECKPOINT
    old_rule = plan.a1111_options.use_old_hires_fix_width_height
    return HiresFacts(
        sampling=_pass_facts(painted, plan.hires_noise),
        prompts=(painted.prompt.text,) * count,
        negative_prompts=(painted.prompt.negative_text,) * count,
        scale=request.hr_scale,
        resize=(
            (request.width, request.height)
            if old_rule
            else (request.hr_resize_x, request.hr_resize_y)
        ),
        steps=request.hr_second_pass_steps,
        upscaler=request.hr_upscaler,
        sampler_name=request.hr_sampler_name,
        checkpoint=_checkpoint(painted.checkpoint) if named else None,
    )


def _refiner(request: Txt2Img, plan: Plan) -> RefinerFacts | None:
    for painted in plan.passes:
        if painted.refiner is not None:
            return RefinerFacts(_checkpoint(painted.refiner.checkpoint), request.refiner_switch_at)
    return None


def _checkpoint(checkpoint: Checkpoint) -> ModelName:
    return ModelName(checkpoint.stem, checkpoint.hash10)


def _vae(vae: ModelFile | None) -> ModelName | None:
    return None if vae is None else ModelName(vae.basename, vae.hash10)


def _lora_hashes(plan: Plan) -> Mapping[str, str]:
    """LoRA as the prompts name it -> the first digits of its hash, where it could be read."""
    return {
        network.name: network.file.facts.addnet_hash[:_SHORT]
        for painted in plan.passes
        for network in painted.prompt.networks
        if network.kind == "lora" and network.file.facts.addnet_hash
    }


def _texts(painted: SamplingPass) -> Iterable[str]:
    """What reaches the text encoder: the negative prompt first, then the parts between ANDs."""
    for parsed in (painted.prompt.negative, painted.prompt.positive):
        for part in parsed.parts:
            for entry in part.schedule:
                yield entry.text


def _embeddings(painted: SamplingPass, catalog: Catalog) -> Iterable[Mapping[str, str]]:
    """Per call of a text encoder, the embeddings that its texts name and their hashes."""
    hashes = {
        stem(name): facts.sha256[:_SHORT]
        for name in catalog.files("embeddings") or ()
        if (facts := catalog.facts_of("embeddings", name)).sha256
    }
    encoders = 2 if painted.checkpoint.is_sdxl else 1
    for parsed in (painted.prompt.negative, painted.prompt.positive):
        for part in parsed.parts:
            texts = [entry.text for entry in part.schedule]
            found = {name: digest for name, digest in hashes.items() if _named(name, texts)}
            for _ in range(encoders):
                yield found


def _named(name: str, texts: Iterable[str]) -> bool:
    """Whether a text holds the bare name of an embedding as a word, in any case."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
    return any(word.search(text) for text in texts)


def _old_scheduling_differs(painted: SamplingPass, a1111_options: A1111Options) -> bool:
    if not a1111_options.use_old_scheduling:
        return False
    calls = painted.schedule.sampler.total_steps(painted.steps)
    plan = painted.prompt
    return plan.positive.parts != prompts.parse(plan.text, calls).parts or (
        plan.negative.parts != prompts.parse_negative(plan.negative_text, calls).parts
    )
