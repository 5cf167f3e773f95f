"""What every target spells: the steps of a generation that exact and core nodes do differently."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

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
from translator.geometry import Crop
from translator.models.families import Family
from translator.models.names import Checkpoint, ModelFile
from translator.plan.pictures import EnlargedBy, Joined
from translator.plan.starts import (
    Encoded,
    ImageUpscale,
    Inpainting,
    LatentUpscale,
    SoftInpainting,
)
from translator.plan.values import (
    Plan,
    PuttingBack,
    Reversal,
    SamplingPass,
)
from translator.stages.image_conditioning import PictureBeside, Shape
from translator.stages.init_images import Prepared
from translator.stages.sampling import Batch, Conditioned, Sampled


@dataclass(frozen=True)
class Upscaled:
    """What has enlarged a picture.

    Attributes:
        model: the upscaler's file; None where it has none.
        source: the picture's size before.
    """

    model: ModelFile | None
    source: tuple[int, int]


class Target(ABC):
    """Spells steps of a plan in one graph.

    Attributes:
        enlarging_differs: how pictures are enlarged otherwise than in A1111; empty where they are
            not.
    """

    enlarging_differs: ClassVar[str] = ""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @abstractmethod
    def encode(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> tuple[Conditioning, Conditioning]:
        """Positive and negative conditioning.

        Args:
            checkpoint: whose text encoder `clip` is: the pass' own or its refiner.
        """

    def encode_positive(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> Conditioning:
        """The positive prompt alone, see `encode`."""
        return self.encode(sampling_pass, checkpoint, clip)[0]

    def encode_negative(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> Conditioning:
        """The negative prompt alone, see `encode`."""
        return self.encode(sampling_pass, checkpoint, clip)[1]

    def tile(self, model: Model, vae: Vae) -> tuple[Model, Vae]:
        """Model and VAE that make pictures whose edges join."""
        return model, vae

    @abstractmethod
    def load_hypernetwork(self, model: Model, name: str, strength: float) -> Model:
        """The model with a hypernetwork."""

    @abstractmethod
    def merge_tokens(self, model: Model, ratio: float) -> Model:
        """The model with a share of its tokens merged."""

    @abstractmethod
    def set_model_sampling(self, plan: Plan, sampling_pass: SamplingPass, model: Model) -> Model:
        """The model with the pass' noise schedule."""

    def samples(self, sampling_pass: SamplingPass) -> bool:
        """Whether a pass is sampled at all."""
        return True

    @abstractmethod
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
        """A batch sampled.

        Args:
            refiner: what takes over at ``sampling_pass.refiner``, or None.
            noise: see `reversed_noise`; None draws it.
        """

    def reversed_noise(
        self,
        plan: Plan,
        reversal: Reversal,
        conditioned: Conditioned,
        latent: Latent,
        batch: Batch,
    ) -> Noise | None:
        """The noise behind a latent; None with core nodes, which have none for it.

        Args:
            conditioned: the pass' model with the prompts of the picture.
        """
        return None

    @abstractmethod
    def enlarge_latent(
        self, latent: Latent, upscale: LatentUpscale, width: int, height: int
    ) -> Latent:
        """A latent interpolated to a size in pixels."""

    def enlarge_image(
        self, image: Image, upscale: ImageUpscale, source: tuple[int, int], target: tuple[int, int]
    ) -> Image:
        """A picture of size `source` enlarged to `target`."""
        if upscale.model is None:
            return self.scale_image(image, upscale.method, *target)
        return self.run_upscale_model(image, upscale, source, target)

    @abstractmethod
    def scale_image(self, image: Image, method: str, width: int, height: int) -> Image:
        """A picture scaled.

        Args:
            method: ``lanczos`` or ``nearest``, A1111's upscalers; ``none`` is one Lanczos resize.
        """

    @abstractmethod
    def run_upscale_model(
        self, image: Image, upscale: ImageUpscale, source: tuple[int, int], target: tuple[int, int]
    ) -> Image:
        """A picture enlarged by a model, as often as it takes, and then scaled to `target`."""

    def empty_latent(self, family: Family, width: int, height: int, batch_size: int) -> Latent:
        """Nothing, at a size in pixels, as checkpoints of a family take it."""
        return nodes.empty_latent(self.graph, family.empty_latent, width, height, batch_size)

    @abstractmethod
    def encode_image(
        self,
        image: Image,
        vae: Vae,
        posterior_seed: Number | int,
        drawn: Sequence[Shape] = (),
        upscaled: Upscaled | None = None,
    ) -> Latent:
        """A picture as a latent.

        Args:
            posterior_seed: with which the VAE's posterior is sampled; -1 takes its mean.
            drawn: what was drawn from that seed before.
            upscaled: what enlarged the picture after that.
        """

    @abstractmethod
    def with_image(self, conditioned: Conditioned, beside: PictureBeside) -> Conditioned:
        """The conditioning with the picture that the checkpoint reads beside the latent."""

    @abstractmethod
    def crop_latent(self, latent: Latent, crop: Crop, size: tuple[int, int]) -> Latent:
        """A latent with its margins cut off.

        Args:
            size: what is left, in pixels.
        """

    @abstractmethod
    def prepare(self, source: Encoded, size: tuple[int, int], batch: Batch) -> Prepared:
        """The request's pictures brought to a size, and their mask.

        Args:
            size: width and height in pixels, as requested.
        """

    @abstractmethod
    def mask_latent(
        self, latent: Latent, mask: Mask, inpainting: Inpainting, plan: Plan, model: Model
    ) -> Latent:
        """A latent of which only the mask is sampled, with the masked content in it.

        Args:
            mask: in pixels, see `Prepared`.
            model: what samples it, for the scale of noise.
        """

    def soften(
        self, prepared: Prepared, soft: SoftInpainting, plan: Plan, sampled: Sampled
    ) -> Prepared:
        """What is put back, where Soft Inpainting decides it by the result."""
        return prepared

    @abstractmethod
    def correct_colors(self, image: Image, source: Image) -> Image:
        """The results with the colours of another picture."""

    @abstractmethod
    def put_back(
        self, image: Image, prepared: Prepared, step: PuttingBack
    ) -> tuple[Image, Image | None, Image | None]:
        """The results under what was kept, their mask, and the results alone (see `Finished`)."""

    # --- scripts ---------------------------------------------------------------------------------

    def flatten(self, image: Image, alpha: Mask, color: str) -> Image:
        """A picture on a background of one colour (``#rrggbb``); `alpha` is 1 where it is clear."""
        return nodes.a1111_flatten(self.graph, image, alpha, color)

    def to_bytes(self, image: Image, size: tuple[int, int]) -> Image:
        """A decoded picture of a size as the next generation starts from it."""
        return image

    @abstractmethod
    def enlarge_by(self, image: Image, how: EnlargedBy) -> Image:
        """A picture enlarged by a factor."""

    @abstractmethod
    def join_tiles(self, tiles: Sequence[Image], how: Joined) -> Image:
        """Tiles faded into each other."""

    @classmethod
    def differences(cls, plan: Plan) -> Iterable[str]:
        """What comes out otherwise than in A1111, a sentence each."""
        return ()
