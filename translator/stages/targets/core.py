"""Core: what ComfyUI's own nodes come to, without our node pack.

Each image is sampled on its own, since core nodes draw a batch's noise from one seed and A1111
draws image i from seed + i. Beside each step stands what it does otherwise than A1111.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from translator import prompt
from translator.comfy import nodes
from translator.comfy.graph import (
    Clip,
    Conditioning,
    Graph,
    Guider,
    Image,
    Latent,
    Mask,
    Model,
    Noise,
    Number,
    Sigmas,
    Vae,
)
from translator.geometry import LATENT_CELL, Crop
from translator.models.names import Checkpoint
from translator.plan.pictures import BLACK, EnlargedBy, Joined, Made, Sent
from translator.plan.seeds import as_torch
from translator.plan.values import (
    ColorCorrection,
    Encoded,
    Encoding,
    Enlarged,
    ImageUpscale,
    Inpainting,
    LatentUpscale,
    Plan,
    PuttingBack,
    SamplingPass,
)
from translator.prompt import Emphasis, Part
from translator.schedules.passes import Pass
from translator.stages import init_images, sampling
from translator.stages.image_conditioning import Beside, Shape
from translator.stages.init_images import Prepared
from translator.stages.sampling import Batch, Conditioned, SamplingParts
from translator.stages.targets.base import Target, Upscaled

_SAME = "same"
"""What a table row says of core's sampler or scheduler that does as A1111's."""

_UNSCHEDULED = "normal"
"""Core's scheduler for A1111's uniform schedule (and near UniPC's)."""

_NOISE_DEFAULTS = {"eta": 1.0, "s_noise": 1.0}
"""What core's samplers do where they are only named."""

_USUAL_ETA = {"eta_ancestral": 1.0, "eta_ddim": 0.0}
"""The option that gives a sampler its eta -> the eta that core's sampler has."""

_USUAL_SCORES = (6.0, 2.5)
"""The refiner's aesthetic scores of both prompts, where ComfyUI is told none."""

_LAST = 10000
"""KSamplerAdvanced's end_at_step for "to the end"."""

_UNET_STEP = 64
"""Pixels that the UNet's deepest level sees as one."""

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
        self._prompts = _Prompts(graph, embeddings)

    @classmethod
    def differences(cls, plan: Plan) -> Iterator[str]:
        """What comes out otherwise than in A1111, a sentence each."""
        yield from _noise_differences(plan)
        for sampling_pass in plan.passes:
            yield from _sampling_differences(sampling_pass)
            yield from _prompt_differences(sampling_pass)
        yield from _number_differences(plan)
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
        run = _Run(self.graph, plan, sampling_pass, conditioned, as_torch(batch.seeds[0]))
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

    def with_image(self, conditioned: Conditioned, beside: Beside) -> Conditioned:
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
                line = nodes.paste_masked(graph, line, tile, mask, x=left)
            mask = nodes.solid_mask(graph, 1.0, how.size[0], tile_height)
            if top:
                mask = nodes.feather_mask(graph, mask, 0, how.overlap)
            joined = nodes.paste_masked(graph, joined, line, mask, y=top)
        return joined


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


# --- prompts --------------------------------------------------------------------------------------


class _Prompts:
    """Spells prompts with CLIPTextEncode."""

    def __init__(self, graph: Graph, embeddings: Sequence[str]) -> None:
        self._graph = graph
        self._embeddings = embeddings

    def encode(self, sampling_pass: SamplingPass, clip: Clip) -> tuple[Conditioning, Conditioning]:
        """Positive and negative conditioning."""
        plan = sampling_pass.prompt
        if sampling_pass.encoding.clip_skip > 1 and sampling_pass.checkpoint.family.heeds_clip_skip:
            clip = nodes.clip_set_last_layer(self._graph, clip, -sampling_pass.encoding.clip_skip)
        positive = self._parts(sampling_pass, clip, plan.positive.parts)
        negative = self._parts(sampling_pass, clip, plan.negative.parts)
        if plan.zero_negative:
            negative = nodes.zero_out(self._graph, negative)
        return positive, negative

    def _parts(
        self, sampling_pass: SamplingPass, clip: Clip, parts: Sequence[Part]
    ) -> Conditioning:
        averaged = _averaged(parts)
        encoded = []
        for part in averaged:
            conditioning = self._scheduled(sampling_pass, clip, part)
            if len(averaged) > 1:
                conditioning = nodes.set_strength(self._graph, conditioning, abs(part.weight))
            encoded.append(conditioning)
        return reduce(self._combined, encoded)

    def _scheduled(self, sampling_pass: SamplingPass, clip: Clip, part: Part) -> Conditioning:
        """The texts of a part, each over its range of the noise schedule."""
        ranged = []
        first_call = 0
        for entry in part.schedule:
            start, end = _range(sampling_pass.schedule, first_call, entry.end + 1)
            first_call = entry.end + 1
            if start < end:
                ranged.append((entry.text, start, end))
        if len(ranged) < 2:
            text = ranged[0][0] if ranged else part.schedule[-1].text
            return self._text(clip, text, sampling_pass.encoding)
        encoded = [
            nodes.set_range(self._graph, self._text(clip, text, sampling_pass.encoding), start, end)
            for text, start, end in ranged
        ]
        return reduce(self._combined, encoded)

    def _combined(self, first: Conditioning, second: Conditioning) -> Conditioning:
        return nodes.combine(self._graph, first, second)

    def _text(self, clip: Clip, text: str, encoding: Encoding) -> Conditioning:
        emphasis: Emphasis = "None" if encoding.old_emphasis else encoding.emphasis
        pieces = prompt.encode_pieces(text, emphasis)
        if emphasis == "Ignore":
            pieces = tuple(piece if piece == prompt.BREAK else (piece[0], 1.0) for piece in pieces)
        chunks = [
            nodes.clip_text_encode(self._graph, clip, chunk)
            for chunk in prompt.comfy_texts(pieces, self._embeddings)
        ]
        return reduce(lambda first, second: nodes.concat(self._graph, first, second), chunks)


def _range(schedule: Pass, first_call: int, next_call: int) -> tuple[float, float]:
    return schedule.percent_before_call(first_call), schedule.percent_before_call(next_call)


def _averaged(parts: Sequence[Part]) -> Sequence[Part]:
    """The parts that ComfyUI averages: their weights must be positive, if there are any such."""
    return [part for part in parts if part.weight > 0] or parts


def _cfg_scale(sampling_pass: SamplingPass, cfg_scale: float) -> float:
    """The scale that makes ComfyUI's average over AND parts A1111's weighted sum."""
    return cfg_scale * sum(part.weight for part in _averaged(sampling_pass.prompt.positive.parts))


def _prompt_differences(sampling_pass: SamplingPass) -> Iterator[str]:
    plan = sampling_pass.prompt
    texts = [
        entry.text
        for parsed in (plan.positive, plan.negative)
        for part in parsed.parts
        for entry in part.schedule
    ]
    if (
        any("(" in text or "[" in text for text in texts)
        and sampling_pass.encoding.emphasis != "Ignore"
    ):
        yield "prompt weights act by another formula: visibly so for large weights"
    if any(len(part.schedule) > 1 for part in (*plan.positive.parts, *plan.negative.parts)):
        yield "prompt editing switches between steps, not between model calls"
    if any(part.weight <= 0 for part in plan.positive.parts):
        yield "AND parts with weights of 0 and below are left out"
    if sampling_pass.checkpoint.family.takes_size:
        yield from _sdxl_differences(sampling_pass)


def _sdxl_differences(sampling_pass: SamplingPass) -> Iterator[str]:
    encoding = sampling_pass.encoding
    if encoding.sdxl_clip_l_skip:
        yield "sdxl_clip_l_skip is not used"
    if any(encoding.crop):
        yield "sdxl_crop_top and sdxl_crop_left are not used"
    if encoding.size != sampling_pass.size:
        told, own = (f"{w}x{h}" for w, h in (encoding.size, sampling_pass.size))
        yield f"SDXL is told the picture's own size {own}, A1111 tells it {told}"
    if sampling_pass.refiner is not None and encoding.aesthetic_scores != _USUAL_SCORES:
        yield "the refiner's aesthetic scores are ComfyUI's, 6.0 and 2.5"


# --- sampling -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """One sampling pass of one image.

    Attributes:
        seed: the image's own.
    """

    graph: Graph
    plan: Plan
    sampling_pass: SamplingPass
    conditioned: Conditioned
    seed: int

    def sample(self, refiner: Conditioned | None, latent: Latent) -> Latent:
        """The image sampled: by KSampler wherever it can."""
        if refiner is not None:
            return self._with_refiner(refiner, latent)
        settings = sampler_node_settings(self.sampling_pass)
        if settings is not None or self.conditioned.negative_without_image is not None:
            return sampling.run(self.graph, self._parts(settings), latent)
        if self._from_image:
            return self._last_steps(latent)
        return nodes.ksampler(
            self.graph,
            model=self.conditioned.model,
            seed=self.seed,
            steps=self.sampling_pass.steps,
            cfg=self._cfg_scale,
            sampler_name=self.sampling_pass.sampler.sampler.comfy.sampler_name,
            scheduler=scheduler_name(self.sampling_pass),
            positive=self.conditioned.positive,
            negative=self.conditioned.negative,
            latent=latent,
            denoise=self._denoise,
        )

    @property
    def _from_image(self) -> bool:
        return isinstance(self.sampling_pass.start, Encoded)

    def _last_steps(self, latent: Latent) -> Latent:
        """img2img: the last steps of the schedule, as many as A1111 runs."""
        sampling_pass = self.sampling_pass
        return nodes.ksampler_advanced(
            self.graph,
            model=self.conditioned.model,
            seed=self.seed,
            steps=sampling_pass.schedule.spec.steps,
            cfg=self._cfg_scale,
            sampler_name=sampling_pass.sampler.sampler.comfy.sampler_name,
            scheduler=scheduler_name(sampling_pass),
            positive=self.conditioned.positive,
            negative=self.conditioned.negative,
            latent=latent,
            start=sampling_pass.schedule.start_at_step,
            end=_LAST,
            add_noise=True,
            leftover_noise=False,
        )

    @property
    def _sigmas(self) -> Sigmas:
        """The scheduler's sigmas that the pass runs."""
        sampling_pass, scheduler = self.sampling_pass, scheduler_name(self.sampling_pass)
        if not self._from_image:
            return nodes.basic_scheduler(
                self.graph,
                self.conditioned.model,
                scheduler,
                sampling_pass.steps,
                self._denoise,
            )
        steps = sampling_pass.schedule.spec.steps
        sigmas = nodes.basic_scheduler(self.graph, self.conditioned.model, scheduler, steps, 1.0)
        return nodes.split_sigmas(self.graph, sigmas, sampling_pass.schedule.start_at_step)

    @property
    def _cfg_scale(self) -> float:
        return _cfg_scale(self.sampling_pass, self.plan.guidance.cfg_scale)

    @property
    def _denoise(self) -> float:
        denoise = self.sampling_pass.denoise
        return 1.0 if denoise is None else min(denoise, 1.0)

    def _parts(self, settings: dict[str, str | float | int] | None) -> SamplingParts:
        """What is sampled with where KSampler does not do.

        Args:
            settings: of a Sampler* node, for numbers that KSampler does not take; None is the
                sampler by its name.
        """
        comfy = self.sampling_pass.sampler.sampler.comfy
        node = "KSamplerSelect" if settings is None else str(comfy.node)
        inputs = {"sampler_name": comfy.sampler_name} if settings is None else settings
        return SamplingParts(
            noise=nodes.random_noise(self.graph, self.seed),
            guider=self._guider(),
            sampler=nodes.sampler_node(self.graph, node, inputs),
            sigmas=self._sigmas,
        )

    def _guider(self) -> Guider:
        """Guidance by the text, and by the picture of an editing checkpoint."""
        conditioned, image = self.conditioned, self.sampling_pass.image_conditioning
        ends = conditioned.model, conditioned.positive, conditioned.negative
        without = conditioned.negative_without_image
        if without is None or image is None or image.image_cfg_scale is None:
            return nodes.cfg_guider(self.graph, *ends, self._cfg_scale)
        return nodes.dual_cfg_guider(
            self.graph, *ends, without, self._cfg_scale, image.image_cfg_scale
        )

    def _with_refiner(self, refiner: Conditioned, latent: Latent) -> Latent:
        """Two samplers over one schedule; the second repeats no noise, as it has another seed."""
        sampling_pass = self.sampling_pass
        assert sampling_pass.refiner is not None
        start = sampling_pass.schedule.start_at_step
        switch = start + sampling_pass.refiner.step
        total = sampling_pass.schedule.spec.steps
        for conditioned, seed, begin, end in (
            (self.conditioned, self.seed, start, switch),
            (refiner, self.seed + 1, switch, _LAST),
        ):
            if begin == end:
                continue
            latent = nodes.ksampler_advanced(
                self.graph,
                model=conditioned.model,
                seed=seed,
                steps=total,
                cfg=self._cfg_scale,
                sampler_name=sampling_pass.sampler.sampler.comfy.sampler_name,
                scheduler=scheduler_name(sampling_pass),
                positive=conditioned.positive,
                negative=conditioned.negative,
                latent=latent,
                start=begin,
                end=end,
                add_noise=begin == start,
                leftover_noise=end != _LAST,
            )
        return latent


def scheduler_name(sampling_pass: SamplingPass) -> str:
    """Core's scheduler nearest to the pass' own."""
    row = sampling_pass.sampler.sampler.comfy.scheduler
    if row is not None:
        return row
    scheduler = sampling_pass.sampler.scheduler
    return (scheduler and scheduler.comfy.scheduler) or _UNSCHEDULED


def sampler_node_settings(sampling_pass: SamplingPass) -> dict[str, str | float | int] | None:
    """Inputs of the Sampler* node where the request asks for what only it takes, else None."""
    comfy = sampling_pass.sampler.sampler.comfy
    requested = {name: getattr(sampling_pass.numbers, name) for name in comfy.node_inputs}
    changed = any(value != _NOISE_DEFAULTS.get(name) for name, value in requested.items())
    if comfy.node is None or not changed:
        return None
    return {**comfy.node_constants, **{comfy.node_inputs[k]: v for k, v in requested.items()}}


def _noise_differences(plan: Plan) -> Iterator[str]:
    noise = plan.noise
    if noise.source != "CPU":
        yield f"noise is drawn on the CPU, A1111's comes from {noise.source}: another picture"
    if noise.subseed_strength:
        yield "subseed and subseed_strength are not used"
    if any(noise.resize_from):
        yield "seed_resize_from_w and seed_resize_from_h are not used"
    if noise.extra and any(item.schedule.from_image for item in plan.passes):
        yield "img2img_extra_noise is not used"
    if noise.eta_noise_seed_delta:
        yield "eta_noise_seed_delta is not used"
    yield "the first noise is 0.2 % stronger and timesteps are rounded: small differences"


def _sampling_differences(sampling_pass: SamplingPass) -> Iterator[str]:
    sampler, scheduler = sampling_pass.sampler.sampler, sampling_pass.sampler.scheduler
    if sampler.comfy.match != _SAME:
        yield f"{sampler.name}: {sampler.comfy.note}"
    if scheduler is not None and scheduler.comfy.match != _SAME:
        name = scheduler_name(sampling_pass)
        yield f"schedule {scheduler.label} becomes {name}: {scheduler.comfy.note}"
    if sampler.discard_penultimate and not _drops_last_but_one(sampling_pass):
        yield f"{sampler.name}: the last sigma but one is not dropped"
    if sampling_pass.width % _UNET_STEP or sampling_pass.height % _UNET_STEP:
        yield f"sides that are no multiple of {_UNET_STEP} are joined otherwise inside the UNet"
    if sampling_pass.refiner is not None:
        yield "the sampler's history starts anew where the refiner takes over"


def _drops_last_but_one(sampling_pass: SamplingPass) -> bool:
    """Whether KSampler itself drops the last sigma but one, as it does for DPM2 and UniPC."""
    name = sampling_pass.sampler.sampler.comfy.sampler_name
    return name in ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")


def _number_differences(plan: Plan) -> Iterator[str]:
    if plan.first.numbers.s_churn:
        yield "s_churn, s_tmin, s_tmax and s_noise are not used"
    option = plan.first.sampler.sampler.eta_option
    unusual = option is not None and plan.first.numbers.eta != _USUAL_ETA[option]
    if unusual and "eta" not in plan.first.sampler.sampler.comfy.node_inputs:
        yield "eta is not used with this sampler"
    if plan.guidance.s_min_uncond or plan.guidance.skip_early_cond:
        yield "s_min_uncond and skip_early_cond are not used"
    if plan.tiling:
        yield "tiling is not done"
    if plan.model_sampling.downcast_alphas:
        yield "use_downcasted_alpha_bar is not used"
    if plan.model_sampling.quantize:
        yield "enable_quantization is not used"
    if plan.guidance.padding != "none":
        yield "prompts of unequal length are not padded"
