"""What A1111 writes about a picture, gathered from request, options and plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from translator import prompt as prompts
from translator.comfy.catalog import Catalog
from translator.infotext.text import GenerationFacts, HiresFacts, ModelName, PassFacts, RefinerFacts
from translator.models.names import Checkpoint, ModelFile, stem
from translator.plan.faces import face_restorer
from translator.plan.image_conditioning import infotext_names_mask_weight
from translator.plan.init_image import infotext_entries, soft_entries
from translator.plan.planner import SAME_CHECKPOINT
from translator.plan.starts import Encoded, Enlarged
from translator.plan.upscale import LANCZOS, LANCZOS_NAME
from translator.plan.values import (
    FaceRestoration,
    Plan,
    SamplingPass,
)
from translator.request.a1111_options import A1111Options
from translator.request.generation import Generation
from translator.request.img2img import Img2Img
from translator.request.txt2img import Txt2Img

_SHORT = 12
"""Digits of the hashes of LoRAs and embeddings."""


def gather(request: Generation, plan: Plan, catalog: Catalog) -> GenerationFacts:
    """The facts of one plan, for `infotext.create_infotext` and `infotext.create_info`."""
    a1111_options = plan.a1111_options
    count = len(plan.seeds)
    first, hires = plan.first, plan.of_role("hires")
    return GenerationFacts(
        a1111_options=a1111_options,
        first=_pass_facts(first, plan),
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
        restore_faces=_restores_faces(request, plan),
        tiling=plan.tiling,
        s_min_uncond=plan.guidance.s_min_uncond,
        hires=_hires(request, plan, hires) if hires and isinstance(request, Txt2Img) else None,
        refiner=_refiner(request, plan),
        refiner_requested=request.refiner_checkpoint is not None,
        controlnet=plan.control.infotext_entries,
        lora_hashes=_lora_hashes((first,)),
        embeddings=tuple(_embeddings(first, catalog)),
        encoded_texts=tuple(_texts(first)),
        **_img2img(request, plan),
        inpainting_conditioning=infotext_names_mask_weight(plan),
        inpainting_mask_weight=a1111_options.inpainting_mask_weight,
        old_scheduling_differs=_old_scheduling_differs(first, a1111_options, _calls(first), None),
    )


def _img2img(request: Generation, plan: Plan) -> dict[str, Any]:
    """What img2img writes besides."""
    if not isinstance(request, Img2Img):
        return {}
    source = plan.first.start
    inpainting = source.inpainting if isinstance(source, Encoded) else None
    return {
        "script_parameters": soft_entries(request, inpainting.soft if inpainting else None),
        "from_image": True,
        "image_parameters": infotext_entries(request, masks=inpainting is not None),
        "noise_multiplier": plan.noise.multiplier,
        **_spare_seeds(request, plan),
        "image_cfg_scale": request.image_cfg_scale
        if plan.first.checkpoint.picture == "edit"
        else None,
        "token_merging_ratio": plan.first.token_merging_ratio,
    }


def _restores_faces(request: Generation, plan: Plan) -> bool:
    """Whether A1111 prints the restorer: it was asked for, and not left out for want of a node."""
    requested = request.restore_faces
    asked = plan.a1111_options.face_restoration if requested is None else requested
    if not asked or face_restorer(plan.a1111_options) is None:
        return asked
    return any(isinstance(step, FaceRestoration) for step in plan.finish)


def _spare_seeds(request: Img2Img, plan: Plan) -> dict[str, Any]:
    """The seeds that A1111 draws for images which it does not make."""
    spare = range(request.surplus * request.n_iter)
    shared = request.subseed_strength != 0
    last, last_subseed = plan.seeds[-1], plan.subseeds[-1]
    return {
        "spare_seeds": tuple(last if shared else last + 1 + k for k in spare),
        "spare_subseeds": tuple(last_subseed + 1 + k for k in spare),
    }


def _pass_facts(sampling_pass: SamplingPass, plan: Plan) -> PassFacts:
    padding = plan.guidance.padding
    return PassFacts(
        sampling_pass.sampler,
        sampling_pass.schedule,
        sampling_pass.numbers.eta,
        sampling_pass.refiner_call,
        pads=padding if padding != "none" and sampling_pass.compare_lengths().unequal else None,
    )


def _hires(request: Txt2Img, plan: Plan, hires: SamplingPass) -> HiresFacts:
    count = len(plan.seeds)
    named = request.hr_checkpoint_name not in SAME_CHECKPOINT
    old_rule = plan.a1111_options.use_old_hires_fix_width_height
    return HiresFacts(
        sampling=_pass_facts(hires, plan),
        prompts=(hires.prompt.text,) * count,
        negative_prompts=(hires.prompt.negative_text,) * count,
        scale=request.hr_scale,
        resize=(
            (request.width, request.height)
            if old_rule
            else (request.hr_resize_x, request.hr_resize_y)
        ),
        steps=request.hr_second_pass_steps,
        upscaler=_upscaler(request, hires),
        sampler_name=request.hr_sampler_name,
        checkpoint=_checkpoint(hires.checkpoint) if named else None,
        old_scheduling_differs=_old_scheduling_differs(
            hires, plan.a1111_options, _calls(plan.first), _calls(hires)
        ),
        lora_hashes=_lora_hashes(plan.passes),
    )


def _upscaler(request: Txt2Img, hires: SamplingPass) -> str | None:
    """The upscaler that was used: Lanczos where it stands in for one that cannot run here."""
    start = hires.start
    plain = isinstance(start, Enlarged) and start.upscale == LANCZOS
    return LANCZOS_NAME if plain else request.hr_upscaler


def _refiner(request: Generation, plan: Plan) -> RefinerFacts | None:
    for sampling_pass in plan.passes:
        if sampling_pass.refiner is not None:
            return RefinerFacts(
                _checkpoint(sampling_pass.refiner.checkpoint), request.refiner_switch_at
            )
    return None


def _checkpoint(checkpoint: Checkpoint) -> ModelName:
    return ModelName(checkpoint.stem, checkpoint.hash10)


def _vae(vae: ModelFile | None) -> ModelName | None:
    return None if vae is None else ModelName(vae.basename, vae.hash10)


def _lora_hashes(passes: Iterable[SamplingPass]) -> Mapping[str, str]:
    """LoRA as the prompts name it -> the first digits of its hash, where it could be read."""
    return {
        network.name: network.file.facts.addnet_hash[:_SHORT]
        for sampling_pass in passes
        for network in sampling_pass.prompt.networks
        if network.kind == "lora" and network.file.facts.addnet_hash
    }


def _texts(sampling_pass: SamplingPass) -> Iterable[str]:
    """What reaches the text encoder: the negative prompt first, then the parts between ANDs."""
    for parsed in (sampling_pass.prompt.negative, sampling_pass.prompt.positive):
        for part in parsed.parts:
            for entry in part.schedule:
                yield entry.text


def _embeddings(sampling_pass: SamplingPass, catalog: Catalog) -> Iterable[Mapping[str, str]]:
    """Per call of a text encoder, the embeddings that its texts name and their hashes.

    They stand in the order of the texts; A1111 goes by chunks of all texts, which is the same but
    for prompt editing in texts of more than 75 tokens.
    """
    hashes = {
        stem(name): facts.sha256[:_SHORT]
        for name in catalog.files("embeddings") or ()
        if (facts := catalog.facts_of("embeddings", name)).sha256
    }
    names = _embedding_names(tuple(hashes))
    encoders = len(sampling_pass.checkpoint.family.encoders)
    emphasis = sampling_pass.encoding.emphasis
    for parsed in (sampling_pass.prompt.negative, sampling_pass.prompt.positive):
        for part in parsed.parts:
            found = {
                name: hashes[name]
                for entry in part.schedule
                for piece in prompts.encode_pieces(entry.text, emphasis)
                if piece != prompts.BREAK
                for _, _, name in names.found(piece[0])
            }
            for _ in range(encoders):
                yield found


@lru_cache(maxsize=4)
def _embedding_names(names: tuple[str, ...]) -> prompts.EmbeddingNames:
    return prompts.EmbeddingNames(names)


def _old_scheduling_differs(
    sampling_pass: SamplingPass, a1111_options: A1111Options, calls: int, hires_calls: int | None
) -> bool:
    """Whether option use_old_scheduling is on and makes a difference to a pass.

    Args:
        calls: model calls of the first pass.
        hires_calls: of the hires pass, where this is it.
    """
    if not a1111_options.use_old_scheduling:
        return False
    plan = sampling_pass.prompt
    positive = prompts.parse(plan.text, calls, hires_steps=hires_calls)
    negative = prompts.parse_negative(plan.negative_text, calls, hires_steps=hires_calls)
    return (plan.positive.parts, plan.negative.parts) != (positive.parts, negative.parts)


def _calls(sampling_pass: SamplingPass) -> int:
    """The model calls that A1111 lays a prompt's schedule out for."""
    return sampling_pass.schedule.sampler.total_steps(sampling_pass.steps)
