"""A1111's rules for checkpoints that read a picture beside the latent (inpainting, editing).

Source: A1111 v1.10.1 ``modules/processing.py`` (``txt2img_image_conditioning``,
``img2img_image_conditioning``) and ``modules/sd_samplers_cfg_denoiser.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from translator.control.plan import ControlPlan
from translator.geometry import latent_pixels
from translator.plan.starts import (
    EmptyLatent,
    Encoded,
    Enlarged,
    ImageConditioning,
    ImageUpscale,
    LatentUpscale,
)
from translator.plan.values import (
    Plan,
    SamplingPass,
)
from translator.report import Report
from translator.request.a1111_options import A1111Options
from translator.request.generation import Generation
from translator.request.img2img import Img2Img

_BY_TEXT_ALONE = (None, 1.0)
"""Values of image_cfg_scale that leave guidance as it is for any checkpoint."""

_NO_IMAGE_GUIDANCE = (*_BY_TEXT_ALONE, 0.0)
"""What requests carry that ask for none; 0 is what runpod-worker-a1111 sends for all."""


def with_image_conditioning(
    passes: Sequence[SamplingPass],
    request: Generation,
    a1111_options: A1111Options,
    report: Report,
) -> tuple[SamplingPass, ...]:
    """The passes with what their checkpoints read beside the latent.

    What A1111 fails on is a problem.
    """
    rules = _Rules(request, a1111_options, report)
    rules.warn_of_image_guidance(passes[0])
    return tuple(map(rules.applied, passes))


class _Rules:
    def __init__(self, request: Generation, a1111_options: A1111Options, report: Report) -> None:
        self._request = request
        self._a1111_options = a1111_options
        self._report = report

    def applied(self, sampling_pass: SamplingPass) -> SamplingPass:
        """The pass with its image conditioning, if its checkpoint takes one."""
        self._check_refiner(sampling_pass)
        kind = sampling_pass.checkpoint.picture
        if kind is None:
            return sampling_pass
        request = self._request
        scale = request.image_cfg_scale if isinstance(request, Img2Img) else None
        made = ImageConditioning(
            kind=kind,
            mask_weight=self._a1111_options.inpainting_mask_weight,
            rounds=_rounds(sampling_pass),
            image_cfg_scale=scale if kind == "edit" and scale not in _BY_TEXT_ALONE else None,
        )
        if made.image_cfg_scale is not None:
            self._check_image_guidance(sampling_pass)
        start = sampling_pass.start
        if isinstance(start, EmptyLatent):
            self._check_empty(sampling_pass)
        elif isinstance(start, Encoded):
            self._check_sizes(start)
        elif isinstance(start, Enlarged):
            self._check_enlarged(start, made)
        return replace(sampling_pass, image_conditioning=made)

    def warn_of_image_guidance(self, sampling_pass: SamplingPass) -> None:
        """image_cfg_scale has no effect with most checkpoints."""
        request = self._request
        if not isinstance(request, Img2Img) or request.image_cfg_scale in _NO_IMAGE_GUIDANCE:
            return
        if sampling_pass.checkpoint.picture != "edit":
            self._report.warn(
                "image_cfg_scale",
                "acts with instruct-pix2pix checkpoints only, in A1111 too; "
                f'"{sampling_pass.checkpoint.name}" is none',
            )

    def _check_refiner(self, sampling_pass: SamplingPass) -> None:
        """A refiner reads what was made for the checkpoint before it."""
        refiner = sampling_pass.refiner
        if refiner is None or refiner.checkpoint.picture in (
            None,
            sampling_pass.checkpoint.picture,
        ):
            return
        self._report.invalid(
            "refiner_checkpoint",
            f'"{refiner.checkpoint.name}" reads a picture beside the latent, which A1111 makes '
            "only where the first checkpoint reads the same, and fails: choose another refiner",
            self._request.refiner_checkpoint,
        )

    def _check_image_guidance(self, sampling_pass: SamplingPass) -> None:
        if len(sampling_pass.prompt.positive.parts) > 1:
            self._report.invalid(
                "prompt",
                "A1111 knows no AND for a checkpoint that edits pictures, unless image_cfg_scale "
                "is 1 or left out",
            )
        if self._a1111_options.skip_early_cond:
            self._report.invalid(
                self._a1111_options.path_of("skip_early_cond"),
                "A1111 fails on it with a checkpoint that edits pictures and an image_cfg_scale: "
                "leave one of them out",
                self._a1111_options.skip_early_cond,
            )

    def _check_empty(self, sampling_pass: SamplingPass) -> None:
        if sampling_pass.checkpoint.picture == "edit":
            self._report.invalid(
                self._a1111_options.path_of("sd_model_checkpoint"),
                f'checkpoint "{sampling_pass.checkpoint.name}" edits a picture, and A1111 fails on '
                "it in txt2img: send the picture to /sdapi/v1/img2img",
                self._a1111_options.sd_model_checkpoint,
            )

    def _check_sizes(self, start: Encoded) -> None:
        """resize_mode 3 leaves a picture at its own size, which the latent's must then be."""
        request, inpainting = self._request, start.inpainting
        if not start.resizing.in_latent_space or (inpainting and inpainting.only_masked):
            return
        wanted = request.width, request.height
        for image in start.images:
            own = image.width, image.height
            cells = tuple(map(latent_pixels, own)) == tuple(map(latent_pixels, wanted))
            if own != wanted and (inpainting is not None or not cells):
                self._report.invalid(
                    "resize_mode",
                    "A1111 gives the checkpoint the picture in its own size, and fails where that "
                    "is not width x height: choose another mode",
                    3,
                )
                return

    def _check_enlarged(self, start: Enlarged, made: ImageConditioning) -> None:
        """Hires fix: where what A1111 makes has another size than the latent, it fails."""
        if start.crop:
            self._report.invalid(
                "hr_resize_x",
                "with a checkpoint for inpainting A1111 fails where both hr_resize_x and "
                "hr_resize_y cut the picture: leave one out",
            )
        if isinstance(start.upscale, ImageUpscale):
            return
        cells = [tuple(map(latent_pixels, size)) for size in (start.source, start.target)]
        if made.kind == "edit" or (made.mask_weight >= 1 and cells[0] != cells[1]):
            self._report.invalid(
                "hr_upscaler",
                "with a checkpoint that reads a picture beside the latent A1111 fails on hires fix "
                "in latent space: choose an upscaler of pictures",
                getattr(self._request, "hr_upscaler", None),
            )


def _rounds(sampling_pass: SamplingPass) -> bool:
    """Whether the mask beside the latent is 0 or 1 only."""
    start = sampling_pass.start
    if not sampling_pass.checkpoint.family.hybrid_inpainting:
        return True
    return not isinstance(start, Encoded) or start.inpainting is None or start.inpainting.rounds


def infotext_names_mask_weight(plan: Plan) -> bool:
    """Whether A1111 says that it used inpainting conditioning: in its last pass to set that."""
    told = False
    for sampling_pass in plan.passes:
        made, start = sampling_pass.image_conditioning, sampling_pass.start
        inpaints = made is not None and made.kind == "inpaint"
        blank = isinstance(start, EmptyLatent) or (
            isinstance(start, Enlarged)
            and isinstance(start.upscale, LatentUpscale)
            and plan.a1111_options.inpainting_mask_weight >= 1
        )
        if blank:
            told = inpaints and sampling_pass.checkpoint.family.hybrid_inpainting
        else:
            told = told or inpaints
    return told


def warn_of_inpaint_units(
    passes: Sequence[SamplingPass], control: ControlPlan, report: Report
) -> None:
    """Say that an inpainting checkpoint reads the request's picture beside a unit that inpaints.

    The extension shows it the unit's picture and mask instead.
    """
    made = [item.image_conditioning for item in passes if item.image_conditioning]
    if not any(item.kind == "inpaint" for item in made):
        return
    for unit in control.units:
        if unit.module.role == "inpaint":
            report.warn(
                f"{unit.unit.path}.module",
                "A1111 shows an inpainting checkpoint this unit's picture and mask; here it reads "
                "the request's own",
            )
