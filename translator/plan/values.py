"""The plan of a picture: names resolved, seeds drawn, sigmas computed; all numbers final.

`planner` applies A1111's rules and makes these values; the stages only spell them in nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from translator.control.plan import ControlPlan
from translator.detailer.plan import RegionRules
from translator.geometry import latent_pixels
from translator.models.names import Checkpoint, ModelFile
from translator.plan.patches import ModelPatch
from translator.plan.regions import Regions
from translator.plan.starts import (
    Encoded,
    ImageConditioning,
    ImageUpscale,
    OfRegion,
    SoftInpainting,
    Start,
)
from translator.prompt import Emphasis, Prompt, length
from translator.prompt.block_weights import BlockWeights
from translator.prompt.step_weights import Curve, Window
from translator.request.a1111_options import A1111Options
from translator.request.images import ImageUpload
from translator.request.img2img import Inversion
from translator.schedules.levels import refiner_call
from translator.schedules.passes import Pass
from translator.schedules.samplers import ResolvedSampler


@dataclass(frozen=True)
class Network:
    """An extra network of a prompt, resolved: a LoRA or a hypernetwork.

    Attributes:
        kind: ``lora`` or ``hypernet``.
        name: as the prompt has it.
        file: its file.
        unet: strength on the UNet.
        te: strength on the text encoders; a hypernetwork has none.
        steps: how `unet` changes from step to step, or None.
        blocks: factors of a LoRA's blocks, or None.
    """

    kind: str
    name: str
    file: ModelFile
    unet: float
    te: float
    steps: Window | Curve | None = None
    blocks: BlockWeights | None = None


@dataclass(frozen=True)
class Encoding:
    """How A1111 turns a parsed prompt into conditioning.

    Attributes:
        emphasis: ``Original``, ``No norm``, ``Ignore`` or ``None``.
        old_emphasis: option use_old_emphasis_implementation.
        comma_padding_backtrack: tokens a comma may lie back for a chunk to break there.
        clip_skip: option CLIP_stop_at_last_layers where the architecture heeds it, else 1.
        sdxl_clip_l_skip: whether `clip_skip` acts on SDXL's CLIP-L.
        size: SDXL's size conditioning (width, height) in pixels.
        crop: SDXL's crop conditioning (top, left).
        aesthetic_scores: the refiner's, of positive and negative prompt.
        aesthetic_paths: where they come from.
    """

    emphasis: Emphasis
    old_emphasis: bool
    comma_padding_backtrack: int
    clip_skip: int
    sdxl_clip_l_skip: bool
    size: tuple[int, int]
    crop: tuple[int, int]
    aesthetic_scores: tuple[float, float]
    aesthetic_paths: tuple[str, str]


@dataclass(frozen=True)
class PromptPlan:
    """Both prompts of one pass.

    Attributes:
        text, negative_text: after styles and comments, network tags included.
        positive, negative: parsed.
        zero_negative: SDXL's empty negative prompt, whose conditioning A1111 zeroes.
        networks: the extra networks of the positive prompt, in order.
    """

    text: str
    negative_text: str
    positive: Prompt
    negative: Prompt
    zero_negative: bool
    networks: tuple[Network, ...]


@dataclass(frozen=True)
class Refiner:
    """The checkpoint that takes over in mid-sampling.

    Attributes:
        checkpoint, vae: what takes over; vae None is the checkpoint's own.
        switch_at: fraction of the model's timesteps (or of the calls) after which it does.
        by_steps: whether `switch_at` counts model calls.
        step: the first step that it runs, 0-based.
    """

    checkpoint: Checkpoint
    vae: ModelFile | None
    switch_at: float
    by_steps: bool
    step: int


@dataclass(frozen=True)
class SamplerNumbers:
    """The numbers a sampler takes beside its sigmas, request and options settled."""

    eta: float
    s_churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float
    extra: Mapping[str, Any]


Role = Literal["first", "hires", "img2img", "detail"]
"""A pass' part in a generation."""


@dataclass(frozen=True)
class SamplingPass:
    """One sampling pass.

    Attributes:
        role: its part in the generation.
        width, height: of its picture in pixels, multiples of 8.
        start: what it starts from.
        checkpoint, vae: what it samples with; vae None is the checkpoint's own.
        sampler: sampler and scheduler.
        numbers: what the sampler takes beside its sigmas.
        schedule: the sigmas (or timesteps) that it runs.
        steps: the steps asked for.
        denoise: the strength that a latent is denoised with; None starts from noise alone.
        prompt, encoding: its conditioning.
        text_encoder_of: position of the pass whose text encoder, extra networks included, encodes
            the prompts; None is its own.
        refiner: what takes over, or None.
        token_merging_ratio: 0 is off.
        fields: input of a node -> JSON path of what sets its number, where that is not the usual
            one; for messages.
        image_conditioning: what the checkpoint reads beside the latent; None for most.
        regions: prompts by region, None without.
    """

    role: Role
    width: int
    height: int
    start: Start
    checkpoint: Checkpoint
    vae: ModelFile | None
    sampler: ResolvedSampler
    numbers: SamplerNumbers
    schedule: Pass
    steps: int
    denoise: float | None
    prompt: PromptPlan
    encoding: Encoding
    text_encoder_of: int | None
    refiner: Refiner | None
    token_merging_ratio: float
    fields: Mapping[str, str] = field(default_factory=dict)
    image_conditioning: ImageConditioning | None = None
    regions: Regions | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @property
    def left_loaded(self) -> Checkpoint:
        """The checkpoint that A1111 has loaded when the pass ends."""
        refiner = self._taking_over
        return self.checkpoint if refiner is None else refiner.checkpoint

    @property
    def left_vae(self) -> ModelFile | None:
        """The VAE that A1111 has loaded when the pass ends; None is `left_loaded`'s own."""
        refiner = self._taking_over
        return self.vae if refiner is None else refiner.vae

    @property
    def _taking_over(self) -> Refiner | None:
        """Its refiner, where the pass is long enough for it."""
        return self.refiner if self.refiner_call is not None else None

    @property
    def refiner_call(self) -> int | None:
        """The model call (0-based) before which the refiner takes over; None where none does."""
        if self.refiner is None:
            return None
        return refiner_call(
            self.schedule,
            self.numbers.eta,
            self.refiner.switch_at,
            by_steps=self.refiner.by_steps,
        )

    @property
    def drawn_in_between(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of what A1111 draws from torch's generator to load the refiner in the pass."""
        return self.left_loaded.drawn_by_loading_after(self.checkpoint)

    @property
    def soft(self) -> SoftInpainting | None:
        """Soft Inpainting of what it starts from."""
        if isinstance(self.start, OfRegion):
            return self.start.soft
        inpainting = self.start.inpainting if isinstance(self.start, Encoded) else None
        return None if inpainting is None else inpainting.soft

    def compare_lengths(self) -> length.Comparison:
        """Whether its prompts are of unequal length, as far as their words tell."""
        prompt, encoding = self.prompt, self.encoding
        return length.compare(
            prompt.positive, prompt.negative, encoding.emphasis, encoding.comma_padding_backtrack
        )


@dataclass(frozen=True)
class Noise:
    """Where noise comes from.

    Attributes:
        source: ``GPU``, ``CPU`` or ``NV``.
        subseed_strength: 0 is off.
        resize_from: (width, height) of the picture whose noise is pasted in; (0, 0) is off.
        eta_noise_seed_delta: added to the seed of all noise but the first.
        extra: option img2img_extra_noise, for passes that start from an image.
        multiplier: factor of the first noise, img2img's initial_noise_multiplier.
    """

    source: str
    subseed_strength: float
    resize_from: tuple[int, int]
    eta_noise_seed_delta: int
    extra: float
    multiplier: float


@dataclass(frozen=True)
class Reversal:
    """A pass starts from the noise behind its picture (img2img alternative test).

    Attributes:
        prompt: what the picture shows.
        sigmas: of the way back, ascending from 0.
        cfg_scale: on the way back.
        randomness: 0..1, how much of the noise is drawn, not found.
        sigma_adjustment: whether each step is taken from its lower end.
        inversion: Tiled Diffusion's noise inversion in place of it.
    """

    prompt: PromptPlan
    sigmas: tuple[float, ...]
    cfg_scale: float
    randomness: float
    sigma_adjustment: bool
    inversion: Inversion | None = None


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: scale, and when the negative prompt is skipped.

    Attributes:
        padding: how the shorter of both prompts is lengthened: ``none``, ``empty`` (by the encoding
            of an empty prompt) or ``last`` (the negative prompt by its last vector, or cut).
    """

    cfg_scale: float
    s_min_uncond: float
    s_min_uncond_all: bool
    skip_early_cond: float
    padding: str = "none"


@dataclass(frozen=True)
class ModelSampling:
    """Details of A1111's denoiser that change the sigmas or the first noise."""

    sgm_noise_multiplier: bool
    zero_terminal_snr: bool
    downcast_alphas: bool
    quantize: bool = False


@dataclass(frozen=True)
class FaceRestoration:
    """The face restorer run on every picture."""

    model: str
    codeformer_weight: float


@dataclass(frozen=True)
class ColorCorrection:
    """The picture gets the colours of another one.

    Attributes:
        source: which; None is the one that its generation started from.
    """

    source: ImageUpload | None = None


@dataclass(frozen=True)
class PuttingBack:
    """What was not made anew is put back over the picture.

    Attributes:
        covers: option overlay_inpaint, which Soft Inpainting does not heed; off, only masks for
            the answer are made.
        upscaler: see `Resizing`.
    """

    covers: bool
    upscaler: ImageUpscale | None


@dataclass(frozen=True)
class Detail:
    """ADetailer's unit: what a detector finds on a picture is made anew, region by region.

    Attributes:
        rules: how the regions are found, and how each one's pass is laid out.
        plan: the inner generation: a pass for each different pair of prompts.
        prompts: for each region in order the position of its pass, None to leave it as it is; the
            last one holds for all that follow.
        restorer: the face restorer run on every region's result, or None.
    """

    rules: RegionRules
    plan: Plan
    prompts: tuple[int | None, ...]
    restorer: FaceRestoration | None

    @property
    def checkpoint(self) -> Checkpoint:
        """What the regions are made with."""
        return self.plan.first.checkpoint


@dataclass(frozen=True)
class InitPicture:
    """An init image takes the place of every decoded picture, so that no pass has to be run.

    Attributes:
        image: the init image, in its own size.
        background: colour under its transparent parts, as ``#rrggbb``.
    """

    image: ImageUpload
    background: str


@dataclass(frozen=True)
class FaceSwap:
    """ReActor: faces of a picture get the features of others.

    Attributes:
        image: the picture with the source faces; None where `face_model` is the source.
        face_model: file of a stored face.
        source_faces, target_faces: numbers of faces from the left, from 0.
        source_gender, target_gender: ``no``, ``female`` or ``male``: what a face has to be.
        model: file of the swapper.
        restorer: the face restorer run on a picture in which something was swapped, or None.
        restorer_visibility: how far its result covers the picture, 0..1.
        restores_first: whether faces are restored before the picture is enlarged.
        upscaler: what enlarges such a picture, or None.
        scale: by which it is enlarged, 1..8.
        upscaler_visibility: how far the result covers the picture where `scale` is 1.
        forced: whether a picture without a swapped face is restored and enlarged as well.
        beside: whether the pictures stay, and the swapped ones are answered after them.
        log_level: of the pack, 0..2.
    """

    image: ImageUpload | None
    face_model: str | None
    source_faces: tuple[int, ...]
    target_faces: tuple[int, ...]
    source_gender: str
    target_gender: str
    model: str
    restorer: FaceRestoration | None
    restorer_visibility: float
    restores_first: bool
    upscaler: ImageUpscale | None
    scale: float
    upscaler_visibility: float
    forced: bool
    beside: bool
    log_level: int

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """The size of a picture in which something was swapped, in pixels."""
        if self.upscaler is None:
            return width, height
        return latent_pixels(int(width * self.scale)), latent_pixels(int(height * self.scale))


@dataclass(frozen=True)
class SwappedInit:
    """An init image whose faces are swapped before it is encoded.

    Attributes:
        image: as it was sent.
        name: of the upload that stands for the result, see `Graph.providing`.
        swap: what is done to it.
    """

    image: ImageUpload
    name: str
    swap: FaceSwap


Finish = InitPicture | FaceRestoration | Detail | FaceSwap | ColorCorrection | PuttingBack
"""What is done to a decoded picture."""


@dataclass(frozen=True)
class Plan:
    """One call of A1111's ``process_images``: n_iter batches of one request.

    Attributes:
        a1111_options: A1111's options in force.
        exact: whether our node pack is used.
        requested_size: width and height of the first pass in pixels, not floored.
        seeds, subseeds: one per image, over all batches.
        batch_size: images per batch.
        passes: the sampling passes in order; each but the first may start from the one before.
        noise, guidance, model_sampling: the same for every pass.
        control: the ControlNet units; what they hold for each pass stands in the order of `passes`.
        answers_mask, answers_composite: whether the mask, and the part that was made anew, are
            answered beside every picture.
        finish: what is done to every decoded picture, in A1111's order.
        model_patches: what always-on scripts change of every pass' model, in order.
        reversal: how the noise of the first pass is found, or None where it is drawn.
        swapped_inits: the init images whose faces are swapped first.
    """

    a1111_options: A1111Options
    exact: bool
    requested_size: tuple[int, int]
    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]
    batch_size: int
    passes: tuple[SamplingPass, ...]
    noise: Noise
    guidance: Guidance
    model_sampling: ModelSampling
    control: ControlPlan
    tiling: bool
    finish: tuple[Finish, ...]
    answers_mask: bool
    answers_composite: bool
    model_patches: tuple[ModelPatch, ...] = ()
    swapped_inits: tuple[SwappedInit, ...] = ()
    reversal: Reversal | None = None

    @property
    def first(self) -> SamplingPass:
        """The pass that the generation begins with."""
        return self.passes[0]

    @property
    def uploads(self) -> tuple[ImageUpload, ...]:
        """The request's pictures that the graph loads or the answer repeats."""
        starts = [item.start for item in self.passes if isinstance(item.start, Encoded)]
        inner = [step.plan for step in self.finish if isinstance(step, Detail)]
        swaps = [item.swap for item in self.swapped_inits]
        swaps += [step for step in self.finish if isinstance(step, FaceSwap)]
        regions = [item.regions for item in self.passes if item.regions is not None]
        return (
            *(image for start in starts for image in start.uploads if image.data),
            *(image for item in regions for image in item.uploads),
            *(image for image in self.control.uploads if image.data),
            *(image for plan in inner for image in plan.uploads),
            *(item.image for item in self.swapped_inits),
            *(swap.image for swap in swaps if swap.image is not None),
        )

    @property
    def init_picture(self) -> InitPicture | None:
        """What the pictures are instead of being sampled, or None."""
        first = self.finish[0] if self.finish else None
        return first if isinstance(first, InitPicture) else None

    def of_role(self, role: Role) -> SamplingPass | None:
        """The pass of a role, or None."""
        return next((item for item in self.passes if item.role == role), None)

    def batches(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Seeds and subseeds of each batch."""
        size = self.batch_size
        starts = range(0, len(self.seeds), size)
        return [(self.seeds[i : i + size], self.subseeds[i : i + size]) for i in starts]
