"""A1111's infotext and ``info``: written from the facts of a generation.

Source: A1111 v1.10.1 ``modules/processing.py`` (``create_infotext``, ``Processed.js``) and the
places that fill ``extra_generation_params``: ``processing.py`` (hires), ``sd_hijack_clip.py``,
``sd_models.py``, ``sd_samplers_kdiffusion.py``, ``sd_samplers_timesteps.py``,
``sd_samplers_common.py`` and ``sd_samplers_cfg_denoiser.py``. The way back, from a text to a
request, lies in `translator.request.infotext`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from translator.request.a1111_options import A1111Options
from translator.schedules.levels import called_levels
from translator.schedules.passes import Pass
from translator.schedules.samplers import ResolvedSampler

VERSION = "v1.10.1"
"""The version of A1111 that this worker speaks."""

_ETA_KEYS = {"eta_ancestral": ("Eta", 1.0), "eta_ddim": ("Eta DDIM", 0.0)}
"""Option that gives eta -> key that prints it, and the eta that is not printed."""

_PADDING_KEYS = {"empty": "Pad conds", "last": "Pad conds v0"}
"""`Guidance.padding` -> key that says so."""

_CHURN_KEYS = (
    ("s_churn", "Sigma churn", 0.0),
    ("s_tmin", "Sigma tmin", 0.0),
    ("s_tmax", "Sigma tmax", 0.0),
    ("s_noise", "Sigma noise", 1.0),
)
"""Option, the key printed where the option replaced the request's value, the neutral value."""


@dataclass(frozen=True)
class PerImage:
    """A parameter with a value of its own for each image (None: no such key in its text).

    ``info.extra_generation_params`` shows it as null, since A1111 keeps a function there.
    """

    values: tuple[str | None, ...]


@dataclass(frozen=True)
class ModelName:
    """A model file as infotexts name it.

    Attributes:
        name: of a checkpoint its stem, of a VAE its file name.
        hash10: the first 10 digits of its SHA-256, or None where the file could not be read.
    """

    name: str
    hash10: str | None = None

    @property
    def title(self) -> str:
        """``name [hash10]``, as "Refiner" and "Hires checkpoint" print it."""
        return f"{self.name} [{self.hash10}]" if self.hash10 else self.name


@dataclass(frozen=True)
class PassFacts:
    """How one pass was sampled.

    Attributes:
        sampler: sampler and scheduler.
        schedule: its sigmas or timesteps.
        eta: the request's, else the option's.
        refiner_call: the model call (0-based) at which the refiner took over, None where none did.
        pads: how the shorter prompt was lengthened (`Guidance.padding`), None where none was.
    """

    sampler: ResolvedSampler
    schedule: Pass
    eta: float
    refiner_call: int | None = None
    pads: str | None = None


@dataclass(frozen=True)
class HiresFacts:
    """The hires pass.

    Attributes:
        sampling: how it was sampled.
        prompts, negative_prompts: one per image, after styles and comments.
        scale: the request's hr_scale, printed where `resize` is (0, 0).
        resize: the request's hr_resize_x and hr_resize_y.
        steps: the request's hr_second_pass_steps; 0 is not printed.
        upscaler: the request's hr_upscaler; None is not printed.
        sampler_name: the request's hr_sampler_name; None is not printed.
        checkpoint: the request's hr_checkpoint_name, resolved, or None.
        old_scheduling_differs: as `GenerationFacts` has it, of this pass' prompts.
        lora_hashes: as `GenerationFacts` has them, of both passes' prompts.
    """

    sampling: PassFacts
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    scale: float
    resize: tuple[int, int] = (0, 0)
    steps: int = 0
    upscaler: str | None = None
    sampler_name: str | None = None
    checkpoint: ModelName | None = None
    old_scheduling_differs: bool = False
    lora_hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RefinerFacts:
    """The refiner that a request asked for, and its refiner_switch_at."""

    checkpoint: ModelName
    switch_at: float | None


@dataclass(frozen=True)
class GenerationFacts:
    """All that A1111 writes about one call of ``process_images``.

    Attributes:
        a1111_options: the options in force.
        first: the first (or only) pass.
        prompts, negative_prompts: one per image, after styles and comments, LoRA tags kept.
        seeds, subseeds: one per image, as used.
        steps, cfg_scale, width, height, batch_size: as requested; width and height are the first
            pass'.
        checkpoint, vae: the models; vae None is the checkpoint's own.
        subseed_strength: the request's; 0 is off.
        seed_resize_from: the request's seed_resize_from_w and _h; 0 and below is off.
        denoising_strength: the request's; printed with hires fix and for img2img.
        styles: the request's.
        restore_faces, tiling: the request's, else the option's.
        s_min_uncond: the request's, else the server's option.
        hires, refiner: None where there is none.
        refiner_requested: the request's refiner_checkpoint is not null (not even ""): ControlNet
            then writes its entries later.
        detailer: ADetailer's entries, in order.
        controlnet: the entries "ControlNet 0", ... in order.
        lora_hashes: LoRA as the first pass' prompts name it -> the first 12 digits of its hash.
        embeddings: one mapping (embedding -> first 12 digits of its SHA-256) per call of a text
            encoder in the first pass: the negative prompt first, then the parts between ANDs; SDXL
            calls two encoders for each.
        encoded_texts: the texts that reach the text encoder in the first pass, without extra
            networks and with prompt editing resolved.
        old_scheduling_differs: option use_old_scheduling is on and makes a difference.
        script_parameters: entries of a script that runs before everything else (soft inpainting,
            SD upscale), in order.
        from_image: img2img; then denoising_strength is printed without hires fix.
        image_parameters: img2img's entries after "Denoising strength", in order.
        noise_multiplier: img2img's initial_noise_multiplier; 1 is not printed.
        image_cfg_scale: of edit models, else None.
        token_merging_ratio: of the first pass where it is not option token_merging_ratio.
        spare_seeds, spare_subseeds: of images that were asked for and are not made, since
            init_images has fewer.
        inpainting_conditioning: whether the checkpoint is one for inpainting.
        inpainting_mask_weight: of such a checkpoint.
        init_image_hash: MD5 of the init image where option save_init_img is on.
        inherited: entries that a script's earlier generations have left behind (A1111's copies of
            a request share one dictionary).
    """

    a1111_options: A1111Options
    first: PassFacts
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]
    steps: int
    cfg_scale: float
    width: int
    height: int
    batch_size: int
    checkpoint: ModelName
    vae: ModelName | None = None
    subseed_strength: float = 0
    seed_resize_from: tuple[int, int] = (-1, -1)
    denoising_strength: float | None = None
    styles: tuple[str, ...] = ()
    restore_faces: bool = False
    tiling: bool = False
    s_min_uncond: float = 0.0
    hires: HiresFacts | None = None
    refiner: RefinerFacts | None = None
    refiner_requested: bool = False
    detailer: Mapping[str, Any] = field(default_factory=dict)
    controlnet: Mapping[str, str] = field(default_factory=dict)
    lora_hashes: Mapping[str, str] = field(default_factory=dict)
    embeddings: tuple[Mapping[str, str], ...] = ()
    encoded_texts: tuple[str, ...] = ()
    old_scheduling_differs: bool = False
    script_parameters: Mapping[str, Any] = field(default_factory=dict)
    from_image: bool = False
    image_parameters: Mapping[str, Any] = field(default_factory=dict)
    noise_multiplier: float = 1.0
    image_cfg_scale: float | None = None
    spare_seeds: tuple[int, ...] = ()
    spare_subseeds: tuple[int, ...] = ()
    token_merging_ratio: float | None = None
    inpainting_conditioning: bool = False
    inpainting_mask_weight: float = 1.0
    init_image_hash: str | None = None
    inherited: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def extra(self) -> Mapping[str, Any]:
        """A1111's ``extra_generation_params`` at the end, in order of insertion."""
        return _extra_generation_params(self)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The infotext of each image."""
        return tuple(create_infotext(self, index) for index in range(len(self.seeds)))


def create_infotext(
    facts: GenerationFacts,
    index: int,
    added: Mapping[str, Any] | None = None,
    a1111_options: A1111Options | None = None,
) -> str:
    """The infotext of one image; a grid has that of image 0.

    Args:
        index: position of the image among all images.
        added: entries of a script's grid, which follow `GenerationFacts.extra`.
        a1111_options: the options in force when the text is put together; None for those of the
            generation.
    """
    settled = a1111_options or facts.a1111_options
    parameters = {
        **_fixed_parameters(facts, index, settled),
        **facts.extra,
        **(added or {}),
        "Version": VERSION if settled.add_version_to_infotext else None,
    }
    values = {key: _of_image(value, index) for key, value in parameters.items()}
    listed = ", ".join(
        key if key == value else f"{key}: {quote(value)}"
        for key, value in values.items()
        if value is not None
    )
    negative = facts.negative_prompts[index]
    negative_line = f"\nNegative prompt: {negative}" if negative else ""
    return f"{facts.prompts[index]}{negative_line}\n{listed}".strip()


def create_info(
    facts: GenerationFacts,
    infotexts: Sequence[str],
    *,
    index_of_first_image: int = 0,
    now: datetime | None = None,
) -> dict[str, Any]:
    """A1111's ``info`` object, every key in A1111's order.

    Args:
        infotexts: the grid's, if it is answered, then one per image.
        index_of_first_image: 1 where a grid stands before the images.
        now: start of the job; None leaves the timestamp empty.
    """
    return {
        **_of_images(facts),
        "subseed_strength": facts.subseed_strength,
        "width": facts.width,
        "height": facts.height,
        "sampler_name": facts.first.sampler.sampler.name,
        "cfg_scale": facts.cfg_scale,
        "steps": facts.steps,
        "batch_size": facts.batch_size,
        **_of_models(facts),
        "seed_resize_from_w": facts.seed_resize_from[0],
        "seed_resize_from_h": facts.seed_resize_from[1],
        "denoising_strength": facts.denoising_strength,
        "extra_generation_params": {
            key: None if isinstance(value, PerImage) else value
            for key, value in facts.extra.items()
        },
        "index_of_first_image": index_of_first_image,
        "infotexts": list(infotexts),
        "styles": list(facts.styles),
        "job_timestamp": now.strftime("%Y%m%d%H%M%S") if now else "",
        "clip_skip": facts.a1111_options.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": facts.inpainting_conditioning,
        "version": VERSION,
    }


def _of_images(facts: GenerationFacts) -> dict[str, Any]:
    """Prompts and seeds in ``info``: the first image's, and all that were asked for."""
    spare = len(facts.spare_seeds)
    return {
        "prompt": facts.prompts[0],
        "all_prompts": [*facts.prompts, *facts.prompts[:1] * spare],
        "negative_prompt": facts.negative_prompts[0],
        "all_negative_prompts": [*facts.negative_prompts, *facts.negative_prompts[:1] * spare],
        "seed": facts.seeds[0],
        "all_seeds": [*facts.seeds, *facts.spare_seeds],
        "subseed": facts.subseeds[0],
        "all_subseeds": [*facts.subseeds, *facts.spare_subseeds],
    }


def _of_models(facts: GenerationFacts) -> dict[str, Any]:
    """The models in ``info``; null for one that is not used."""
    restorer = facts.a1111_options.face_restoration_model if facts.restore_faces else None
    return {
        "restore_faces": facts.restore_faces,
        "face_restoration_model": restorer,
        "sd_model_name": facts.checkpoint.name,
        "sd_model_hash": facts.checkpoint.hash10 or "",  # clients take it for a text
        "sd_vae_name": facts.vae.name if facts.vae else None,
        "sd_vae_hash": facts.vae.hash10 if facts.vae else None,
    }


def quote(value: Any) -> Any:
    """A value as the key list holds it: JSON where it contains a comma, colon or line break."""
    text = str(value)
    if any(mark in text for mark in ",:\n"):
        return json.dumps(value, ensure_ascii=False)
    return value


def embedding_hashes(calls: Sequence[Mapping[str, str]]) -> str:
    """The value of "TI hashes": each text encoder call puts its embeddings before those there.

    Args:
        calls: per call, embedding -> first 12 digits of its SHA-256.
    """
    listed: list[str] = []
    for call in calls:
        listed = [f"{_bare(name)}: {digest}" for name, digest in call.items()] + listed
    return ", ".join(listed)


def _of_image(value: Any, index: int) -> Any:
    return value.values[index] if isinstance(value, PerImage) else value


def _bare(name: str) -> str:
    """A name without the two marks that structure a list of hashes."""
    return name.replace(":", "").replace(",", "")


def _fixed_parameters(
    facts: GenerationFacts, index: int, a1111_options: A1111Options
) -> dict[str, Any]:
    """The keys that stand at the beginning, in their order; None is left out."""
    vae = facts.vae
    varied = facts.subseed_strength != 0
    resize_w, resize_h = facts.seed_resize_from
    merging, merging_hr = _token_merging_ratios(facts, a1111_options)
    clip_skip = a1111_options.CLIP_stop_at_last_layers
    return {
        "Steps": facts.steps,
        "Sampler": facts.first.sampler.sampler.name,
        "Schedule type": facts.first.sampler.label,
        "CFG scale": facts.cfg_scale,
        "Image CFG scale": facts.image_cfg_scale,
        "Seed": facts.seeds[index],
        "Face restoration": a1111_options.face_restoration_model if facts.restore_faces else None,
        "Size": f"{facts.width}x{facts.height}",
        "Model hash": facts.checkpoint.hash10 if a1111_options.add_model_hash_to_info else None,
        "Model": facts.checkpoint.name if a1111_options.add_model_name_to_info else None,
        "VAE hash": vae.hash10 if vae and a1111_options.add_vae_hash_to_info else None,
        "VAE": vae.name if vae and a1111_options.add_vae_name_to_info else None,
        "Variation seed": facts.subseeds[index] if varied else None,
        "Variation seed strength": facts.subseed_strength if varied else None,
        "Seed resize from": f"{resize_w}x{resize_h}" if resize_w > 0 and resize_h > 0 else None,
        "Denoising strength": facts.extra.get("Denoising strength"),
        "Conditional mask weight": (
            facts.inpainting_mask_weight if facts.inpainting_conditioning else None
        ),
        "Clip skip": clip_skip if clip_skip > 1 else None,
        "ENSD": a1111_options.eta_noise_seed_delta if _prints_ensd(facts, a1111_options) else None,
        "Token merging ratio": merging or None,
        "Token merging ratio hr": merging_hr or None,
        "Init image hash": facts.init_image_hash,
        "RNG": a1111_options.randn_source if a1111_options.randn_source != "GPU" else None,
        "Tiling": "True" if facts.tiling else None,
    }


def _token_merging_ratios(
    facts: GenerationFacts, a1111_options: A1111Options
) -> tuple[float, float]:
    ratio = facts.token_merging_ratio
    first = a1111_options.token_merging_ratio if ratio is None else ratio
    hires = a1111_options.token_merging_ratio_hr or a1111_options.token_merging_ratio
    return first, hires if facts.hires else 0


def _prints_ensd(facts: GenerationFacts, a1111_options: A1111Options) -> bool:
    """The delta is printed for the samplers that A1111 lists for it, and not where eta is 0."""
    last = facts.hires.sampling if facts.hires else facts.first
    return (
        a1111_options.eta_noise_seed_delta != 0
        and facts.first.sampler.sampler.uses_ensd
        and last.eta != 0
    )


def _extra_generation_params(facts: GenerationFacts) -> dict[str, Any]:
    """What the steps of a generation add, in the order in which they run."""
    extra = dict(facts.inherited)
    extra.update(facts.script_parameters)
    extra.update(facts.detailer)
    if not facts.refiner_requested:
        extra.update(facts.controlnet)
    if facts.hires or facts.from_image:
        extra["Denoising strength"] = facts.denoising_strength
    if facts.hires:
        extra.update(_hires_parameters(facts, facts.hires))
    extra.update(facts.image_parameters)
    if facts.refiner_requested:
        extra.update(facts.controlnet)
    extra.update(_text_parameters(facts))
    if facts.noise_multiplier != 1.0:
        extra["Noise multiplier"] = facts.noise_multiplier
    _add_sampling(extra, facts, facts.first)
    if facts.hires:
        extra.update(_lora_hashes(facts.hires.lora_hashes, facts.a1111_options))
        if facts.hires.old_scheduling_differs:
            extra["Old prompt editing timelines"] = True
        _add_sampling(extra, facts, facts.hires.sampling)
    return extra


def _hires_parameters(facts: GenerationFacts, hires: HiresFacts) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if hires.checkpoint is not None:
        extra["Hires checkpoint"] = hires.checkpoint.title
    if hires.sampler_name not in (None, facts.first.sampler.sampler.name):
        extra["Hires sampler"] = hires.sampler_name
    extra["Hires prompt"] = _different(hires.prompts, facts.prompts)
    extra["Hires negative prompt"] = _different(hires.negative_prompts, facts.negative_prompts)
    extra["Hires schedule type"] = None
    if hires.resize == (0, 0):
        extra["Hires upscale"] = hires.scale
    else:
        extra["Hires resize"] = f"{hires.resize[0]}x{hires.resize[1]}"
    if hires.steps:
        extra["Hires steps"] = hires.steps
    if hires.upscaler is not None:
        extra["Hires upscaler"] = hires.upscaler
    return extra


def _different(texts: Sequence[str], others: Sequence[str]) -> PerImage:
    return PerImage(
        tuple(text if text != other else None for text, other in zip(texts, others, strict=True))
    )


def _lora_hashes(hashes: Mapping[str, str], a1111_options: A1111Options) -> dict[str, str]:
    """What loading a pass' LoRA adds."""
    if not hashes or not a1111_options.lora_add_hashes_to_infotext:
        return {}
    listed = (f"{_bare(name)}: {digest}" for name, digest in hashes.items())
    return {"Lora hashes": ", ".join(listed)}


def _text_parameters(facts: GenerationFacts) -> dict[str, Any]:
    """What extra networks, prompts and the model's table of alphas add before sampling."""
    a1111_options = facts.a1111_options
    extra: dict[str, Any] = {}
    extra.update(_lora_hashes(facts.lora_hashes, a1111_options))
    if facts.old_scheduling_differs:
        extra["Old prompt editing timelines"] = True
    if not a1111_options.use_old_emphasis_implementation:
        extra.update(_encoder_parameters(facts))
    if a1111_options.use_downcasted_alpha_bar:
        extra["Downcast alphas_cumprod"] = True
    if a1111_options.sd_noise_schedule == "Zero Terminal SNR":
        extra["Noise Schedule"] = a1111_options.sd_noise_schedule
    return extra


def _encoder_parameters(facts: GenerationFacts) -> dict[str, Any]:
    a1111_options = facts.a1111_options
    extra: dict[str, Any] = {}
    embeddings = embedding_hashes(facts.embeddings)
    if a1111_options.textual_inversion_add_hashes_to_infotext and embeddings:
        extra["TI hashes"] = embeddings
    bracketed = any("(" in text or "[" in text for text in facts.encoded_texts)
    if bracketed and a1111_options.emphasis != "Original":
        extra["Emphasis"] = a1111_options.emphasis
    return extra


def _add_sampling(extra: dict[str, Any], facts: GenerationFacts, sampling: PassFacts) -> None:
    """What laying out the schedule, starting the sampler and its model calls add."""
    a1111_options, schedule = facts.a1111_options, sampling.schedule
    row = sampling.sampler.sampler
    is_hires = facts.hires is not None and sampling is facts.hires.sampling
    _add_schedule(extra, sampling, is_hires)
    if schedule.from_image:
        if a1111_options.img2img_extra_noise > 0:
            extra["Extra noise"] = a1111_options.img2img_extra_noise
    elif a1111_options.sgm_noise_multiplier and not row.uses_timesteps:
        extra["SGM noise multiplier"] = True
    if row.eta_option is not None:
        key, neutral = _ETA_KEYS[row.eta_option]
        if sampling.eta != neutral:
            extra[key] = sampling.eta
    for option, key, neutral in _CHURN_KEYS:
        value = getattr(a1111_options, option)
        if option in row.noise_params and value != neutral:
            extra[key] = value
    _add_calls(extra, facts, sampling)
    if sampling.pads is not None:
        extra[_PADDING_KEYS[sampling.pads]] = True


def _add_schedule(extra: dict[str, Any], sampling: PassFacts, is_hires: bool) -> None:
    keys = dict(sampling.schedule.infotext)
    if "Discard penultimate sigma" in keys:
        extra["Discard penultimate sigma"] = keys.pop("Discard penultimate sigma")
    scheduler = sampling.sampler.scheduler
    if scheduler is not None:
        if not is_hires:
            extra["Schedule type"] = scheduler.label
        elif scheduler.label != extra.get("Schedule type"):
            extra["Hires schedule type"] = scheduler.label
    extra.update(keys)


def _add_calls(extra: dict[str, Any], facts: GenerationFacts, sampling: PassFacts) -> None:
    """What the model calls add: the refiner taking over, the negative prompt being skipped."""
    a1111_options = facts.a1111_options
    by_steps = a1111_options.refiner_switch_by_sample_steps
    skips = a1111_options.skip_early_cond != 0 or facts.s_min_uncond > 0
    if not (skips or by_steps or facts.refiner):
        return
    levels = called_levels(sampling.schedule, sampling.eta)
    if levels and by_steps:
        extra["Refiner switch by sampling steps"] = True
    for call, level in enumerate(levels):
        if facts.refiner and call == sampling.refiner_call:
            if facts.hires and a1111_options.hires_fix_refiner_pass != "second pass":
                extra["Hires refiner"] = a1111_options.hires_fix_refiner_pass
            extra["Refiner"] = facts.refiner.checkpoint.title
            extra["Refiner switch at"] = facts.refiner.switch_at
        if skips:
            _add_skipping(extra, facts, sampling, call, level)


def _add_skipping(
    extra: dict[str, Any], facts: GenerationFacts, sampling: PassFacts, call: int, level: float
) -> None:
    """What a model call adds that leaves the negative prompt out."""
    a1111_options = facts.a1111_options
    early = a1111_options.skip_early_cond
    total = max(sampling.schedule.total_steps, 1)
    if early != 0 and call / total <= early:
        extra["Skip Early CFG"] = early
    elif (call % 2 or a1111_options.s_min_uncond_all) and level < facts.s_min_uncond:
        extra["NGMS"] = facts.s_min_uncond
        if a1111_options.s_min_uncond_all:
            extra["NGMS all steps"] = True
