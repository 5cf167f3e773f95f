"""Core: what ComfyUI's own nodes come to, without our node pack.

Each image is sampled on its own, since core nodes draw a batch's noise from one seed and A1111
draws image i from seed + i. PictureBeside each step stands what it does otherwise than A1111.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from translator.comfy import nodes
from translator.comfy.graph import (
    Clip,
    Conditioning,
    Graph,
    Image,
    Latent,
    Mask,
    Model,
    Noise,
    Number,
    Vae,
)
from translator.geometry import LATENT_CELL, Crop
from translator.models.names import Checkpoint
from translator.plan.pictures import BLACK, EnlargedBy, Joined, Made, Sent
from translator.plan.seeds import as_torch
from translator.plan.starts import Encoded, Enlarged, ImageUpscale, Inpainting, LatentUpscale
from translator.plan.values import (
    ColorCorrection,
    Plan,
    PuttingBack,
    SamplingPass,
)
from translator.stages import init_images
from translator.stages.image_conditioning import PictureBeside, Shape
from translator.stages.init_images import Prepared
from translator.stages.sampling import Batch, Conditioned
from translator.stages.targets.base import Target, Upscaled
from translator.stages.targets.core_prompts import Prompts, prompt_differences
from translator.stages.targets.core_sampling import (
    Run,
    noise_differences,
    number_differences,
    sampling_differences,
)

_LATENT_MODES = {"nearest": "nearest-exact"}
"""Latent modes that core's LatentUpscale lacks -> the nearest that it has."""

_IMAGE_METHODS = {"nearest": "nearest-exact", "none": "lanczos"}
"""Methods of `Target.scale_image` -> ImageScale's."""

_MAX_BLUR = (31, 10.0)
"""The largest radius and sigma of core's ImageBlur."""

_HALF = 0.5
"""From where on a mask counts as 1."""

_MAX_RUNS = 3
"""How often A1111 runs an upscale model at the most."""

_MODEL_SCALE = 4
"""The factor A1111 reports for every upscale model, whatever the file does."""


class Core(Target):
    """Spells a plan with core nodes.

    Args:
        embeddings: stems of the embeddings that ComfyUI has.
    """

    enlarging_differs = "core nodes: pictures are enlarged by core's scaling: near, not equal"

    def __init__(self, graph: Graph, embeddings: Sequence[str]) -> None:
        super().__init__(graph)
        self._prompts = Prompts(graph, embeddings)

    @classmethod
    def differences(cls, plan: Plan) -> Iterator[str]:
        """What comes out otherwise than in A1111, a sentence each."""
        yield from noise_differences(plan)
        for sampling_pass in plan.passes:
            yield from sampling_differences(sampling_pass)
            yield from prompt_differences(sampling_pass)
        yield from number_differences(plan)
        for sampling_pass in plan.passes:
            yield from _image_conditioning_differences(sampling_pass)
            if isinstance(sampling_pass.start, Enlarged):
                yield from _upscale_differences(sampling_pass.start)
            elif isinstance(sampling_pass.start, Encoded):
                yield from _image_differences(plan, sampling_pass.start)

    def encode(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> tuple[Conditioning, Conditioning]:
        """Positive and negative conditioning, see `Target.encode`."""
        return self._prompts.encode(sampling_pass, clip)

    def load_hypernetwork(self, model: Model, name: str, strength: float) -> Model:
        """The model with a hypernetwork as ComfyUI builds it."""
        return nodes.load_hypernetwork(self.graph, model, name, strength)

    def merge_tokens(self, model: Model, ratio: float) -> Model:
        """The model with ComfyUI's own token merging."""
        return nodes.token_merging(self.graph, model, ratio)

    def set_model_sampling(self, plan: Plan, sampling_pass: SamplingPass, model: Model) -> Model:
        """The model with the pass' kind of prediction, where it is not the file's."""
        if sampling_pass.sampler.sampler.family == "lcm":
            return nodes.model_sampling_discrete(self.graph, model, "lcm", zsnr=False)
        if plan.model_sampling.zero_terminal_snr:
            kind = sampling_pass.checkpoint.prediction
            return nodes.model_sampling_discrete(self.graph, model, kind, zsnr=True)
        return model

    def samples(self, sampling_pass: SamplingPass) -> bool:
        """Whether a pass has a step to run: KSampler cannot run none."""
        return bool(sampling_pass.schedule.steps_run)

    def sample(
        self,
        plan: Plan,
        sampling_pass: SamplingPass,
        conditioned: Conditioned,
        refiner: Conditioned | None,
        latent: Latent,
        batch: Batch,
        noise: Noise | None = None,
    ) -> Latent:
        """One image sampled, see `Target.sample`."""
        run = Run(self.graph, plan, sampling_pass, conditioned, as_torch(batch.seeds[0]))
        return run.sample(refiner, latent)

    def enlarge_latent(
        self, latent: Latent, upscale: LatentUpscale, width: int, height: int
    ) -> Latent:
        """A latent interpolated, without antialiasing."""
        mode = _LATENT_MODES.get(upscale.mode, upscale.mode)
        return nodes.latent_upscale(self.graph, latent, mode, width, height)

    def scale_image(self, image: Image, method: str, width: int, height: int) -> Image:
        """A picture scaled by core's own methods."""
        core = _IMAGE_METHODS.get(method, method)
        return nodes.image_scale(self.graph, image, core, width, height)

    def run_upscale_model(
        self, image: Image, upscale: ImageUpscale, source: tuple[int, int], target: tuple[int, int]
    ) -> Image:
        """A picture enlarged by a model in core's tiles, and scaled once at the end."""
        assert upscale.model is not None
        model = nodes.load_upscale_model(self.graph, upscale.model.name)
        for _ in range(_model_runs(source, target)):
            image = nodes.image_upscale_with_model(self.graph, model, image)
        return nodes.image_scale(self.graph, image, "lanczos", *target)

    def encode_image(
        self,
        image: Image,
        vae: Vae,
        posterior_seed: Number | int,
        drawn: Sequence[Shape] = (),
        upscaled: Upscaled | None = None,
    ) -> Latent:
        """A picture as the mean of the VAE's posterior, as core's VAEEncode takes it."""
        return nodes.vae_encode(self.graph, image, vae)

    def with_image(self, conditioned: Conditioned, beside: PictureBeside) -> Conditioned:
        """The picture by core's own nodes, which feed an empty one where they are given none."""
        positive, negative = conditioned.positive, conditioned.negative
        if beside.pixels is None:
            return conditioned
        if beside.settings.kind == "edit":
            positive, negative = nodes.edit_conditioning(
                self.graph, positive, negative, beside.vae, beside.pixels
            )
            scale = beside.settings.image_cfg_scale
            plain = None if scale is None else conditioned.negative
            return replace(
                conditioned, positive=positive, negative=negative, negative_without_image=plain
            )
        if beside.mask is None:
            return conditioned
        positive, negative = nodes.inpaint_conditioning(
            self.graph, positive, negative, beside.vae, beside.pixels, beside.mask
        )
        return replace(conditioned, positive=positive, negative=negative)

    def crop_latent(self, latent: Latent, crop: Crop, size: tuple[int, int]) -> Latent:
        """A latent's part at the crop's corner, of the given size."""
        return nodes.latent_crop(
            self.graph, latent, *size, crop.left * LATENT_CELL, crop.top * LATENT_CELL
        )

    def prepare(self, source: Encoded, size: tuple[int, int], batch: Batch) -> Prepared:
        """The image's own picture, scaled by core's methods, and its mask at that size."""
        graph = self.graph
        upload = source.images[batch.first % len(source.images)]
        image, _ = init_images.load(graph, upload)
        if (upload.width, upload.height) != size and not source.resizing.in_latent_space:
            scale = nodes.image_scale_to_cover if source.resizing.mode == 1 else nodes.image_scale
            image = scale(graph, image, "lanczos", *size)
        if source.inpainting is None:
            return Prepared(image)
        return Prepared(image, self._mask(source.inpainting, size))

    def _mask(self, inpainting: Inpainting, size: tuple[int, int]) -> Mask:
        """The mask at the pass' size, blurred."""
        graph, upload = self.graph, inpainting.mask
        if upload.is_rgba:
            mask = nodes.invert_mask(graph, nodes.load_alpha_mask(graph, upload.name))
        else:
            mask = nodes.load_image_mask(graph, upload.name)
        if inpainting.inverts:
            mask = nodes.invert_mask(graph, mask)
        image = nodes.mask_to_image(graph, mask)
        if (upload.width, upload.height) != size:
            image = nodes.image_scale(graph, image, "lanczos", *size)
        sigma = max(inpainting.blur)
        if sigma:
            radius = min(int(2.5 * sigma + 0.5), _MAX_BLUR[0])
            image = nodes.image_blur(graph, image, radius, min(float(sigma), _MAX_BLUR[1]))
        return nodes.image_to_mask(graph, image)

    def mask_latent(
        self, latent: Latent, mask: Mask, inpainting: Inpainting, plan: Plan, model: Model
    ) -> Latent:
        """A latent of which only the mask is sampled; core blends it before every call."""
        graph = self.graph
        if inpainting.rounds:
            mask = nodes.threshold_mask(graph, mask, _HALF)
        if inpainting.content in ("latent noise", "latent nothing"):
            empty = self.empty_latent(plan.first.checkpoint.family, *plan.first.size, 1)
            latent = nodes.composite_latent(graph, latent, empty, mask)
        return nodes.set_noise_mask(graph, latent, mask)

    def correct_colors(self, image: Image, source: Image) -> Image:
        """The results as they are: core has no node that matches histograms."""
        return image

    def put_back(
        self, image: Image, prepared: Prepared, step: PuttingBack
    ) -> tuple[Image, Image | None, Image | None]:
        """The results pasted over the picture they were made from, as far as the mask goes."""
        assert prepared.mask is not None
        if not step.covers:
            return image, None, None
        pasted = nodes.paste_masked(self.graph, prepared.pixels, image, prepared.mask)
        return pasted, None, None

    # --- scripts ---------------------------------------------------------------------------------

    def flatten(self, image: Image, alpha: Mask, color: str) -> Image:
        """The picture without its transparency."""
        return image

    def enlarge_by(self, image: Image, how: EnlargedBy) -> Image:
        """A picture enlarged once by core's scaling, or by a model in core's tiles."""
        if how.upscaler.model is None:
            return self.scale_image(image, how.upscaler.method, *how.size)
        if how.factor > 1.0:
            return self.run_upscale_model(image, how.upscaler, how.source, how.size)
        if how.factor == 1.0:
            model = nodes.load_upscale_model(self.graph, how.upscaler.model.name)
            image = nodes.image_upscale_with_model(self.graph, model, image)
        return nodes.image_scale(self.graph, image, "lanczos", *how.size)

    def join_tiles(self, tiles: Sequence[Image], how: Joined) -> Image:
        """Tiles faded into each other: each line from left to right, then the lines downwards."""
        graph, tile_height = self.graph, how.tile[1]
        joined = nodes.empty_image(graph, *how.size, BLACK)
        across, white = len(how.columns), nodes.solid_mask(graph, 1.0, *how.tile)
        fade = nodes.feather_mask(graph, white, how.overlap, 0)
        for number, top in enumerate(how.rows):
            line = nodes.empty_image(graph, how.size[0], tile_height, BLACK)
            for left, tile in zip(how.columns, tiles[number * across :], strict=False):
                mask = white if left == 0 else fade
                line = self._paste_at(line, tile, mask, how.tile, (left, 0))
            mask = nodes.solid_mask(graph, 1.0, how.size[0], tile_height)
            if top:
                mask = nodes.feather_mask(graph, mask, 0, how.overlap)
            joined = self._paste_at(joined, line, mask, (how.size[0], tile_height), (0, top))
        return joined

    def _paste_at(
        self,
        under: Image,
        over: Image,
        mask: Mask,
        size: tuple[int, int],
        corner: tuple[int, int],
    ) -> Image:
        """A picture of a size over another one; what lies left of it or above is cut off."""
        out = [max(-at, 0) for at in corner]
        if any(out):
            kept = size[0] - out[0], size[1] - out[1]
            over = nodes.image_crop(self.graph, over, *kept, *out)
            mask = nodes.crop_mask(self.graph, mask, *kept, *out)
        left, top = (max(at, 0) for at in corner)
        return nodes.paste_masked(self.graph, under, over, mask, x=left, y=top)


# --- img2img --------------------------------------------------------------------------------------


def picture_differences(picture: Made) -> Iterator[str]:
    """What comes out otherwise in a picture that a script makes."""
    if isinstance(picture, EnlargedBy):
        yield "pictures are enlarged by core's scaling: near, not equal"
    elif isinstance(picture, Joined):
        yield "tiles are faded into each other by core's masks: near, not equal"
    elif isinstance(picture, Sent) and picture.image.is_rgba and picture.background:
        yield "transparency of init images is dropped, not put on img2img_background_color"


def _image_conditioning_differences(sampling_pass: SamplingPass) -> Iterator[str]:
    made = sampling_pass.image_conditioning
    if made is None:
        return
    if made.kind == "inpaint":
        yield "what the inpainting checkpoint reads beside the latent is made by core nodes: near"
        if made.mask_weight != 1:
            yield "inpainting_mask_weight is not used: what is masked is taken out whole"
    elif made.image_cfg_scale is not None and sampling_pass.refiner is not None:
        yield "image_cfg_scale is not used with a refiner"


def _image_differences(plan: Plan, source: Encoded) -> Iterator[str]:
    """What comes out otherwise where a pass starts from pictures of the request."""
    size = plan.requested_size
    if any((image.width, image.height) != size for image in source.images):
        yield "pictures are scaled by core's Lanczos: near, not equal"
        if source.resizing.mode == 1:
            yield "a picture is cut before it is scaled, by up to a pixel otherwise"
        elif source.resizing.mode not in (0, 3):
            yield f"resize_mode {source.resizing.mode} stretches the picture, it does not fill"
    if source.resizing.upscaler is not None:
        yield "upscaler_for_img2img is not used"
    if any(image.is_rgba for image in source.images):
        yield "transparency of init images is dropped, not put on img2img_background_color"
    if plan.noise.multiplier != 1.0:
        yield "initial_noise_multiplier is not used"
    if any(isinstance(step, ColorCorrection) for step in plan.finish):
        yield "img2img_color_correction is not done"
    if source.inpainting is not None:
        yield from _inpaint_differences(plan, source.inpainting)


def _inpaint_differences(plan: Plan, inpainting: Inpainting) -> Iterator[str]:
    yield "masks are scaled and blurred by core nodes, and blended before every call: near"
    if inpainting.soft is not None:
        yield "soft inpainting is not done"
    if inpainting.only_masked:
        yield "inpaint_full_res is not done: the whole picture is sampled, not the masked part"
    if inpainting.content == "fill":
        yield "the masked content is the original, not its surroundings (inpainting_fill 0)"
    elif inpainting.content == "latent noise":
        yield "the masked content is empty instead of noise (inpainting_fill 2)"
    if inpainting.blur[0] != inpainting.blur[1]:
        yield "the mask is blurred alike across and down"
    if max(inpainting.blur) > _MAX_BLUR[1]:
        yield f"the mask's blur ends at {_MAX_BLUR[1]:g}"
    if plan.answers_mask or plan.answers_composite:
        yield "return_mask and return_mask_composite answer nothing"


# --- upscaling ------------------------------------------------------------------------------------


def _model_runs(source: tuple[int, int], target: tuple[int, int]) -> int:
    """How often core runs the upscale model: until both sides are there, three times at most."""
    runs, factor = 0, 1
    wanted = max(target[0] / source[0], target[1] / source[1])
    while runs < _MAX_RUNS and factor < wanted:
        runs, factor = runs + 1, factor * _MODEL_SCALE
    return runs


def _upscale_differences(start: Enlarged) -> Iterator[str]:
    upscale = start.upscale
    if isinstance(upscale, LatentUpscale):
        if upscale.mode == "nearest":
            yield "latents are enlarged by nearest-exact instead of nearest"
        elif upscale.mode == "bicubic" and upscale.antialias:
            yield "latents are enlarged without antialiasing"
        return
    if upscale.model is not None:
        yield "the upscaler runs on larger tiles, without rounding to 8 bits in between"
    if any(side % LATENT_CELL for side in start.target):
        yield "the enlarged picture is cut to multiples of 8 before it is encoded"
