"""A1111's rules: request and options -> `Plan`, all names resolved and all numbers final.

Source: A1111 v1.10.1 ``modules/processing.py`` (``StableDiffusionProcessingTxt2Img``), restated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from translator.comfy.catalog import Catalog
from translator.control import models as control_models
from translator.control.context import InpaintArea
from translator.control.planner import ControlContext, ControlPlan, PassContext, plan_units
from translator.control.sizes import Size
from translator.control.units import ControlUnit
from translator.geometry import Crop, HiresSize, hires_size, latent_pixels
from translator.models import upscalers
from translator.models.names import Checkpoint, ModelFile, Models
from translator.options import Options
from translator.plan import seeds
from translator.plan.init_image import InitImagePlanner
from translator.plan.prompts import PromptPlanner
from translator.plan.seeds import Seeds
from translator.plan.values import (
    EmptyLatent,
    Encoded,
    Enlarged,
    FaceRestoration,
    Finish,
    Guidance,
    ImageUpscale,
    LatentUpscale,
    ModelSampling,
    Noise,
    Plan,
    PuttingBack,
    Refiner,
    SamplerNumbers,
    SamplingPass,
    SoftInpainting,
)
from translator.report import Report
from translator.request.a1111_options import A1111Options
from translator.request.generation import Generation
from translator.request.images import ImageReader
from translator.request.img2img import Img2Img
from translator.request.txt2img import Txt2Img
from translator.schedules import passes as schedule
from translator.schedules import samplers
from translator.schedules.samplers import ResolvedSampler
from translator.suggest import did_you_mean

OWN_NODES = (
    "A1111Noise",
    "A1111Sigmas",
    "A1111Sampler",
    "A1111ModelSampling",
    "A1111Guider",
    "A1111TextEncode",
)
"""The nodes of our pack that exact translation cannot do without."""

_NO_REFINER = (None, "", "None", "none")
SAME_CHECKPOINT = (None, "", "Use same checkpoint")
"""Values of hr_checkpoint_name that name none."""

_REFINED_PASSES: Mapping[str, tuple[bool, bool]] = {
    "first pass": (True, False),
    "second pass": (False, True),
    "both passes": (True, True),
}
"""Option hires_fix_refiner_pass -> whether the first and the hires pass are refined."""

_NOISE_DEFAULTS: Mapping[str, float] = {
    "s_churn": 0.0,
    "s_tmin": 0.0,
    "s_tmax": 0.0,
    "s_noise": 1.0,
}


_UNI_PC_OPTIONS = (
    "uni_pc_variant",
    "uni_pc_skip_type",
    "uni_pc_order",
    "uni_pc_lower_order_final",
)


_PADDINGS: Mapping[str, str] = {"pad_cond_uncond_v0": "last", "pad_cond_uncond": "empty"}
"""A1111's options -> how they lengthen the shorter of both prompts, see `Guidance`."""

_SIDE = (8, 16384)
"""The shortest side that leaves a latent cell, and the longest of ComfyUI's latents, in pixels."""

_SIDES = f"within {_SIDE[0]}..{_SIDE[1]} pixels"

_REFUSED_SIZE = HiresSize((512, 512), (512, 512), Crop())
"""Stands for a size that was refused, so that the request's other problems are found as well."""


def _fits(side: int) -> bool:
    return _SIDE[0] <= side <= _SIDE[1]


def _init_image(request: Generation, passes: Sequence[SamplingPass]) -> dict[str, Any]:
    """What ControlNet units take from an img2img request, see `ControlContext`."""
    source = passes[0].start
    if not isinstance(request, Img2Img) or not isinstance(source, Encoded):
        return {}
    area, inpainting = None, source.inpainting
    if inpainting is not None:
        area = InpaintArea(
            mask=inpainting.mask,
            inverts=inpainting.inverts,
            blur=inpainting.blur,
            only_masked=inpainting.only_masked,
            padding=inpainting.padding,
            size=Size(request.width, request.height),
        )
    return {
        "init_image": source.images[0],
        "init_resize_mode": request.resize_mode,
        "inpaint_area": area,
    }


def uses_own_pack(catalog: Catalog, options: Options, report: Report) -> bool:
    """Whether our node pack is used; where it is requested for and absent, the report warns."""
    if options.fidelity == "core":
        return False
    if catalog.has(*OWN_NODES):
        return True
    report.warn(
        "",
        "this ComfyUI lacks our node pack (copy custom_nodes/comfyui_a1111 into its custom_nodes): "
        "core nodes are used, and noise, prompt weights and first-noise scale differ from A1111's",
    )
    return False


def seed_source(options: Options, report: Report) -> Callable[[], int]:
    """Where random seeds come from; without a source it is 0 every time, and a warning says so."""

    def zero() -> int:
        report.warn(
            "seed", "-1 asks for a random seed, but no source of seeds was given: 0 is used"
        )
        return 0

    return options.draw_seed or zero


class Planner:
    """Plans requests against one catalog.

    Args:
        a1111_options: A1111's options, the request's overrides applied.
        report: takes warnings and problems; problems are not raised here.
    """

    def __init__(
        self,
        a1111_options: A1111Options,
        catalog: Catalog,
        options: Options,
        report: Report,
    ) -> None:
        self._a1111_options = a1111_options
        self._catalog = catalog
        self._options = options
        self._report = report
        self._exact = uses_own_pack(catalog, options, report)
        self._models = Models(catalog, options.architectures, options.default_checkpoint, report)
        self._schedule_options = schedule.ScheduleOptions.from_a1111_options(a1111_options)

    def plan(
        self,
        request: Generation,
        units: Sequence[ControlUnit],
        images: ImageReader | None = None,
        before: Plan | None = None,
        soft: SoftInpainting | None = None,
    ) -> Plan | None:
        """Plan one request; None where it is refused before there is anything to plan.

        Args:
            units: its ControlNet units.
            images: reads the pictures of an img2img request.
            before: the plan of the generation that A1111 runs before it in the same request.
            soft: what the always-on script Soft Inpainting asks for.
        """
        hint = control_models.architecture_hint(units)
        drawn = seeds.resolve(
            request.seed,
            request.subseed,
            request.subseed_strength,
            request.batch_size * request.n_iter,
            seed_source(self._options, self._report),
        )
        prompts = PromptPlanner(
            request, self._a1111_options, self._models, self._options, self._report
        )
        if isinstance(request, Img2Img):
            reader = images or ImageReader(self._report)
            init = InitImagePlanner(
                request, self._a1111_options, self._catalog, reader, soft, self._report
            )
            made = self._img2img(request, prompts, hint, init, drawn, before)
            more = tuple(init.finish())
        else:
            assert isinstance(request, Txt2Img)
            made, more = self._txt2img(request, prompts, hint), ()
        if made is None:
            return None
        size, passes = made
        checkpoint = passes[0].checkpoint
        control = self._control(request, units, checkpoint, passes, drawn.seeds[0])
        if isinstance(request, Txt2Img) and request.enable_hr and len(passes) == 1:
            return None
        masked = any(isinstance(step, PuttingBack) for step in more)
        return Plan(
            a1111_options=self._a1111_options,
            exact=self._exact,
            requested_size=size,
            seeds=drawn.seeds,
            subseeds=drawn.subseeds,
            batch_size=request.batch_size if self._exact else 1,
            passes=passes,
            noise=self._noise(request),
            guidance=self._guidance(request),
            model_sampling=ModelSampling(
                sgm_noise_multiplier=self._a1111_options.sgm_noise_multiplier,
                zero_terminal_snr=self._schedule_options.zero_terminal_snr,
                downcast_alphas=self._a1111_options.use_downcasted_alpha_bar,
                quantize=self._a1111_options.enable_quantization,
            ),
            control=control,
            tiling=self._a1111_options.tiling if request.tiling is None else request.tiling,
            finish=(*self._finish(request), *more),
            answers_mask=masked and self._a1111_options.return_mask,
            answers_composite=masked and self._a1111_options.return_mask_composite,
        )

    # --- sizes and models ------------------------------------------------------------------------

    def _size(self, request: Txt2Img) -> HiresSize:
        """The sizes of both passes; where no picture can be of such a size, a problem."""
        fields, first = ("width", "height"), (request.width, request.height)
        if request.firstphase_width or request.firstphase_height:
            fields = ("firstphase_width", "firstphase_height")
            first = (request.firstphase_width, request.firstphase_height)
        wrong = [(name, side) for name, side in zip(fields, first, strict=True) if not _fits(side)]
        for name, side in wrong:
            self._report.invalid(name, f"{side} is not {_SIDES}", side)
        if wrong:
            return _REFUSED_SIZE
        if not request.enable_hr:
            return HiresSize(first, first, Crop())
        size = hires_size(
            *first,
            request.hr_scale,
            request.hr_resize_x,
            request.hr_resize_y,
            old_rule=self._a1111_options.use_old_hires_fix_width_height,
        )
        if all(map(_fits, size.result)):
            return size
        width, height = size.result
        self._report.invalid(
            "hr_resize_x" if request.hr_resize_x or request.hr_resize_y else "hr_scale",
            f"hires fix would make a picture of {width}x{height}; a side is not {_SIDES}",
        )
        return _REFUSED_SIZE

    def _checkpoint(self, hint: str | None) -> Checkpoint:
        name = self._a1111_options.sd_model_checkpoint
        path = self._a1111_options.path_of("sd_model_checkpoint")
        return self._models.checkpoint(name, path, hint)

    def _vae(self, checkpoint: Checkpoint) -> ModelFile | None:
        path = self._a1111_options.path_of("sd_vae")
        return self._models.vae(self._a1111_options.sd_vae, checkpoint, path)

    # --- passes ----------------------------------------------------------------------------------

    def _txt2img(
        self, request: Txt2Img, prompts: PromptPlanner, hint: str | None
    ) -> tuple[tuple[int, int], tuple[SamplingPass, ...]] | None:
        """Width and height as requested, and the passes that can be planned; None without any."""
        size = self._size(request)
        checkpoint = self._checkpoint(hint)
        vae = self._vae(checkpoint)
        first = self._first_pass(request, size, checkpoint, vae, prompts)
        if first is None:
            return None
        if not request.enable_hr:
            return size.first, (first,)
        hires = self._hires(request, size, first, prompts, hint)
        return size.first, (first,) if hires is None else (first, hires)

    def _img2img(
        self,
        request: Img2Img,
        prompts: PromptPlanner,
        hint: str | None,
        init: InitImagePlanner,
        drawn: Seeds,
        before: Plan | None,
    ) -> tuple[tuple[int, int], tuple[SamplingPass, ...]] | None:
        """Width and height as requested, and the pass; None where there is none."""
        size = request.width, request.height
        checkpoint = self._checkpoint(hint)
        sampler = self._first_sampler(request)
        laid_out = self._img2img_schedule(request, sampler, checkpoint)
        start = init.start(drawn.seeds, self._posterior_seed(before))
        if laid_out is None or start is None:
            return None
        options = self._a1111_options
        refined = self._refined(request)[0]
        sampling_pass = SamplingPass(
            role="img2img",
            width=latent_pixels(request.width),
            height=latent_pixels(request.height),
            start=start,
            checkpoint=checkpoint,
            vae=self._vae(checkpoint),
            sampler=sampler,
            numbers=self._numbers(request, sampler),
            schedule=laid_out,
            steps=request.steps,
            denoise=request.denoising_strength,
            prompt=prompts.first_pass(sampler.sampler, checkpoint),
            encoding=prompts.encoding(checkpoint, size),
            text_encoder_of=None,
            refiner=self._refiner(request, laid_out) if refined else None,
            token_merging_ratio=options.token_merging_ratio_img2img or options.token_merging_ratio,
            fields={**self._fields(request, sampler), "multiplier": "initial_noise_multiplier"},
        )
        return size, (sampling_pass,)

    def _posterior_seed(self, before: Plan | None) -> int:
        """What A1111 has seeded torch with when it encodes an init image; -1 where nothing has.

        Only the generation before it in the same request seeds it: with its last image's seed.
        """
        if before is None or before.noise.source == "NV":
            return -1
        return seeds.as_torch(before.seeds[-1])

    def _img2img_schedule(
        self, request: Img2Img, sampler: ResolvedSampler, checkpoint: Checkpoint
    ) -> schedule.Pass | None:
        """The sigmas of img2img's pass; None, and a problem, where A1111 fails on the steps."""
        try:
            return schedule.img2img_pass(
                sampler,
                request.steps,
                request.denoising_strength,
                sdxl=checkpoint.family.schedule == "SDXL",
                options=self._schedule_options,
            )
        except schedule.ScheduleError as error:
            path = "denoising_strength" if request.denoising_strength else "steps"
            self._report.invalid(path, str(error), request.denoising_strength)
            return None

    def _first_pass(
        self,
        request: Txt2Img,
        size: HiresSize,
        checkpoint: Checkpoint,
        vae: ModelFile | None,
        prompts: PromptPlanner,
    ) -> SamplingPass | None:
        sampler = self._first_sampler(request)
        laid_out = self._schedule("steps", request.steps, None, sampler, checkpoint)
        if laid_out is None:
            return None
        refined = self._refined(request)[0]
        return SamplingPass(
            role="first",
            width=latent_pixels(size.first[0]),
            height=latent_pixels(size.first[1]),
            start=EmptyLatent(),
            checkpoint=checkpoint,
            vae=vae,
            sampler=sampler,
            numbers=self._numbers(request, sampler),
            schedule=laid_out,
            steps=request.steps,
            denoise=None,
            prompt=prompts.first_pass(sampler.sampler, checkpoint),
            encoding=prompts.encoding(checkpoint, size.first),
            text_encoder_of=None,
            refiner=self._refiner(request, laid_out) if refined else None,
            token_merging_ratio=self._a1111_options.token_merging_ratio,
            fields=self._fields(request, sampler),
        )

    def _hires(
        self,
        request: Txt2Img,
        size: HiresSize,
        first: SamplingPass,
        prompts: PromptPlanner,
        hint: str | None,
    ) -> SamplingPass | None:
        upscale = self._upscale(request)
        sampler = self._hires_sampler(request, first.sampler)
        checkpoint = self._hires_checkpoint(request, first.checkpoint, hint)
        if request.denoising_strength is None:
            self._report.invalid(
                "denoising_strength", "hires fix (enable_hr) needs a strength, from 0 to 1"
            )
        if upscale is None or sampler is None or checkpoint is None:
            return None
        steps = request.hr_second_pass_steps or request.steps
        denoise = request.denoising_strength or 0.0
        laid_out = self._schedule("denoising_strength", steps, denoise, sampler, checkpoint)
        if laid_out is None:
            return None
        width, height = size.result
        ratio = (
            self._a1111_options.token_merging_ratio_hr or self._a1111_options.token_merging_ratio
        )
        return SamplingPass(
            role="hires",
            width=width,
            height=height,
            start=Enlarged(upscale, first.size, size.upscaled, size.crop),
            checkpoint=checkpoint,
            vae=first.vae if checkpoint == first.checkpoint else self._vae(checkpoint),
            sampler=sampler,
            numbers=self._numbers(request, sampler),
            schedule=laid_out,
            steps=steps,
            denoise=denoise,
            prompt=prompts.hires_pass(first.sampler.sampler, sampler.sampler, checkpoint),
            encoding=prompts.encoding(checkpoint, size.upscaled),
            text_encoder_of=0 if self._a1111_options.hires_fix_use_firstpass_conds else None,
            refiner=self._refiner(request, laid_out) if self._refined(request)[1] else None,
            token_merging_ratio=ratio,
            fields={
                **self._fields(request, sampler),
                **self._hires_fields(request, upscale),
            },
        )

    def _schedule(
        self,
        path: str,
        steps: int,
        denoise: float | None,
        sampler: ResolvedSampler,
        checkpoint: Checkpoint,
    ) -> schedule.Pass | None:
        """The sigmas of a pass; None, and a problem, where A1111 fails on the steps."""
        options = self._schedule_options
        try:
            if denoise is None:
                return schedule.first_pass(
                    sampler, steps, sdxl=checkpoint.family.schedule == "SDXL", options=options
                )
            return schedule.second_pass(
                sampler, steps, denoise, sdxl=checkpoint.family.schedule == "SDXL", options=options
            )
        except schedule.ScheduleError as error:
            self._report.invalid(path, str(error), steps if denoise is None else denoise)
            return None

    def _first_sampler(self, request: Generation) -> ResolvedSampler:
        resolved = samplers.resolve(request.sampler_name, request.scheduler, request.sampler_index)
        meant = (
            f" (did you mean {', '.join(resolved.suggestions)}?)" if resolved.suggestions else ""
        )
        if resolved.unknown_sampler is not None:
            path = "sampler_name" if request.sampler_name else "sampler_index"
            self._report.unsupported(
                path,
                f'A1111 has no sampler "{resolved.unknown_sampler}"{meant}',
                instead=f"{resolved.sampler.name} is used, as A1111 does",
                value=resolved.unknown_sampler,
            )
        if resolved.unknown_scheduler is not None:
            self._report.unsupported(
                "scheduler",
                f'A1111 has no scheduler "{resolved.unknown_scheduler}"{meant}',
                instead=f"{resolved.schedule_type} is used, as A1111 does",
                value=resolved.unknown_scheduler,
            )
        if resolved.ignored_suffix is not None:
            self._report.warn(
                "sampler_name",
                f"the scheduler {resolved.ignored_suffix} at its end is ignored, as "
                "the field scheduler goes before in A1111",
            )
        return resolved

    def _hires_sampler(self, request: Txt2Img, first: ResolvedSampler) -> ResolvedSampler | None:
        try:
            resolved = samplers.resolve_hires(first, request.hr_sampler_name, request.hr_scheduler)
        except samplers.UnknownSamplerError as error:
            meant = f" (did you mean {', '.join(error.suggestions)}?)" if error.suggestions else ""
            if error.parts:
                meant = ': send hr_sampler_name "{}" and hr_scheduler "{}"'.format(*error.parts)
            self._report.invalid(
                "hr_sampler_name", f'A1111 has no sampler "{error.name}"{meant}', error.name
            )
            return None
        if resolved.unknown_scheduler is not None:
            self._report.unsupported(
                "hr_scheduler",
                f'A1111 has no scheduler "{resolved.unknown_scheduler}"',
                instead="the model's uniform schedule is used, as A1111 does",
                value=resolved.unknown_scheduler,
            )
        return resolved

    def _hires_checkpoint(
        self, request: Txt2Img, first: Checkpoint, hint: str | None
    ) -> Checkpoint | None:
        name = request.hr_checkpoint_name
        if name is None or name in SAME_CHECKPOINT:
            return first
        return self._models.checkpoint_fuzzy(name, "hr_checkpoint_name", hint)

    def _upscale(self, request: Txt2Img) -> LatentUpscale | ImageUpscale | None:
        name = upscalers.DEFAULT if request.hr_upscaler is None else request.hr_upscaler
        found = upscalers.find(name, self._catalog, self._a1111_options)
        if found is not None:
            return found
        obstacle = upscalers.obstacle(name, self._catalog)
        if obstacle is None:
            hint = did_you_mean(name, upscalers.names(self._catalog))
            self._report.invalid("hr_upscaler", f'A1111 has no upscaler "{name}"{hint}', name)
            return None
        self._report.missing(
            "hr_upscaler",
            f"{name} cannot be used here: {obstacle}",
            instead="Lanczos enlarges the picture",
            value=name,
        )
        return ImageUpscale("lanczos", None)

    # --- refiner ---------------------------------------------------------------------------------

    def _refined(self, request: Generation) -> tuple[bool, bool]:
        if request.refiner_checkpoint in _NO_REFINER:
            return False, False
        if not isinstance(request, Txt2Img) or not request.enable_hr:
            return True, False
        return _REFINED_PASSES.get(self._a1111_options.hires_fix_refiner_pass, (False, True))

    def _refiner(self, request: Generation, laid_out: schedule.Pass) -> Refiner | None:
        name = request.refiner_checkpoint or ""
        checkpoint = self._models.checkpoint_fuzzy(name, "refiner_checkpoint", None)
        if checkpoint is None:
            return None
        by_steps = self._a1111_options.refiner_switch_by_sample_steps
        switch_at = request.refiner_switch_at
        return Refiner(
            checkpoint=checkpoint,
            switch_at=0.0 if switch_at is None else switch_at,
            by_steps=by_steps,
            step=laid_out.refiner_step(switch_at, by_steps=by_steps),
        )

    # --- numbers ---------------------------------------------------------------------------------

    def _noise(self, request: Generation) -> Noise:
        resize_from = (request.seed_resize_from_w, request.seed_resize_from_h)
        return Noise(
            source=self._a1111_options.randn_source,
            subseed_strength=request.subseed_strength,
            resize_from=resize_from if min(resize_from) > 0 else (0, 0),
            eta_noise_seed_delta=self._a1111_options.eta_noise_seed_delta,
            extra=self._a1111_options.img2img_extra_noise,
            multiplier=self._noise_multiplier(request),
        )

    def _noise_multiplier(self, request: Generation) -> float:
        if not isinstance(request, Img2Img):
            return 1.0
        requested = request.initial_noise_multiplier
        return self._a1111_options.initial_noise_multiplier if requested is None else requested

    def _numbers(self, request: Generation, resolved: ResolvedSampler) -> SamplerNumbers:
        """What the sampler takes: the request's number, else the option's (see `_noise_number`)."""
        sampler, a1111_options = resolved.sampler, self._a1111_options
        eta = request.eta
        if eta is None:
            eta = getattr(a1111_options, sampler.eta_option) if sampler.eta_option else 0.0
        numbers = {
            name: self._noise_number(name, request) if name in sampler.noise_params else default
            for name, default in _NOISE_DEFAULTS.items()
        }
        extra: dict[str, Any] = {}
        if sampler.brownian_noise and a1111_options.no_dpmpp_sde_batch_determinism:
            extra["no_batch_determinism"] = True
        if sampler.evaluation == "unipc":
            extra |= {name: getattr(a1111_options, name) for name in _UNI_PC_OPTIONS}
        return SamplerNumbers(eta=eta, **numbers, extra=extra)

    def _noise_number(self, name: str, request: Generation) -> float:
        """An option that differs from A1111's built-in default goes before the request's field."""
        option: float = getattr(self._a1111_options, name)
        requested: float | None = getattr(request, name)
        return option if option != _NOISE_DEFAULTS[name] or requested is None else requested

    def _fields(self, request: Generation, resolved: ResolvedSampler) -> dict[str, str]:
        """Input of a node -> the field or option whose number it takes, see `SamplingPass`."""
        path_of, eta_option = self._a1111_options.path_of, resolved.sampler.eta_option
        fields = {
            name: path_of(name)
            for name, default in _NOISE_DEFAULTS.items()
            if getattr(self._a1111_options, name) != default
        }
        if request.eta is None and eta_option:
            fields["eta"] = path_of(eta_option)
        if request.s_min_uncond is None:
            fields["s_min_uncond"] = path_of("s_min_uncond")
        if isinstance(request, Txt2Img) and (request.firstphase_width or request.firstphase_height):
            fields |= {"width": "firstphase_width", "height": "firstphase_height"}
        return fields

    def _hires_fields(
        self, request: Txt2Img, upscale: LatentUpscale | ImageUpscale
    ) -> dict[str, str]:
        """`_fields` of the hires pass, where they are others than the first pass'."""
        path_of = self._a1111_options.path_of
        by_size = request.hr_resize_x or request.hr_resize_y
        fields = {
            "width": "hr_resize_x" if by_size else "hr_scale",
            "height": "hr_resize_y" if by_size else "hr_scale",
        }
        if request.hr_second_pass_steps:
            fields |= dict.fromkeys(("steps", "total_steps"), "hr_second_pass_steps")
        if request.hr_prompt:
            fields |= dict.fromkeys(("strength_model", "strength_clip"), "hr_prompt")
        if self._a1111_options.token_merging_ratio_hr:
            fields["ratio"] = path_of("token_merging_ratio_hr")
        if isinstance(upscale, ImageUpscale):
            fields |= zip(("tile", "tile_overlap"), map(path_of, upscale.tile_options), strict=True)
        return fields

    def _guidance(self, request: Generation) -> Guidance:
        a1111_options = self._a1111_options
        requested = request.s_min_uncond
        return Guidance(
            cfg_scale=request.cfg_scale,
            s_min_uncond=a1111_options.s_min_uncond if requested is None else requested,
            s_min_uncond_all=a1111_options.s_min_uncond_all,
            skip_early_cond=a1111_options.skip_early_cond,
            padding=self._padding(),
        )

    def _padding(self) -> str:
        """How prompts of unequal length are made equal; A1111 looks at the older option first."""
        for option, padding in _PADDINGS.items():
            if getattr(self._a1111_options, option):
                self._report.warn(
                    self._a1111_options.path_of(option),
                    'the infotext does not say "Pad conds", which A1111 writes where positive and '
                    "negative prompt are of unequal length",
                )
                return padding
        return "none"

    def _control(
        self,
        request: Generation,
        units: Sequence[ControlUnit],
        checkpoint: Checkpoint,
        passes: Sequence[SamplingPass],
        seed: int,
    ) -> ControlPlan:
        context = ControlContext(
            architecture=checkpoint.architecture,
            passes=tuple(PassContext(item.width, item.height, item.schedule) for item in passes),
            seed=seed,
            subseed=request.subseed if request.subseed is not None else -1,
            empty_prompts=not request.prompt and not request.negative_prompt,
            a1111_options=self._a1111_options,
            **_init_image(request, passes),
        )
        return plan_units(units, context, self._catalog, self._options, self._report)

    def _finish(self, request: Generation) -> Iterator[Finish]:
        """What is done to every decoded picture."""
        faces = self._faces(request)
        if faces is not None:
            yield faces

    def _faces(self, request: Generation) -> FaceRestoration | None:
        requested = request.restore_faces
        a1111_options = self._a1111_options
        if not (a1111_options.face_restoration if requested is None else requested):
            return None
        if a1111_options.face_restoration_model not in ("CodeFormer", "GFPGAN"):
            return None
        if not self._exact or not self._catalog.has("A1111FaceRestore"):
            self._report.unsupported(
                "restore_faces",
                "restoring faces needs our node pack",
                instead="faces are left as they are",
            )
            return None
        return FaceRestoration(
            a1111_options.face_restoration_model, a1111_options.code_former_weight
        )
