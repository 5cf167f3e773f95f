"""A1111's rules for the pictures that img2img starts from, their mask, and what is put back.

Source: A1111 v1.10.1 ``modules/processing.py`` (``StableDiffusionProcessingImg2Img.init``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from translator.geometry import covering, too_large
from translator.plan import seeds
from translator.plan.starts import (
    Encoded,
    Inpainting,
    MaskedContent,
    Resizing,
    SoftInpainting,
)
from translator.plan.upscale import img2img_upscale
from translator.plan.values import (
    ColorCorrection,
    Finish,
    Plan,
    PuttingBack,
)
from translator.request.images import ImageReader, ImageUpload, is_blank_mask
from translator.request.img2img import Img2Img
from translator.scope import Scope

_JUST_RESIZE, _CROP_AND_RESIZE = 0, 1
"""resize_modes under which a picture, enlarged by an upscaler or always, covers width x height."""

_CONTENTS: Mapping[int, MaskedContent] = {
    0: "fill",
    1: "original",
    2: "latent noise",
    3: "latent nothing",
}
"""inpainting_fill -> the masked content; any other number acts as 0."""


class InitImagePlanner:
    """Plans what one img2img request starts from.

    Args:
        images: reads the request's pictures.
        soft: what the always-on script Soft Inpainting asks for.
    """

    def __init__(
        self,
        request: Img2Img,
        images: ImageReader,
        soft: SoftInpainting | None,
        scope: Scope,
    ) -> None:
        self._request = request
        self._a1111_options = scope.a1111_options
        self._images = images
        self._soft = soft
        self._report = scope.report
        self._upscaler = img2img_upscale(scope)
        self._puts_back = False

    def start(self, drawn: Sequence[int], posterior: int) -> Encoded | None:
        """What the pass starts from; None where its pictures cannot be read.

        Args:
            drawn: seeds of the images, over all batches.
            posterior: see `posterior_seed`.
        """
        request = self._request
        read = [
            self._images.read(value, f"init_images[{index}]")
            for index, value in enumerate(request.init_images or ())
        ]
        mask = self._images.read(request.mask, "mask") if request.mask else None
        images = tuple(image for image in read if image is not None)
        if not images or len(images) < len(read) or (request.mask and mask is None):
            self._refuse_what_was_left_out()
            return None
        if len(images) not in (1, request.batch_size):
            if not self._report.refused("init_images"):
                self._report.invalid(
                    "init_images",
                    f"bad number of images passed: {len(images)}; the script makes a batch of "
                    f"{request.batch_size}, for which one picture or as many are needed",
                )
            return None
        inpainting = None if mask is None else self._inpainting(mask, drawn)
        if inpainting is not None and self._is_blank(inpainting):
            inpainting = None
        self._puts_back = inpainting is not None
        self._check_sizes(images, inpainting)
        return Encoded(
            images=images,
            background=self._a1111_options.img2img_background_color,
            resizing=Resizing(request.resize_mode, self._upscaler),
            inpainting=inpainting,
            posterior_seed=posterior,
        )

    def finish(self) -> Iterator[Finish]:
        """What becomes of the decoded pictures of `start`, in A1111's order."""
        source = self._request.color_source
        if source or self._a1111_options.img2img_color_correction:
            yield ColorCorrection(source)
        if self._puts_back:
            covers = self._a1111_options.overlay_inpaint or self._soft is not None
            yield PuttingBack(covers, self._upscaler)

    def _refuse_what_was_left_out(self) -> None:
        """A picture that was left out with a warning: without it there is nothing to make."""
        if not self._report.problems:
            self._report.invalid(
                "init_images", "a picture or mask that is left out leaves nothing to start from"
            )

    def _is_blank(self, inpainting: Inpainting) -> bool:
        """Whether "only masked" finds nothing, so that A1111 makes the whole picture anew."""
        blank = inpainting.only_masked and is_blank_mask(
            inpainting.mask, rounds=inpainting.rounds, inverts=inpainting.inverts
        )
        if blank:
            self._report.warn(
                "mask",
                "it masks nothing, and inpaint_full_res then makes the whole picture anew, as in "
                "A1111",
            )
        return blank

    def _inpainting(self, mask: ImageUpload, drawn: Sequence[int]) -> Inpainting:
        request = self._request
        content = _CONTENTS.get(request.inpainting_fill, "fill")
        latent = request.latent_mask
        return Inpainting(
            mask=mask,
            rounds=request.mask_round and self._soft is None,
            inverts=bool(request.inpainting_mask_invert),
            blur=request.mask_blurs,
            only_masked=request.inpaint_full_res,
            padding=request.inpaint_full_res_padding,
            content=content,
            noise_seeds=tuple(drawn[: request.batch_size]) if content == "latent noise" else (),
            soft=self._soft,
            latent_mask=latent if isinstance(latent, ImageUpload) else None,
        )

    def _check_sizes(self, images: Sequence[ImageUpload], inpainting: Inpainting | None) -> None:
        """Pictures that A1111 cannot put into one batch."""
        request = self._request
        self._check_crops(images, inpainting)
        sizes = {(image.width, image.height) for image in images}
        latent_resize = request.resize_mode == 3
        if len(sizes) > 1 and latent_resize:
            self._report.invalid(
                "init_images", "pictures of different sizes cannot be resized in latent space"
            )
        elif len(sizes) > 1 and inpainting is not None and inpainting.only_masked:
            self._check_parts(inpainting)
        spread = inpainting is not None and inpainting.content != "original"
        fits = sizes == {(request.width, request.height)}
        if latent_resize and spread and not request.inpaint_full_res and not fits:
            self._report.invalid(
                "inpainting_fill",
                "resize_mode 3 leaves the picture at its own size, and A1111 then fails to "
                "fill the mask; use inpainting_fill 1, or a picture of width x height",
                request.inpainting_fill,
            )

    def _check_crops(self, images: Sequence[ImageUpload], inpainting: Inpainting | None) -> None:
        """Strips that are scaled to cover the picture, and cropped then."""
        request = self._request
        covers = request.resize_mode == _CROP_AND_RESIZE
        if not covers and (request.resize_mode != _JUST_RESIZE or self._upscaler is None):
            return
        scaled = {f"init_images[{index}]": image for index, image in enumerate(images)}
        if inpainting is not None:
            scaled["mask"] = inpainting.mask
        for path, image in scaled.items():
            fault = too_large(
                *covering((image.width, image.height), (request.width, request.height))
            )
            if fault:
                self._report.invalid(path, fault)

    def _check_parts(self, inpainting: Inpainting) -> None:
        """Only the masked part of pictures of several sizes."""
        if inpainting.soft is not None:
            self._report.invalid(
                "init_images",
                "Soft Inpainting cannot put pictures of different sizes back together here; send "
                "them one by one",
            )
        options = self._a1111_options
        if options.return_mask or options.return_mask_composite:
            self._report.warn(
                "init_images",
                "the mask of each picture is answered in that picture's size; A1111 answers all in "
                "the last one's",
            )


def posterior_seed(before: Plan | None) -> int:
    """What A1111 has seeded torch with when it encodes an init image; -1 where nothing has.

    Args:
        before: the plan of the generation before it in the same request, which alone seeds it:
            with its last image's seed.
    """
    if before is None or before.noise.source == "NV":
        return -1
    return seeds.as_torch(before.seeds[-1])


def infotext_entries(request: Img2Img, *, masks: bool) -> dict[str, object]:
    """What img2img writes into the infotext after "Denoising strength", in A1111's order.

    Args:
        masks: whether the mask has something to make anew.
    """
    entries: dict[str, object] = {}
    if not request.mask:
        return entries
    if request.inpainting_mask_invert:
        entries["Mask mode"] = "Inpaint not masked"
    across, down = request.mask_blurs
    if across > 0 or down > 0:
        entries["Mask blur"] = across if across == down else None
    if not masks:
        return entries
    if request.inpaint_full_res:
        entries["Inpaint area"] = "Only masked"
        entries["Masked area padding"] = request.inpaint_full_res_padding
    content = _CONTENTS.get(request.inpainting_fill)
    if content not in (None, "original"):
        entries["Masked content"] = content
    return entries


def soft_entries(request: Img2Img, soft: SoftInpainting | None) -> dict[str, object]:
    """What Soft Inpainting writes into the infotext before everything else."""
    if soft is None or not request.mask:
        return {}
    return {
        "Soft inpainting enabled": True,
        "Soft inpainting schedule bias": soft.bias,
        "Soft inpainting preservation strength": soft.preservation,
        "Soft inpainting transition contrast boost": soft.contrast_boost,
        "Soft inpainting mask influence": soft.mask_influence,
        "Soft inpainting difference threshold": soft.threshold,
        "Soft inpainting difference contrast": soft.contrast,
    }
