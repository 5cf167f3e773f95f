"""A1111's rules: request and options -> `Plan`, all names resolved and all numbers final.

Source: A1111 v1.10.1 ``modules/processing.py`` (``StableDiffusionProcessingTxt2Img`` and
``...Img2Img``), restated. Each part has a file beside this one: sizes, samplers, prompts, numbers,
refiner, upscale, init_image, faces, seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from translator.comfy.catalog import Catalog
from translator.control import models as control_models
from translator.control.context import ControlContext, InpaintArea, PassContext
from translator.control.plan import ControlPlan
from translator.control.planner import plan_units
from translator.control.sizes import Size
from translator.control.units import ControlUnit
from translator.geometry import HiresSize, latent_pixels
from translator.models.names import Checkpoint, ModelFile, Models
from translator.options import Options
from translator.plan import numbers, seeds
from translator.plan.faces import face_restoration
from translator.plan.image_conditioning import warn_of_inpaint_units, with_image_conditioning
from translator.plan.init_image import InitImagePlanner, posterior_seed
from translator.plan.lora_steps import warn_of_nearness
from translator.plan.prompts import PromptPlanner
from translator.plan.refiner import refined_passes, refiner_of
from translator.plan.reversal import reversal_of
from translator.plan.samplers import SchedulePlanner, first_sampler, hires_sampler
from translator.plan.seeds import Seeds
from translator.plan.sizes import pass_sizes
from translator.plan.starts import EmptyLatent, Encoded, Enlarged, SoftInpainting
from translator.plan.upscale import hires_upscale
from translator.plan.values import (
    Finish,
    ModelSampling,
    Plan,
    PuttingBack,
    Refiner,
    Reversal,
    SamplingPass,
)
from translator.report import Report
from translator.request.generation import Generation
from translator.request.images import ImageReader
from translator.request.img2img import Img2Img
from translator.request.txt2img import Txt2Img
from translator.schedules.passes import Pass
from translator.scope import Scope

OWN_NODES = (
    "A1111Noise",
    "A1111Sigmas",
    "A1111Sampler",
    "A1111ModelSampling",
    "A1111Guider",
    "A1111TextEncode",
)
"""The nodes of our pack that exact translation cannot do without."""

SAME_CHECKPOINT = (None, "", "Use same checkpoint")
"""Values of hr_checkpoint_name that name none."""


@dataclass(frozen=True)
class _Laid:
    """What is special to a tab: size as requested, passes, and what becomes of the pictures."""

    size: tuple[int, int]
    passes: tuple[SamplingPass, ...]
    finish: tuple[Finish, ...] = ()
    reversal: Reversal | None = None


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
    """Plans requests in one scope; problems are reported there, not raised."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._a1111_options = scope.a1111_options
        self._report = scope.report
        self._exact = uses_own_pack(scope.catalog, scope.options, scope.report)
        self._models = Models(scope.catalog, scope.options, scope.report)
        self._schedules = SchedulePlanner(scope)

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
            seed_source(self._scope.options, self._report),
        )
        prompts = PromptPlanner(request, self._models, self._scope, drawn.seeds[0])
        if isinstance(request, Img2Img):
            reader = images or ImageReader(self._report)
            init = InitImagePlanner(request, reader, soft, self._scope)
            laid = self._img2img(request, prompts, hint, init, drawn, before, has_units=bool(units))
        else:
            assert isinstance(request, Txt2Img)
            laid = self._txt2img(request, prompts, hint)
        if laid is None:
            return None
        passes = with_image_conditioning(laid.passes, request, self._a1111_options, self._report)
        warn_of_nearness(passes, self._report)
        control = self._control(request, units, passes, drawn.seeds[0])
        warn_of_inpaint_units(passes, control, self._report)
        if isinstance(request, Txt2Img) and request.enable_hr and len(laid.passes) == 1:
            return None
        return self._whole(request, replace(laid, passes=passes), control, drawn)

    def _whole(self, request: Generation, laid: _Laid, control: ControlPlan, drawn: Seeds) -> Plan:
        options = self._a1111_options
        faces = face_restoration(request, self._scope, exact=self._exact)
        masked = any(isinstance(step, PuttingBack) for step in laid.finish)
        return Plan(
            a1111_options=options,
            exact=self._exact,
            requested_size=laid.size,
            seeds=drawn.seeds,
            subseeds=drawn.subseeds,
            batch_size=request.batch_size if self._exact else 1,
            passes=laid.passes,
            noise=numbers.noise(request, options),
            guidance=numbers.guidance(request, self._scope, laid.passes),
            model_sampling=ModelSampling(
                sgm_noise_multiplier=options.sgm_noise_multiplier,
                zero_terminal_snr=self._schedules.options.zero_terminal_snr,
                downcast_alphas=options.use_downcasted_alpha_bar,
                quantize=options.enable_quantization,
            ),
            control=control,
            tiling=options.tiling if request.tiling is None else request.tiling,
            finish=(*((faces,) if faces else ()), *laid.finish),
            answers_mask=masked and options.return_mask,
            answers_composite=masked and options.return_mask_composite,
            reversal=laid.reversal,
        )

    # --- models ----------------------------------------------------------------------------------

    def _checkpoint(self, hint: str | None) -> Checkpoint:
        name = self._a1111_options.sd_model_checkpoint
        path = self._a1111_options.path_of("sd_model_checkpoint")
        return self._models.checkpoint(name, path, hint)

    def _hires_checkpoint(
        self, request: Txt2Img, first: Checkpoint, hint: str | None
    ) -> Checkpoint | None:
        name = request.hr_checkpoint_name
        if name is None or name in SAME_CHECKPOINT:
            return first
        return self._models.checkpoint_fuzzy(name, "hr_checkpoint_name", hint)

    def _refiner(
        self, request: Generation, place: int, laid_out: Pass, checkpoint: Checkpoint
    ) -> Refiner | None:
        """The refiner of a pass; None where it has none.

        Args:
            place: 0 of the first pass, 1 of the hires pass.
        """
        if not refined_passes(request, self._a1111_options)[place]:
            return None
        return refiner_of(request, laid_out, checkpoint, self._models, self._scope)

    def _vae(self, checkpoint: Checkpoint) -> ModelFile | None:
        path = self._a1111_options.path_of("sd_vae")
        return self._models.vae(self._a1111_options.sd_vae, checkpoint, path)

    # --- passes ----------------------------------------------------------------------------------

    def _txt2img(self, request: Txt2Img, prompts: PromptPlanner, hint: str | None) -> _Laid | None:
        """The passes that can be planned; None without any."""
        size = pass_sizes(request, self._scope)
        first = self._first_pass(request, size, self._checkpoint(hint), prompts)
        if first is None:
            return None
        if not request.enable_hr:
            return _Laid(size.first, (first,))
        hires = self._hires(request, size, first, prompts, hint)
        return _Laid(size.first, (first,) if hires is None else (first, hires))

    def _img2img(
        self,
        request: Img2Img,
        prompts: PromptPlanner,
        hint: str | None,
        init: InitImagePlanner,
        drawn: Seeds,
        before: Plan | None,
        *,
        has_units: bool,
    ) -> _Laid | None:
        """The pass; None where there is none."""
        size = request.width, request.height
        checkpoint = self._checkpoint(hint)
        sampler = first_sampler(request, self._scope)
        denoise = request.denoising_strength
        laid_out = self._schedules.img2img(request.steps, denoise, sampler, checkpoint)
        start = init.start(drawn.seeds, posterior_seed(before))
        if laid_out is None or start is None:
            return None
        options = self._a1111_options
        sampling_pass = SamplingPass(
            role="img2img",
            width=latent_pixels(request.width),
            height=latent_pixels(request.height),
            start=start,
            checkpoint=checkpoint,
            vae=self._vae(checkpoint),
            sampler=sampler,
            numbers=numbers.sampler_numbers(request, sampler, options),
            schedule=laid_out,
            steps=request.steps,
            denoise=denoise,
            prompt=prompts.first_pass(sampler.sampler, checkpoint),
            encoding=prompts.encoding(checkpoint, size),
            text_encoder_of=None,
            refiner=self._refiner(request, 0, laid_out, checkpoint),
            token_merging_ratio=options.img2img_token_merging_ratio,
            fields=numbers.fields(request, sampler, options),
        )
        seed = drawn.seeds[0]
        reversal = reversal_of(
            request, sampling_pass, self._models, self._scope, seed, has_units=has_units
        )
        return _Laid(size, (sampling_pass,), tuple(init.finish()), reversal)

    def _first_pass(
        self, request: Txt2Img, size: HiresSize, checkpoint: Checkpoint, prompts: PromptPlanner
    ) -> SamplingPass | None:
        options = self._a1111_options
        vae = self._vae(checkpoint)
        sampler = first_sampler(request, self._scope)
        laid_out = self._schedules.first(request.steps, sampler, checkpoint)
        if laid_out is None:
            return None
        return SamplingPass(
            role="first",
            width=latent_pixels(size.first[0]),
            height=latent_pixels(size.first[1]),
            start=EmptyLatent(),
            checkpoint=checkpoint,
            vae=vae,
            sampler=sampler,
            numbers=numbers.sampler_numbers(request, sampler, options),
            schedule=laid_out,
            steps=request.steps,
            denoise=None,
            prompt=prompts.first_pass(sampler.sampler, checkpoint),
            encoding=prompts.encoding(checkpoint, size.first),
            text_encoder_of=None,
            refiner=self._refiner(request, 0, laid_out, checkpoint),
            token_merging_ratio=options.token_merging_ratio,
            fields=numbers.fields(request, sampler, options),
        )

    def _hires(
        self,
        request: Txt2Img,
        size: HiresSize,
        first: SamplingPass,
        prompts: PromptPlanner,
        hint: str | None,
    ) -> SamplingPass | None:
        options = self._a1111_options
        upscale = hires_upscale(request, self._scope)
        sampler = hires_sampler(request, first.sampler, self._scope)
        checkpoint = self._hires_checkpoint(request, first.checkpoint, hint)
        if request.denoising_strength is None:
            self._report.invalid(
                "denoising_strength", "hires fix (enable_hr) needs a strength, from 0 to 1"
            )
        if upscale is None or sampler is None or checkpoint is None:
            return None
        steps = request.hr_second_pass_steps or request.steps
        denoise = request.denoising_strength or 0.0
        laid_out = self._schedules.hires(steps, denoise, sampler, checkpoint)
        if laid_out is None:
            return None
        return SamplingPass(
            role="hires",
            width=size.result[0],
            height=size.result[1],
            start=Enlarged(upscale, first.size, size.upscaled, size.crop),
            checkpoint=checkpoint,
            vae=first.vae if checkpoint == first.checkpoint else self._vae(checkpoint),
            sampler=sampler,
            numbers=numbers.sampler_numbers(request, sampler, options),
            schedule=laid_out,
            steps=steps,
            denoise=denoise,
            prompt=prompts.hires_pass(first.sampler.sampler, sampler.sampler, checkpoint),
            encoding=prompts.encoding(checkpoint, size.upscaled),
            text_encoder_of=0 if options.hires_fix_use_firstpass_conds else None,
            refiner=self._refiner(request, 1, laid_out, checkpoint),
            token_merging_ratio=options.token_merging_ratio_hr or options.token_merging_ratio,
            fields={
                **numbers.fields(request, sampler, options),
                **numbers.hires_fields(request, upscale, options),
            },
        )

    # --- ControlNet ------------------------------------------------------------------------------

    def _control(
        self,
        request: Generation,
        units: Sequence[ControlUnit],
        passes: Sequence[SamplingPass],
        seed: int,
    ) -> ControlPlan:
        context = ControlContext(
            architecture=passes[0].checkpoint.architecture,
            passes=tuple(PassContext(item.width, item.height, item.schedule) for item in passes),
            seed=seed,
            subseed=request.subseed if request.subseed is not None else -1,
            empty_prompts=not request.prompt and not request.negative_prompt,
            shares_prompts=self._a1111_options.hires_fix_use_firstpass_conds,
            **_init_image(request, passes),
        )
        if units:
            self._warn_of_one_side(request)
        return plan_units(units, context, self._scope)

    def _warn_of_one_side(self, request: Generation) -> None:
        """ControlNet reads both hires sides as they were sent, where A1111 works one out."""
        if not isinstance(request, Txt2Img) or not request.enable_hr:
            return
        sides = {"hr_resize_x": request.hr_resize_x, "hr_resize_y": request.hr_resize_y}
        missing = [name for name, side in sides.items() if not side]
        if len(missing) == 1 and not self._a1111_options.use_old_hires_fix_width_height:
            self._report.warn(
                missing[0],
                "A1111's ControlNet fails where one hires side is 0; here the maps have the size "
                "of the hires pass",
            )


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
