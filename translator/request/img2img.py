"""A1111's img2img request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from translator.options import Defaults
from translator.report import Report
from translator.request import generation
from translator.request.generation import Generation
from translator.request.images import ImageUpload
from translator.request.schema import Tab

_RESIZE_MODES = _FILLS = range(4)
"""The numbers of resize_mode and inpainting_fill that mean something of their own."""

_USUAL_BLUR = 4
"""What mask_blur_x and mask_blur_y are where they are not sent."""


@dataclass(frozen=True)
class Inversion:
    """What Tiled Diffusion's noise inversion does otherwise than img2img alternative test.

    Attributes:
        retouch: divides the timestep that the model is told.
        strength: how much of the noise is drawn anew at the picture's details, 0..2.
        kernel: of the filter that finds them, in pixels.
    """

    retouch: float
    strength: float
    kernel: int


@dataclass(frozen=True)
class Decoding:
    """How a picture is led back to noise before it is sampled (img2img alternative test).

    Attributes:
        prompt, negative_prompt: of the picture, as it could have been made.
        steps, cfg_scale: of the way back.
        randomness: 0..1, how much of the noise is drawn, not found.
        sigma_adjustment: whether each step is taken from its lower end.
        inversion: noise inversion in place of it; it takes the request's prompts as they are.
    """

    prompt: str
    negative_prompt: str
    steps: int
    cfg_scale: float
    randomness: float
    sigma_adjustment: bool
    inversion: Inversion | None = None


@dataclass(frozen=True)
class Img2Img(Generation):
    """The fields of ``POST /sdapi/v1/img2img``, as ``schemas/img2img.json`` documents them.

    In the generations of a script an `ImageUpload` without data stands for a picture that the graph
    makes.

    Attributes:
        latent_mask: the mask that is sampled and filled; only a script sets it.
        color_source: the picture whose colours the results get; only a script sets it.
        decoding: how the picture is led back to noise first; only a script sets it.
        surplus: how many images of a batch the request asks for beyond its init_images: A1111 makes
            none of them, but draws their seeds.
    """

    tab: ClassVar[Tab] = "img2img"

    denoising_strength: float
    init_images: list[str | ImageUpload] | None
    resize_mode: int
    image_cfg_scale: float | None
    mask: str | ImageUpload | None
    mask_blur_x: int
    mask_blur_y: int
    mask_blur: int | None
    mask_round: bool
    inpainting_fill: int
    inpaint_full_res: bool
    inpaint_full_res_padding: int
    inpainting_mask_invert: int
    initial_noise_multiplier: float | None
    latent_mask: str | ImageUpload | None
    include_init_images: bool
    color_source: ImageUpload | None = None
    decoding: Decoding | None = None
    surplus: int = 0

    @property
    def mask_blurs(self) -> tuple[int, int]:
        """Sigma of the mask's blur across and down, in pixels; mask_blur sets both."""
        if self.mask_blur is not None:
            return self.mask_blur, self.mask_blur
        return self.mask_blur_x, self.mask_blur_y

    def echo(self) -> dict[str, Any]:
        """A1111's ``parameters``; the pictures are in it with include_init_images only."""
        fields = self.fields() | {"batch_size": self.batch_size + self.surplus}
        if not self.include_init_images:
            fields |= {"init_images": None, "mask": None}
        return fields

    def variant(self, fields: Mapping[str, Any]) -> Img2Img:
        """A generation of this request; without a script it is the request itself."""
        made = Img2Img(**fields)
        return made if self.script_name else replace(made, surplus=self.surplus)


def placeholders(request: Generation) -> list[ImageUpload]:
    """The uploads that stand for pictures which the graph makes."""
    if not isinstance(request, Img2Img):
        return []
    held = (request.mask, request.latent_mask, request.color_source, *(request.init_images or ()))
    return [item for item in held if isinstance(item, ImageUpload) and not item.data]


def parse(payload: object, defaults: Defaults, report: Report) -> Img2Img:
    """Read an img2img request, see `generation.parse`.

    What A1111 fails on for the fields of this tab alone is a problem in the report.
    """
    request = generation.parse(Img2Img, payload, defaults, report)
    if not report.refused("init_images"):
        request = _with_pictures(request, report)
    if request.resize_mode not in _RESIZE_MODES:
        report.warn("resize_mode", f"{request.resize_mode} acts as 2, as in A1111")
    if request.mask and request.inpainting_fill not in _FILLS:
        report.warn("inpainting_fill", f"{request.inpainting_fill} acts as 0, as in A1111")
    if request.mask and request.mask_blur is not None:
        for name in ("mask_blur_x", "mask_blur_y"):
            if getattr(request, name) not in (request.mask_blur, _USUAL_BLUR):
                report.warn(name, "without effect beside mask_blur, as in A1111")
    if request.latent_mask:
        report.unsupported(
            "latent_mask",
            "A1111's API does not decode it, and fails on it",
            instead="the mask stands for it, as for null",
        )
    return request


def _with_pictures(request: Img2Img, report: Report) -> Img2Img:
    """The request with the batch that its pictures make; a problem where they make none."""
    if request.init_images is None:
        report.invalid("init_images", "Init image not found: img2img starts from a picture")
    elif not request.init_images:
        report.invalid("init_images", "the list is empty: img2img starts from a picture")
    elif len(request.init_images) > request.batch_size and len(request.init_images) > 1:
        report.invalid(
            "init_images",
            f"bad number of images passed: {len(request.init_images)}; expecting "
            f"{request.batch_size} or less (batch_size)",
        )
    elif 1 < len(request.init_images) < request.batch_size:
        report.warn("batch_size", "as many pictures make a batch as init_images has, as in A1111")
        count = len(request.init_images)
        request = replace(request, batch_size=count, surplus=request.batch_size - count)
    return request
