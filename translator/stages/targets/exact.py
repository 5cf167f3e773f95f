"""Exact: our node pack's noise, sigmas, samplers, guidance and text encoding are A1111's."""

from __future__ import annotations

from collections.abc import Sequence
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
from translator.models.families import Family
from translator.models.names import Checkpoint
from translator.plan.pictures import EnlargedBy, Joined
from translator.plan.starts import (
    Encoded,
    ImageUpscale,
    Inpainting,
    LatentUpscale,
    Resizing,
    SoftInpainting,
)
from translator.plan.values import (
    Plan,
    PuttingBack,
    Reversal,
    SamplingPass,
)
from translator.request.images import ImageUpload
from translator.stages import init_images, sampling
from translator.stages.image_conditioning import PictureBeside, Shape
from translator.stages.init_images import Prepared
from translator.stages.sampling import Batch, Conditioned, Sampled, SamplingParts
from translator.stages.targets.base import Target, Upscaled
from translator.stages.targets.exact_prompts import Prompts
from translator.stages.targets.exact_sampling import Run

_LEAST_EMPTY = 16
"""The smallest side in pixels of core's empty latent."""

_RESIZE_MODES = (0, 1, 2, 3)
_FILLS = 2

_TILE_INPUTS = 100
"""Inputs of A1111JoinTiles; each takes a whole batch."""


class Exact(Target):
    """Spells a plan with our node pack."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._prompts = Prompts(graph)

    # --- prompts ---------------------------------------------------------------------------------

    def encode(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> tuple[Conditioning, Conditioning]:
        """Positive and negative conditioning, see `Target.encode`."""
        return (
            self.encode_positive(sampling_pass, checkpoint, clip),
            self.encode_negative(sampling_pass, checkpoint, clip),
        )

    def encode_positive(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> Conditioning:
        """The positive prompt alone."""
        return self._prompts.positive(sampling_pass, checkpoint, clip)

    def encode_negative(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> Conditioning:
        """The negative prompt alone."""
        return self._prompts.negative(sampling_pass, checkpoint, clip)

    # --- models ----------------------------------------------------------------------------------

    def tile(self, model: Model, vae: Vae) -> tuple[Model, Vae]:
        """Model and VAE whose convolutions wrap around."""
        return nodes.a1111_tiling(self.graph, model, vae)

    def load_hypernetwork(self, model: Model, name: str, strength: float) -> Model:
        """The model with a hypernetwork as A1111 builds it."""
        return nodes.a1111_hypernetwork(self.graph, model, name, strength)

    def merge_tokens(self, model: Model, ratio: float) -> Model:
        """The model with the tokens merged that A1111 merges."""
        return nodes.a1111_token_merging(self.graph, model, ratio)

    def set_model_sampling(self, plan: Plan, sampling_pass: SamplingPass, model: Model) -> Model:
        """The model with A1111's table of sigmas and scale of the first noise."""
        return nodes.a1111_model_sampling(
            self.graph,
            model,
            sgm_noise_multiplier=plan.model_sampling.sgm_noise_multiplier,
            table="lcm" if sampling_pass.sampler.sampler.family == "lcm" else "model",
            zero_terminal_snr=plan.model_sampling.zero_terminal_snr,
            downcast_alphas=plan.model_sampling.downcast_alphas,
            quantize=plan.model_sampling.quantize or None,
        )

    # --- sampling --------------------------------------------------------------------------------

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
        """A batch sampled with A1111's noise streams, sigmas and guidance."""
        parts = self.parts(plan, sampling_pass, conditioned, refiner, batch)
        if noise is not None:
            parts = replace(parts, noise=noise)
        return sampling.run(self.graph, parts, latent)

    def reversed_noise(
        self,
        plan: Plan,
        reversal: Reversal,
        conditioned: Conditioned,
        latent: Latent,
        batch: Batch,
    ) -> Noise:
        """The noise behind a latent, by Euler's method upwards."""
        return Run(self.graph, plan, plan.first, conditioned).noise_behind(latent, reversal, batch)

    def parts(
        self,
        plan: Plan,
        sampling_pass: SamplingPass,
        conditioned: Conditioned,
        refiner: Conditioned | None,
        batch: Batch,
    ) -> SamplingParts:
        """What a pass is sampled with."""
        return Run(self.graph, plan, sampling_pass, conditioned).parts(refiner, batch)

    # --- starts ----------------------------------------------------------------------------------

    def empty_latent(self, family: Family, width: int, height: int, batch_size: int) -> Latent:
        """Nothing, at a size in pixels: also of one cell, where core's node begins with two."""
        wide, high = max(width, _LEAST_EMPTY), max(height, _LEAST_EMPTY)
        latent = nodes.empty_latent(self.graph, family.empty_latent, wide, high, batch_size)
        if (wide, high) == (width, height) or min(width, height) < LATENT_CELL:
            return latent
        right, bottom = (wide - width) // LATENT_CELL, (high - height) // LATENT_CELL
        return nodes.a1111_latent_crop(self.graph, latent, 0, 0, right, bottom)

    def enlarge_latent(
        self, latent: Latent, upscale: LatentUpscale, width: int, height: int
    ) -> Latent:
        """A latent interpolated as torch does it for A1111."""
        return nodes.a1111_latent_upscale(
            self.graph, latent, width, height, upscale.mode, upscale.antialias
        )

    def scale_image(self, image: Image, method: str, width: int, height: int) -> Image:
        """A picture scaled by Pillow, in 8 bits."""
        return nodes.a1111_image_scale(self.graph, image, width, height, method)

    def run_upscale_model(
        self, image: Image, upscale: ImageUpscale, source: tuple[int, int], target: tuple[int, int]
    ) -> Image:
        """A picture enlarged by A1111's rule: up to three runs in tiles, then Lanczos."""
        assert upscale.model is not None
        return nodes.a1111_upscale_with_model(
            self.graph,
            nodes.load_upscale_model(self.graph, upscale.model.name),
            image,
            width=target[0],
            height=target[1],
            tile=upscale.tile,
            tile_overlap=upscale.tile_overlap,
        )

    def encode_image(
        self,
        image: Image,
        vae: Vae,
        posterior_seed: Number | int,
        drawn: Sequence[Shape] = (),
        upscaled: Upscaled | None = None,
    ) -> Latent:
        """A picture as a sample of the VAE's posterior."""
        built = None
        if upscaled is not None and upscaled.model is not None and posterior_seed != -1:
            built = nodes.load_upscale_model(self.graph, upscaled.model.name), upscaled.source
        return nodes.a1111_vae_encode(self.graph, image, vae, posterior_seed, drawn, built)

    def with_image(self, conditioned: Conditioned, beside: PictureBeside) -> Conditioned:
        """The picture by A1111's own arithmetic, for our guider."""
        settings = beside.settings
        image = nodes.a1111_image_conditioning(
            self.graph,
            beside.vae,
            beside.latent,
            beside.pixels,
            beside.mask,
            kind=settings.kind,
            source=beside.source,
            width=beside.size[0],
            height=beside.size[1],
            mask_weight=settings.mask_weight,
            round=settings.rounds,
            signed=beside.signed,
            posterior_seed=beside.posterior_seed,
            drawn=beside.drawn,
        )
        return replace(conditioned, image=image)

    def crop_latent(self, latent: Latent, crop: Crop, size: tuple[int, int]) -> Latent:
        """A latent without the cells of its margins."""
        return nodes.a1111_latent_crop(
            self.graph, latent, crop.left, crop.top, crop.right, crop.bottom
        )

    # --- img2img ---------------------------------------------------------------------------------

    def prepare(self, source: Encoded, size: tuple[int, int], batch: Batch) -> Prepared:
        """The request's pictures and mask by A1111's own arithmetic, in 8 bits."""
        graph, inpainting = self.graph, source.inpainting
        upscaler = self._upscaler(source.resizing.upscaler)
        whole = inpainting is None or not inpainting.only_masked
        images = []
        for upload in source.images:
            image, alpha = init_images.load(graph, upload)
            if alpha is not None and upload.is_rgba:
                image = nodes.a1111_flatten(graph, image, alpha, source.background)
            if whole and not source.resizing.in_latent_space:
                image = self._resized(image, upload, size, source.resizing, upscaler)
            images.append(image)
        if not whole and len({(item.width, item.height) for item in source.images}) > 1:
            return self._apart(images, source, size)
        pixels = nodes.batched(graph, images)
        return Prepared(pixels) if inpainting is None else self._masked(pixels, source, size, None)

    def _apart(self, images: Sequence[Image], source: Encoded, size: tuple[int, int]) -> Prepared:
        """The masked part of pictures of several sizes, each cut out and put back on its own."""
        made: list[Prepared] = []
        for image in images:
            made.append(self._masked(image, source, size, made[-1].overlay if made else None))
        pixels = nodes.batched(self.graph, [item.pixels for item in made])
        return replace(made[0], pixels=pixels, overlay=None, apart=tuple(made))

    def _masked(
        self,
        pixels: Image,
        source: Encoded,
        size: tuple[int, int],
        before: nodes.Overlay | None,
    ) -> Prepared:
        """Pictures of one size with their mask.

        Args:
            before: what is put back over the picture before, if each is cut out on its own.
        """
        inpainting = source.inpainting
        assert inpainting is not None
        latent_mask = self._latent_mask(inpainting)
        pixels, mask, overlay = nodes.a1111_inpaint(
            self.graph,
            pixels,
            self._mask(inpainting),
            self._upscaler(source.resizing.upscaler),
            latent_mask,
            before,
            width=size[0],
            height=size[1],
            resize_mode=_node_mode(source.resizing),
            only_masked=inpainting.only_masked,
            padding=inpainting.padding,
            fill=inpainting.content != "original",
        )
        return Prepared(pixels, mask, overlay, latent_mask)

    def _resized(
        self,
        image: Image,
        upload: ImageUpload,
        size: tuple[int, int],
        resizing: Resizing,
        upscaler: nodes.Upscaler | None,
    ) -> Image:
        if (upload.width, upload.height) == size:
            return image
        return nodes.a1111_resize_image(self.graph, image, *size, _node_mode(resizing), upscaler)

    def _mask(self, inpainting: Inpainting) -> Mask:
        """The mask at its own size, blurred."""
        picture, alpha = init_images.load(self.graph, inpainting.mask)
        return nodes.a1111_inpaint_mask(
            self.graph,
            picture,
            alpha if inpainting.mask.is_rgba else None,
            rounds=inpainting.rounds,
            invert=inpainting.inverts,
            blur=inpainting.blur,
        )

    def _latent_mask(self, inpainting: Inpainting) -> Mask | None:
        if inpainting.latent_mask is None:
            return None
        picture, _ = init_images.load(self.graph, inpainting.latent_mask)
        return nodes.image_to_mask(self.graph, picture)

    def _upscaler(self, upscale: ImageUpscale | None) -> nodes.Upscaler | None:
        if upscale is None:
            return None
        model = None
        if upscale.model is not None:
            model = nodes.load_upscale_model(self.graph, upscale.model.name)
        return nodes.a1111_upscaler(
            self.graph, upscale.method, upscale.tile, upscale.tile_overlap, model
        )

    def mask_latent(
        self, latent: Latent, mask: Mask, inpainting: Inpainting, plan: Plan, model: Model
    ) -> Latent:
        """A latent with A1111's masked content, and its mask at the latent's own size."""
        noise = inpainting.content == "latent noise"
        content = "original" if inpainting.content == "fill" else inpainting.content
        return nodes.a1111_inpaint_latent(
            self.graph,
            latent,
            mask,
            rounds=inpainting.rounds,
            content=content,
            seeds=inpainting.noise_seeds,
            source=plan.noise.source,
            model=model if noise else None,
        )

    def soften(
        self, prepared: Prepared, soft: SoftInpainting, plan: Plan, sampled: Sampled
    ) -> Prepared:
        """What is put back follows how far the result moved."""
        assert prepared.overlay is not None
        overlay = nodes.a1111_soft_inpaint(
            self.graph,
            prepared.overlay,
            sampled.start,
            sampled.latent,
            sampled.model,
            width=plan.requested_size[0],
            height=plan.requested_size[1],
            preservation=soft.preservation,
            mask_influence=soft.mask_influence,
            threshold=soft.threshold,
            contrast=soft.contrast,
        )
        return replace(prepared, overlay=overlay)

    def correct_colors(self, image: Image, source: Image) -> Image:
        """The results with the colours of another picture."""
        return nodes.a1111_color_correction(self.graph, image, source)

    def put_back(
        self, image: Image, prepared: Prepared, step: PuttingBack
    ) -> tuple[Image, Image | None, Image | None]:
        """The results under what was kept, pasted where they were cut from."""
        assert prepared.overlay is not None
        return nodes.a1111_overlay(
            self.graph, image, prepared.overlay, step.covers, self._upscaler(step.upscaler)
        )

    # --- scripts ---------------------------------------------------------------------------------

    def to_bytes(self, image: Image, size: tuple[int, int]) -> Image:
        """The picture in 8 bits, truncated as A1111 does, by a scaling that changes nothing."""
        return nodes.a1111_image_scale(self.graph, image, *size, "none")

    def enlarge_by(self, image: Image, how: EnlargedBy) -> Image:
        """A picture enlarged by A1111's rule for factors."""
        return nodes.a1111_enlarge_by(self.graph, image, how.factor, self._upscaler(how.upscaler))

    def join_tiles(self, tiles: Sequence[Image], how: Joined) -> Image:
        """Tiles faded into each other in 8 bits, to the pixel."""
        within = nodes.within_inputs(self.graph, tiles, _TILE_INPUTS)
        return nodes.a1111_join_tiles(
            self.graph, within, how.size, how.columns, how.rows, how.tile, how.overlap
        )


def _node_mode(resizing: Resizing) -> int:
    """A1111's resize_mode as our nodes take it: any number beyond 3 fills."""
    return resizing.mode if resizing.mode in _RESIZE_MODES else _FILLS
