"""ADetailer's rules: units -> `Detail`s, every name resolved and every number final.

Source: ADetailer v25.3.0 (``scripts/!adetailer.py``), restated in the project's facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from translator.control.context import ControlContext, PassContext
from translator.control.plan import ControlPlan
from translator.control.planner import plan_units
from translator.control.units import ControlUnit
from translator.detailer import control, nearness, prompts
from translator.detailer.inner_scripts import COMMENTS, acts, patches_inside
from translator.detailer.plan import (
    WHOLE_PICTURE,
    Detector,
    DynamicDenoise,
    InpaintedArea,
    RegionRules,
)
from translator.detailer.units import (
    FOLDER,
    MEDIAPIPE,
    NO_MODEL,
    SAME_SAMPLER,
    SAME_SCHEDULER,
    DetailerScript,
    DetailerUnit,
)
from translator.geometry import latent_pixels
from translator.models.names import Checkpoint, ModelFile, Models
from translator.plan.faces import face_restorer
from translator.plan.numbers import sampler_numbers
from translator.plan.prompts import PromptPlanner
from translator.plan.samplers import report_unknown
from translator.plan.starts import Encoded, OfRegion, SoftInpainting
from translator.plan.values import (
    Detail,
    FaceRestoration,
    InitPicture,
    Plan,
    SamplingPass,
)
from translator.prompt.error import PromptError
from translator.report import show
from translator.request.a1111_options import A1111Options
from translator.request.generation import Generation
from translator.request.img2img import Img2Img
from translator.schedules import passes as schedule
from translator.schedules import samplers
from translator.schedules.samplers import ResolvedSampler
from translator.scope import Scope

NODES = ("A1111DetectRegions", "A1111DetailRegions", "A1111RegionPicture", "A1111DetailEachRegion")
"""The nodes of our pack that a unit takes."""

_MOST_PROMPTS = 33
"""Pairs of prompts that the nodes take, a guider each."""

PROVIDER = "UltralyticsDetectorProvider"
"""Impact Subpack's node, which reads every detector that ultralytics knows."""

_OWN_DETECTORS = "yolov8"
"""In the names of the detectors that our own node reads."""

_MOST_DYNAMIC_STEPS = 500
"""Up to how many steps a schedule is laid out for each strength that a region may get."""

_STRICT = "Strict (SDXL only)"

_UNIT_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "ad_cfg_scale": ("cfg",),
    "ad_steps": ("steps", "total_steps"),
    "ad_noise_multiplier": ("multiplier",),
    "ad_clip_skip": ("clip_skip",),
    "ad_mask_k": ("mask_k",),
    "ad_dilate_erode": ("dilate_erode",),
    "ad_x_offset": ("x_offset",),
    "ad_y_offset": ("y_offset",),
    "ad_mask_blur": ("mask_blur",),
    "ad_inpaint_only_masked_padding": ("padding",),
}
"""A unit's field, which an ``ad_use_`` field may switch -> inputs of nodes that take its number."""

_NOT_NAMED = (None, "", "None")
_SAME_CHECKPOINT, _SAME_VAE = "Use same checkpoint", "Use same VAE"


def with_details(
    plan: Plan,
    script: DetailerScript,
    request: Generation,
    control_units: Sequence[ControlUnit],
    scope: Scope,
    asked: Plan | None = None,
    soft: SoftInpainting | None = None,
) -> Plan:
    """The plan with a step for each unit, behind the face restoration of its pictures.

    A unit that cannot be planned is left out; where A1111 fails in it, so are those after it.

    Args:
        plan: what A1111 runs of the request.
        request: what the units take over from.
        control_units: its own ControlNet units.
        asked: the plan of `request` where that is not what is run (skip_img2img): the units then
            work on its first init image.
        soft: what the always-on script Soft Inpainting asks for; it acts in the units' passes too.
    """
    units = [unit for unit in script.units if unit.is_on]
    if units and not (plan.exact and scope.catalog.has(*NODES)):
        scope.report.unsupported(
            units[0].path or "alwayson_scripts.ADetailer",
            "ADetailer needs our node pack",
            instead="pictures are left as they are",
        )
        return plan
    if units:
        nearness.warn_of_scripts(plan, units, control_units, scope)
    details: list[Detail] = []
    for unit in units:
        try:
            planner = _UnitPlanner(unit, asked or plan, request, control_units, scope, soft)
            detail = planner.detail(plan.first.sampler)
        except _EndsHere:
            break
        if detail is not None:
            details.append(detail)
    if asked is not None:
        return replace(plan, finish=(*_init_picture(asked), *details))
    before = tuple(step for step in plan.finish if isinstance(step, FaceRestoration))
    return replace(plan, finish=(*before, *details, *plan.finish[len(before) :]))


def _init_picture(plan: Plan) -> Iterator[InitPicture]:
    start = plan.first.start
    assert isinstance(start, Encoded)
    yield InitPicture(start.images[0], start.background)


class _EndsHere(Exception):
    """A1111 fails in this unit: it and those after it do nothing. The report says why."""


class _UnitPlanner:
    def __init__(
        self,
        unit: DetailerUnit,
        plan: Plan,
        request: Generation,
        control_units: Sequence[ControlUnit],
        scope: Scope,
        soft: SoftInpainting | None,
    ) -> None:
        self._unit = unit
        self._soft = soft
        self._plan = plan
        self._request = request
        self._control_units = control_units
        self._scope = scope
        self._report = scope.report
        self._models = Models(scope.catalog, scope.options, scope.report)
        self._a1111_options = self._inner_options()

    def detail(self, same_sampler: ResolvedSampler) -> Detail | None:
        """The unit's step; None where it finds nothing or skips every region.

        Args:
            same_sampler: what "Use same sampler" is: the one that A1111 runs the request with.
        """
        unit = self._unit
        detector = self._detector()
        if detector is None:
            return None
        pairs, order = self._prompts()
        sampler = self._sampler(same_sampler)
        if not pairs:
            return None
        laid_out = self._schedule(sampler, unit.ad_denoising_strength)
        passes = tuple(self._pass(pair, sampler, laid_out) for pair in pairs)
        inner = self._inner_plan(passes)
        return Detail(
            rules=self._rules(detector, sampler, controlled=bool(inner.control.units)),
            plan=inner,
            prompts=order,
            restorer=self._restorer(),
        )

    def _prompts(self) -> tuple[Sequence[tuple[str, str]], tuple[int | None, ...]]:
        """The different pairs of prompts, and each region's pair; see `prompts.region_prompts`."""
        inherited = self._plan.first.prompt
        pairs, order = prompts.region_prompts(
            self._parts("ad_prompt", inherited.text),
            self._parts("ad_negative_prompt", inherited.negative_text),
        )
        if len(pairs) > _MOST_PROMPTS:
            self._report.unsupported(
                f"{self._unit.path}.ad_prompt",
                f"it has {len(pairs)} different prompts for regions; {_MOST_PROMPTS} are made",
                instead="all further regions have the last of these",
            )
        last = _MOST_PROMPTS - 1
        bounded = (None if place is None else min(place, last) for place in order)
        return pairs[:_MOST_PROMPTS], tuple(bounded)

    def _parts(self, key: str, inherited: str) -> tuple[str, ...]:
        """The prompts of one of the unit's fields."""
        try:
            return prompts.parts(getattr(self._unit, key), inherited)
        except PromptError as error:
            self._report.invalid(f"{self._unit.path}.{key}", str(error))
            raise _EndsHere from error

    def _prompt_paths(self) -> tuple[str, str]:
        """Where the prompts stand: an empty one is the request's own."""
        unit = self._unit
        return (
            f"{unit.path}.ad_prompt" if unit.ad_prompt else "prompt",
            f"{unit.path}.ad_negative_prompt" if unit.ad_negative_prompt else "negative_prompt",
        )

    # --- what is found ---------------------------------------------------------------------------

    def _detector(self) -> Detector | None:
        """What looks for regions; None where A1111 too finds none."""
        name, catalog = self._unit.ad_model, self._scope.catalog
        known = catalog.files(FOLDER)
        if name in MEDIAPIPE:
            return self._mediapipe(name, known)
        provided = self._provided(name)
        if provided is not None:
            return Detector(name, provided)
        if known is not None and name not in known:
            self._report.missing(
                f"{self._unit.path}.ad_model",
                f'there is no detector "{name}" in models/adetailer or models/ultralytics'
                f"{self._report.did_you_mean(name, known)}",
                instead="this unit and those after it do nothing, as in A1111",
                value=name,
            )
            raise _EndsHere
        return Detector(name)

    def _mediapipe(self, name: str, known: Sequence[str] | None) -> Detector | None:
        if known is None or name in known:
            return Detector(name)
        self._report.missing(
            f"{self._unit.path}.ad_model",
            f"{name} needs the package mediapipe in ComfyUI's environment",
            instead="it finds nothing, as A1111 does without it",
            value=name,
        )
        return None

    def _provided(self, name: str) -> str | None:
        """The name by which Impact Subpack reads a detector that our node does not."""
        if _OWN_DETECTORS in name:
            return None
        listed = self._scope.catalog.options(PROVIDER, "model_name")
        return next((item for item in listed if item.rpartition("/")[2] == name), None)

    def _rules(self, detector: Detector, sampler: ResolvedSampler, controlled: bool) -> RegionRules:
        unit, options = self._unit, self._a1111_options
        width, height = self._size()
        if unit.ad_model_classes and "-world" in unit.ad_model:
            self._report.unsupported(
                f"{unit.path}.ad_model_classes",
                "a vocabulary of one's own needs a text encoder that is not there",
                instead="the model's own classes are looked for",
                value=unit.ad_model_classes,
            )
        return RegionRules(
            detector=detector,
            confidence=unit.ad_confidence,
            filter_method=unit.ad_mask_filter_method,
            mask_k=unit.ad_mask_k,
            mask_min_ratio=unit.ad_mask_min_ratio,
            mask_max_ratio=unit.ad_mask_max_ratio,
            sort=options.ad_bbox_sortby,
            dilate_erode=unit.ad_dilate_erode,
            x_offset=unit.ad_x_offset,
            y_offset=unit.ad_y_offset,
            merge=unit.ad_mask_merge_invert,
            width=width,
            height=height,
            mask_blur=unit.ad_mask_blur,
            padding=(
                unit.ad_inpaint_only_masked_padding
                if unit.ad_inpaint_only_masked
                else WHOLE_PICTURE
            ),
            match_size=self._match_size(),
            same_seed=options.ad_same_seed_for_each_tab,
            dynamic_denoise=self._dynamic_denoise(sampler),
            inside=self._inside(),
            controlled=controlled,
        )

    def _match_size(self) -> str:
        """Option ad_match_inpaint_bbox_size where it acts."""
        match = self._a1111_options.ad_match_inpaint_bbox_size
        is_sdxl = self._checkpoint().family.schedule == "SDXL"
        if self._unit.ad_use_inpaint_width_height or (match == _STRICT and not is_sdxl):
            return "Off"
        return match

    def _inside(self) -> InpaintedArea | None:
        """The request's mask where its whole picture is inpainted."""
        start, request = self._plan.first.start, self._request
        inpainting = start.inpainting if isinstance(start, Encoded) else None
        if inpainting is None or inpainting.only_masked or not isinstance(request, Img2Img):
            return None
        return InpaintedArea(
            inpainting.mask, inpainting.inverts, self._plan.requested_size, request.resize_mode
        )

    # --- the pass --------------------------------------------------------------------------------

    def _size(self) -> tuple[int, int]:
        """Width and height of a pass: the unit's, else those of the request's first pass."""
        unit = self._unit
        width, height = self._plan.requested_size
        if unit.ad_use_inpaint_width_height:
            width, height = unit.ad_inpaint_width, unit.ad_inpaint_height
        return latent_pixels(width), latent_pixels(height)

    def _inner_options(self) -> A1111Options:
        """The options in force inside the unit."""
        unit, options = self._unit, self._plan.a1111_options
        skip = unit.ad_clip_skip if unit.ad_use_clip_skip else options.CLIP_stop_at_last_layers
        comments = options.enable_prompt_comments and acts(options, COMMENTS)
        return replace(options, CLIP_stop_at_last_layers=skip, enable_prompt_comments=comments)

    def _steps(self) -> int:
        return self._unit.ad_steps if self._unit.ad_use_steps else self._request.steps

    def _checkpoint(self) -> Checkpoint:
        """The unit's checkpoint, else the option's; neither hires fix's nor the refiner."""
        unit = self._unit
        name = unit.ad_checkpoint if unit.ad_use_checkpoint else None
        if name in (*_NOT_NAMED, _SAME_CHECKPOINT):
            return self._plan.first.checkpoint
        return self._models.checkpoint(name, f"{unit.path}.ad_checkpoint", None)

    def _sampler(self, same_sampler: ResolvedSampler) -> ResolvedSampler:
        unit, inherited = self._unit, self._plan.first.sampler
        if not unit.ad_use_sampler:
            return inherited
        name = unit.ad_sampler
        name = same_sampler.sampler.name if name == SAME_SAMPLER else name
        label = unit.ad_scheduler
        label = inherited.label if label == SAME_SCHEDULER else label
        sampler, found = samplers.get_sampler_and_scheduler(name, label, convert_automatic=False)
        resolved = samplers.resolve(sampler.name, found.label)
        fields = f"{unit.path}.ad_sampler", f"{unit.path}.ad_scheduler"
        report_unknown(samplers.resolve(name, label), resolved, fields, self._report)
        if samplers.find_scheduler(unit.ad_scheduler) not in (None, found):
            self._report.warn(
                fields[1], f"without effect, as in A1111: {show(name)} names a scheduler itself"
            )
        return resolved

    def _schedule(self, sampler: ResolvedSampler, denoise: float) -> schedule.Pass:
        """What a region's pass runs.

        Raises:
            _EndsHere: A1111 fails on the steps.
        """
        try:
            return schedule.img2img_pass(
                sampler,
                self._steps(),
                denoise,
                sdxl=self._checkpoint().family.schedule == "SDXL",
                options=schedule.ScheduleOptions.from_a1111_options(self._a1111_options),
            )
        except schedule.ScheduleError as error:
            self._report.unsupported(
                f"{self._unit.path}.ad_denoising_strength",
                str(error),
                instead="this unit and those after it are left out",
                value=denoise,
            )
            raise _EndsHere from error

    def _dynamic_denoise(self, sampler: ResolvedSampler) -> DynamicDenoise | None:
        options = self._a1111_options
        if not options.ad_dynamic_denoise_power:
            return None
        steps = self._steps()
        if options.img2img_fix_steps:
            self._report.unsupported(
                options.path_of("ad_dynamic_denoise_power"),
                "beside img2img_fix_steps every strength has a schedule of its own",
                instead="every region is made with the same strength",
            )
            return None
        if steps > _MOST_DYNAMIC_STEPS:
            self._report.unsupported(
                options.path_of("ad_dynamic_denoise_power"),
                f"a schedule for each of more than {_MOST_DYNAMIC_STEPS} strengths is too much",
                instead="every region is made with the same strength",
            )
            return None
        laid_out = [self._schedule(sampler, (index + 0.5) / steps) for index in range(steps)]
        return DynamicDenoise(
            denoise=self._unit.ad_denoising_strength,
            power=float(options.ad_dynamic_denoise_power),
            steps=steps,
            schedules=tuple(map(_written, laid_out)),
        )

    def _pass(
        self, pair: tuple[str, str], sampler: ResolvedSampler, laid_out: schedule.Pass
    ) -> SamplingPass:
        """The pass of the regions with a pair of prompts, styles not applied to them yet."""
        unit, options = self._unit, self._a1111_options
        checkpoint, size = self._checkpoint(), self._size()
        request = replace(
            self._request,
            prompt=pair[0],
            negative_prompt=pair[1],
            steps=self._steps(),
            disable_extra_networks=False,
        )
        scope = self._scope.with_a1111_options(options)
        planner = PromptPlanner(request, self._models, scope, self._plan.seeds[0])
        return SamplingPass(
            role="detail",
            width=size[0],
            height=size[1],
            start=OfRegion(self._soft),
            checkpoint=checkpoint,
            vae=self._vae(checkpoint),
            sampler=sampler,
            numbers=sampler_numbers(None, sampler, options),
            schedule=laid_out,
            steps=self._steps(),
            denoise=unit.ad_denoising_strength,
            prompt=planner.first_pass(sampler.sampler, checkpoint, self._prompt_paths()),
            encoding=planner.encoding(checkpoint, size),
            text_encoder_of=None,
            refiner=None,
            token_merging_ratio=options.token_merging_ratio_img2img or options.token_merging_ratio,
            fields=self._fields(sampler),
        )

    def _fields(self, sampler: ResolvedSampler) -> dict[str, str]:
        """See `SamplingPass.fields`: the unit's own numbers, else the request's or the options'."""
        unit, path_of = self._unit, self._a1111_options.path_of
        found = {name: path_of(name) for name in ("s_churn", "s_tmin", "s_tmax", "s_noise")}
        found["s_min_uncond"] = path_of("s_min_uncond")
        found["multiplier"] = path_of("initial_noise_multiplier")
        if sampler.sampler.eta_option:
            found["eta"] = path_of(sampler.sampler.eta_option)
        for name, inputs in _UNIT_NUMBERS.items():
            if getattr(unit, f"ad_use_{name.removeprefix('ad_')}", True):
                found |= dict.fromkeys(inputs, f"{unit.path}.{name}")
        if unit.ad_use_inpaint_width_height:
            found["width"] = f"{unit.path}.ad_inpaint_width"
            found["height"] = f"{unit.path}.ad_inpaint_height"
        return found

    def _vae(self, checkpoint: Checkpoint) -> ModelFile | None:
        unit, options = self._unit, self._a1111_options
        name = unit.ad_vae if unit.ad_use_vae else None
        if name in (*_NOT_NAMED, _SAME_VAE):
            return self._models.vae(options.sd_vae, checkpoint, options.path_of("sd_vae"))
        return self._models.vae(name, checkpoint, f"{unit.path}.ad_vae")

    def _inner_plan(self, passes: tuple[SamplingPass, ...]) -> Plan:
        """The inner generation."""
        unit, options, plan = self._unit, self._a1111_options, self._plan
        request = self._request
        return replace(
            plan,
            a1111_options=options,
            requested_size=self._size(),
            batch_size=1,
            passes=passes,
            noise=replace(
                plan.noise,
                multiplier=(
                    unit.ad_noise_multiplier
                    if unit.ad_use_noise_multiplier
                    else options.initial_noise_multiplier
                ),
            ),
            guidance=replace(
                plan.guidance,
                cfg_scale=unit.ad_cfg_scale if unit.ad_use_cfg_scale else request.cfg_scale,
                s_min_uncond=options.s_min_uncond,
            ),
            control=self._control(passes[0]),
            finish=(),
            model_patches=patches_inside(plan),
        )

    def _control(self, sampling_pass: SamplingPass) -> ControlPlan:
        unit = self._unit
        if unit.ad_controlnet_model == NO_MODEL:
            return ControlPlan()
        try:
            units = control.inner_units(unit, self._control_units, sampling_pass.size, self._report)
        except control.NoModuleError as error:
            self._report.unsupported(
                f"{unit.path}.ad_controlnet_module",
                str(error),
                instead="this unit and those after it do nothing, as in A1111",
            )
            raise _EndsHere from error
        passes = (PassContext(*sampling_pass.size, sampling_pass.schedule),)
        subseed = self._request.subseed
        return plan_units(
            units,
            ControlContext(
                architecture=sampling_pass.checkpoint.architecture,
                passes=passes,
                seed=self._plan.seeds[0],
                subseed=subseed if isinstance(subseed, int) else -1,
                shares_prompts=self._a1111_options.hires_fix_use_firstpass_conds,
            ),
            self._scope.with_a1111_options(self._a1111_options),
        )

    def _restorer(self) -> FaceRestoration | None:
        return face_restorer(self._a1111_options) if self._unit.ad_restore_face else None


def _written(laid_out: schedule.Pass) -> dict[str, Any]:
    return {
        "sigmas": list(laid_out.sigmas),
        "timesteps": list(laid_out.timesteps),
        "total_steps": laid_out.total_steps,
    }
