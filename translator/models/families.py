"""Families of checkpoints: one row an architecture, and the families that are refused by name.

What depends on a checkpoint's architecture is a column here and is asked of `Family`; no other
file compares an architecture's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Header = Mapping[str, Any]
"""The header of a safetensors file: tensor name -> {dtype, shape, ...}."""


PictureKind = Literal["inpaint", "edit"]
"""What a checkpoint reads beside the latent: a mask and the picture around it, or a picture."""


@dataclass(frozen=True)
class Family:
    """What is particular to the checkpoints of one architecture.

    Attributes:
        name: as settings, warnings and `ModelFacts` have it.
        loader: ComfyUI's node that loads a whole checkpoint: model, text encoders, VAE.
        empty_latent: ComfyUI's node that makes its latents, of `latent_channels` channels.
        prediction: what its UNet predicts where the file does not tell, as ModelSamplingDiscrete
            names it.
        encoders: its text encoders, in A1111's order; each reads the prompt once.
        embedding_width: of A1111's textual inversion embeddings that fit, as ``shape`` of
            ``GET /sdapi/v1/embeddings``.
        heeds_clip_skip: whether option CLIP_stop_at_last_layers changes its conditioning.
        pooled_text: whether its conditioning has a pooled text (which revision replaces).
        zeroes_empty_negative: whether an empty negative prompt becomes zeros.
        size_conditioning: what its conditioning holds beside the text: nothing, ``size`` (sizes
            and crop), ``score`` (size and crop, an aesthetic score in place of the target's size).
        schedule: which of the two tables a schedule made for SD1.5 and SDXL takes (Align Your
            Steps).
        drawn_by_loading: shapes of what A1111 draws from torch's generator when it builds such a
            model, as far as that is known; a model that is there only gets other weights.
        control_blocks: residuals of a ControlNet: the encoder's zero convolutions, shallow to
            deep, then the middle.
        adapter_in_middle: whether the last of a T2I-Adapter's four features goes to the UNet's
            middle block rather than its encoder.
        ip_adapter_layers: layers of an IP-Adapter that ``advanced_weighting`` counts.
        reference_power: to which A1111 raises the style fidelity of a reference unit.
        control_versions: the versions in the names of ControlNet models that go with it, as the
            extension compares them.
        control_name: how the extension reads this version from a ControlNet model's name, or None.
        checkpoint_name: what in a checkpoint's name suggests the family, or None.
        encoder_keys: tensors, each of which tells the family.
        class_width: width of the UNet's class embedding, or None without one.
        context_width: width of the text that its cross-attention reads.
        pictures: channels that a UNet of the family takes beside the latent -> what they are.
        hybrid_inpainting: how A1111 feeds an inpainting checkpoint. Where it is the older way,
            mask_round counts for the mask beside the latent, and txt2img's infotext names its
            weight; else that mask is always rounded.
    """

    name: str
    loader: str
    empty_latent: str
    latent_channels: int
    prediction: Literal["eps", "v_prediction"]
    encoders: tuple[str, ...]
    embedding_width: int
    heeds_clip_skip: bool
    pooled_text: bool
    zeroes_empty_negative: bool
    size_conditioning: Literal["none", "size", "score"]
    schedule: Literal["SD1", "SDXL"]
    drawn_by_loading: tuple[tuple[int, ...], ...]
    control_blocks: int
    adapter_in_middle: bool
    ip_adapter_layers: int
    reference_power: int
    control_versions: tuple[str, ...]
    control_name: re.Pattern[str] | None
    checkpoint_name: re.Pattern[str] | None
    encoder_keys: tuple[str, ...]
    class_width: int | None
    context_width: int
    pictures: Mapping[int, PictureKind]
    hybrid_inpainting: bool

    @property
    def takes_size(self) -> bool:
        """Whether the conditioning holds sizes."""
        return self.size_conditioning != "none"


SD1 = Family(
    name="SD1",
    loader="CheckpointLoaderSimple",
    empty_latent="EmptyLatentImage",
    latent_channels=4,
    prediction="eps",
    encoders=("CLIP-L",),
    embedding_width=768,
    heeds_clip_skip=True,
    pooled_text=False,
    zeroes_empty_negative=False,
    size_conditioning="none",
    schedule="SD1",
    drawn_by_loading=((1, 49408, 768), (1, 77, 768)),  # CLIP-L's embeddings: tokens, places
    control_blocks=13,
    adapter_in_middle=False,
    ip_adapter_layers=16,
    reference_power=1,
    control_versions=("SD1", "SD2"),
    control_name=re.compile(r"sd14|sd15|sd16"),
    checkpoint_name=re.compile(r"v1-[45]|sd[-_]?v?1[-_.]?[45]|(?<!\d)1\.5(?!\d)", re.IGNORECASE),
    encoder_keys=(
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        "cond_stage_model.transformer.embeddings.token_embedding.weight",
    ),
    class_width=None,
    context_width=768,
    pictures={5: "inpaint", 4: "edit"},
    hybrid_inpainting=True,
)
"""Stable Diffusion 1.x; what a checkpoint counts as where nothing tells its family."""

SD2 = Family(
    name="SD2",
    loader="CheckpointLoaderSimple",
    empty_latent="EmptyLatentImage",
    latent_channels=4,
    prediction="eps",
    encoders=("OpenCLIP-H",),
    embedding_width=1024,
    heeds_clip_skip=False,
    pooled_text=False,
    zeroes_empty_negative=False,
    size_conditioning="none",
    schedule="SD1",
    drawn_by_loading=(),
    control_blocks=13,
    adapter_in_middle=False,
    ip_adapter_layers=16,
    reference_power=1,
    control_versions=("SD1", "SD2"),
    control_name=re.compile(r"sd21|2\.1"),
    checkpoint_name=re.compile(r"v2-[01]|768-v|512-base|sd[-_]?2|2\.[01]", re.IGNORECASE),
    encoder_keys=("cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight",),
    class_width=None,
    context_width=1024,
    pictures={5: "inpaint"},
    hybrid_inpainting=True,
)
"""Stable Diffusion 2.x."""

SDXL = Family(
    name="SDXL",
    loader="CheckpointLoaderSimple",
    empty_latent="EmptyLatentImage",
    latent_channels=4,
    prediction="eps",
    encoders=("CLIP-L", "OpenCLIP-G"),
    embedding_width=2048,
    heeds_clip_skip=False,
    pooled_text=True,
    zeroes_empty_negative=True,
    size_conditioning="size",
    schedule="SDXL",
    drawn_by_loading=(),
    control_blocks=10,
    adapter_in_middle=True,
    ip_adapter_layers=11,
    reference_power=3,
    control_versions=("SDXL",),
    control_name=re.compile(r"xl"),
    checkpoint_name=re.compile(r"xl|pony|illustrious|noob", re.IGNORECASE),
    encoder_keys=("conditioner.embedders.1.model.ln_final.weight",),
    class_width=2816,
    context_width=2048,
    pictures={5: "inpaint"},
    hybrid_inpainting=False,
)
"""Stable Diffusion XL, and what was trained from it (Pony, Illustrious, NoobAI)."""

SDXL_REFINER = Family(
    name="SDXL-refiner",
    loader="CheckpointLoaderSimple",
    empty_latent="EmptyLatentImage",
    latent_channels=4,
    prediction="eps",
    encoders=("OpenCLIP-G",),
    embedding_width=1280,
    heeds_clip_skip=False,
    pooled_text=True,
    zeroes_empty_negative=True,
    size_conditioning="score",
    schedule="SDXL",
    drawn_by_loading=(),
    control_blocks=13,
    adapter_in_middle=False,
    ip_adapter_layers=11,
    reference_power=3,
    control_versions=("SDXL",),
    control_name=None,
    checkpoint_name=re.compile(r"xl.*refiner|refiner.*xl", re.IGNORECASE),
    encoder_keys=("conditioner.embedders.0.model.ln_final.weight",),
    class_width=2560,
    context_width=1280,
    pictures={},
    hybrid_inpainting=False,
)
"""The refiner of SDXL."""

FAMILIES: Mapping[str, Family] = {item.name: item for item in (SD1, SD2, SDXL, SDXL_REFINER)}
"""Every family that is translated, by name."""

DEFAULT = SD1

UNKNOWN = "unknown"
"""The architecture of a file that was read and shows no family of this file."""

_UNET_PREFIX = "model.diffusion_model."
_CLASS_EMBEDDING = f"{_UNET_PREFIX}label_emb.0.0.weight"
_CROSS_ATTENTION = (
    f"{_UNET_PREFIX}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    f"{_UNET_PREFIX}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
)

_BY_ENCODER = (SDXL, SDXL_REFINER, SD2, SD1)
"""Order in which text encoders are looked for: a key of SDXL's refiner is also in SDXL."""

_BY_NAME = (SDXL_REFINER, SDXL, SD2, SD1)

UNSUPPORTED: Mapping[str, tuple[str, ...]] = {
    "Flux.2": ("double_stream_modulation_img.lin.weight",),
    "Chroma": ("distilled_guidance_layer.in_proj.weight", "distilled_guidance_layer.norms.0.scale"),
    "Hunyuan Video": ("txt_in.individual_token_refiner.blocks.0.norm1.weight",),
    "Flux": ("double_blocks.0.img_attn.norm.key_norm.scale", "double_blocks.0.img_mod.lin.weight"),
    "Stable Diffusion 3": ("joint_blocks.0.context_block.attn.qkv.weight",),
    "AuraFlow": ("double_layers.0.attn.w1q.weight",),
    "Stable Cascade": ("clip_txt_mapper.weight", "clf.1.weight"),
    "HunyuanDiT": ("mlp_t5.0.weight",),
    "Lumina 2 or Z-Image": ("cap_embedder.1.weight",),
    "HiDream": ("caption_projection.0.linear.weight",),
    "PixArt": ("pos_embed.proj.weight", "t_block.1.weight"),
    "LTX Video": ("patchify_proj.weight",),
    "Wan": ("head.modulation",),
    "Qwen-Image": ("transformer_blocks.0.attn.norm_added_k.weight",),
    "Mochi": ("t5_yproj.weight",),
    "Cosmos": ("blocks.block0.blocks.0.block.attn.to_q.0.weight",),
}
"""Families that A1111's API on this worker does not know -> tensors, each of which tells one.

The names stand with or without ``model.diffusion_model.`` in a file. The first match counts.
"""


def of(architecture: str) -> Family:
    """The family of an architecture's name; the default's for a name that is none."""
    return FAMILIES.get(architecture, DEFAULT)


_UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"


def of_header(header: Header) -> str | None:
    """The architecture that a checkpoint's tensors show.

    As A1111's sd_models_config and sd_models_xl look for them: text encoders first, then the
    width of the class embedding, then that of the cross-attention.

    Returns:
        A name of `FAMILIES` or `UNSUPPORTED`, `UNKNOWN` where the tensors show neither, or None
        where there are no tensors (a file that was not read).
    """
    if not any(key != "__metadata__" for key in header):
        return None
    tellers: Sequence[Callable[[Header], str | None]] = (
        _by_encoder,
        _unsupported,
        _by_class,
        _by_context,
    )
    return next((name for tell in tellers if (name := tell(header))), UNKNOWN)


def picture_channels(header: Header) -> int | None:
    """Channels of a picture that a UNet of Stable Diffusion takes beside its latent of four.

    Returns:
        5 for inpainting checkpoints (mask and masked latent), 4 for instruct-pix2pix, 0 for others;
        None where the header shows no such UNet.
    """
    shape = (header.get(_UNET_INPUT) or {}).get("shape")
    return max(0, int(shape[1]) - DEFAULT.latent_channels) if shape and len(shape) == 4 else None


_PICTURE_NAMES: Mapping[PictureKind, re.Pattern[str]] = {
    "inpaint": re.compile(r"inpaint", re.IGNORECASE),
    "edit": re.compile(r"instruct[-_ ]?pix2pix|ip2p", re.IGNORECASE),
}


def picture_told_by_name(stem: str) -> PictureKind | None:
    """What a checkpoint's name suggests that it reads beside the latent, or None."""
    return next((kind for kind, name in _PICTURE_NAMES.items() if name.search(stem)), None)


def of_name(stem: str) -> str:
    """The architecture that a checkpoint's name suggests; the default's where it suggests none."""
    return told_by_name(stem) or DEFAULT.name


def told_by_name(stem: str) -> str | None:
    """The architecture that a checkpoint's name suggests, or None."""
    for family in _BY_NAME:
        if family.checkpoint_name and family.checkpoint_name.search(stem):
            return family.name
    return None


def control_version(name: str) -> str | None:
    """The version that a ControlNet model's name tells, as the extension reads it, or None."""
    lowered = name.lower()
    for family in FAMILIES.values():
        if family.control_name and family.control_name.search(lowered):
            return family.name
    return None


def _by_encoder(header: Header) -> str | None:
    for family in _BY_ENCODER:
        if any(key in header for key in family.encoder_keys):
            return family.name
    return None


def _unsupported(header: Header) -> str | None:
    for name, keys in UNSUPPORTED.items():
        if any(key in header or f"{_UNET_PREFIX}{key}" in header for key in keys):
            return name
    return None


def _by_class(header: Header) -> str | None:
    width = _width(header, _CLASS_EMBEDDING)
    return next((item.name for item in FAMILIES.values() if item.class_width == width), None)


def _by_context(header: Header) -> str | None:
    key = next((key for key in _CROSS_ATTENTION if key in header), None)
    if key is None:
        return None
    width = _width(header, key)
    return next((item.name for item in FAMILIES.values() if item.context_width == width), None)


def _width(header: Header, key: str) -> int:
    """A tensor's last dimension; 0 without one."""
    entry = header.get(key)
    shape = entry.get("shape") if isinstance(entry, dict) else None
    return int(shape[-1]) if shape else 0
