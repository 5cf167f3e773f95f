"""ComfyUI's own nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from translator.comfy.graph import (
    Clip,
    ClipVision,
    ClipVisionOutput,
    Conditioning,
    ControlNet,
    Graph,
    Guider,
    HookKeyframes,
    Hooks,
    Image,
    Latent,
    Mask,
    Model,
    Noise,
    Sampler,
    Sigmas,
    StyleModel,
    UpscaleModel,
    Vae,
)


def load_checkpoint(graph: Graph, loader: str, name: str) -> tuple[Model, Clip, Vae]:
    """What a checkpoint holds, by a node such as CheckpointLoaderSimple."""
    node = graph.add(loader, ckpt_name=name)
    return node.out(Model), node.out(Clip, 1), node.out(Vae, 2)


def load_vae(graph: Graph, name: str) -> Vae:
    return graph.add("VAELoader", vae_name=name).out(Vae)


def clip_set_last_layer(graph: Graph, clip: Clip, stop_at: int) -> Clip:
    node = graph.add("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=stop_at)
    return node.out(Clip)


def load_lora(
    graph: Graph, model: Model, clip: Clip, name: str, unet: float, te: float
) -> tuple[Model, Clip]:
    node = graph.add(
        "LoraLoader",
        title=f"LoRA {name}",
        model=model,
        clip=clip,
        lora_name=name,
        strength_model=unet,
        strength_clip=te,
    )
    return node.out(Model), node.out(Clip, 1)


def lora_hook(graph: Graph, name: str, unet: float) -> Hooks:
    node = graph.add(
        "CreateHookLoraModelOnly", title=f"LoRA {name}", lora_name=name, strength_model=unet
    )
    return node.out(Hooks)


def set_hook_keyframes(graph: Graph, hooks: Hooks, frames: Iterable[tuple[float, float]]) -> Hooks:
    """Hooks whose strength changes.

    Args:
        frames: from which percent of the noise schedule on, and the factor.
    """
    before: HookKeyframes | None = None
    for percent, factor in frames:
        node = graph.add(
            "CreateHookKeyframe", strength_mult=factor, start_percent=percent, prev_hook_kf=before
        )
        before = node.out(HookKeyframes)
    return graph.add("SetHookKeyframes", hooks=hooks, hook_kf=before).out(Hooks)


def combine_hooks(graph: Graph, first: Hooks, second: Hooks) -> Hooks:
    return graph.add("CombineHooks2", hooks_A=first, hooks_B=second).out(Hooks)


def set_hooks(
    graph: Graph, positive: Conditioning, negative: Conditioning, hooks: Hooks
) -> tuple[Conditioning, Conditioning]:
    node = graph.add(
        "PairConditioningSetProperties",
        positive_NEW=positive,
        negative_NEW=negative,
        strength=1.0,
        set_cond_area="default",
        hooks=hooks,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)


def set_hooks_of_one(graph: Graph, conditioning: Conditioning, hooks: Hooks) -> Conditioning:
    """`set_hooks` for a prompt alone."""
    node = graph.add(
        "ConditioningSetProperties",
        cond_NEW=conditioning,
        strength=1.0,
        set_cond_area="default",
        hooks=hooks,
    )
    return node.out(Conditioning)


def load_hypernetwork(graph: Graph, model: Model, name: str, strength: float) -> Model:
    node = graph.add("HypernetworkLoader", model=model, hypernetwork_name=name, strength=strength)
    return node.out(Model)


def clip_text_encode(graph: Graph, clip: Clip, text: str, title: str | None = None) -> Conditioning:
    return graph.add("CLIPTextEncode", title=title, clip=clip, text=text).out(Conditioning)


def zero_out(graph: Graph, conditioning: Conditioning) -> Conditioning:
    return graph.add("ConditioningZeroOut", conditioning=conditioning).out(Conditioning)


def combine(graph: Graph, first: Conditioning, second: Conditioning) -> Conditioning:
    node = graph.add("ConditioningCombine", conditioning_1=first, conditioning_2=second)
    return node.out(Conditioning)


def concat(graph: Graph, to: Conditioning, tail: Conditioning) -> Conditioning:
    node = graph.add("ConditioningConcat", conditioning_to=to, conditioning_from=tail)
    return node.out(Conditioning)


def set_strength(graph: Graph, conditioning: Conditioning, strength: float) -> Conditioning:
    node = graph.add("ConditioningSetAreaStrength", conditioning=conditioning, strength=strength)
    return node.out(Conditioning)


def set_range(graph: Graph, conditioning: Conditioning, start: float, end: float) -> Conditioning:
    node = graph.add(
        "ConditioningSetTimestepRange", conditioning=conditioning, start=start, end=end
    )
    return node.out(Conditioning)


def empty_latent(graph: Graph, kind: str, width: int, height: int, batch_size: int) -> Latent:
    """Zeros by a node such as EmptyLatentImage; width and height in pixels."""
    node = graph.add(kind, width=width, height=height, batch_size=batch_size)
    return node.out(Latent)


def latent_upscale(graph: Graph, samples: Latent, method: str, width: int, height: int) -> Latent:
    node = graph.add(
        "LatentUpscale",
        samples=samples,
        upscale_method=method,
        width=width,
        height=height,
        crop="disabled",
    )
    return node.out(Latent)


def latent_crop(graph: Graph, samples: Latent, width: int, height: int, x: int, y: int) -> Latent:
    node = graph.add("LatentCrop", samples=samples, width=width, height=height, x=x, y=y)
    return node.out(Latent)


def repeat_image(graph: Graph, image: Image, amount: int) -> Image:
    return graph.add("RepeatImageBatch", image=image, amount=amount).out(Image)


def repeat_latent(graph: Graph, samples: Latent, amount: int) -> Latent:
    node = graph.add("RepeatLatentBatch", samples=samples, amount=amount)
    return node.out(Latent)


def inpaint_conditioning(
    graph: Graph,
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
    pixels: Image,
    mask: Mask,
) -> tuple[Conditioning, Conditioning]:
    """Conditioning with the picture around a mask, for inpainting checkpoints."""
    node = graph.add(
        "InpaintModelConditioning",
        positive=positive,
        negative=negative,
        vae=vae,
        pixels=pixels,
        mask=mask,
        noise_mask=False,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)


def edit_conditioning(
    graph: Graph, positive: Conditioning, negative: Conditioning, vae: Vae, pixels: Image
) -> tuple[Conditioning, Conditioning]:
    """Conditioning with a picture, for instruct-pix2pix checkpoints."""
    node = graph.add(
        "InstructPixToPixConditioning",
        positive=positive,
        negative=negative,
        vae=vae,
        pixels=pixels,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)


def set_noise_mask(graph: Graph, samples: Latent, mask: Mask) -> Latent:
    return graph.add("SetLatentNoiseMask", samples=samples, mask=mask).out(Latent)


def composite_latent(graph: Graph, under: Latent, over: Latent, mask: Mask) -> Latent:
    """`over` where the mask (at the size of the latents) is 1."""
    node = graph.add(
        "LatentCompositeMasked",
        destination=under,
        source=over,
        x=0,
        y=0,
        resize_source=False,
        mask=mask,
    )
    return node.out(Latent)


def vae_decode(graph: Graph, samples: Latent, vae: Vae) -> Image:
    return graph.add("VAEDecode", samples=samples, vae=vae).out(Image)


def vae_encode(graph: Graph, pixels: Image, vae: Vae) -> Latent:
    return graph.add("VAEEncode", pixels=pixels, vae=vae).out(Latent)


def image_scale(graph: Graph, image: Image, method: str, width: int, height: int) -> Image:
    node = graph.add(
        "ImageScale",
        image=image,
        upscale_method=method,
        width=width,
        height=height,
        crop="disabled",
    )
    return node.out(Image)


def image_crop(graph: Graph, image: Image, width: int, height: int, x: int, y: int) -> Image:
    return graph.add("ImageCrop", image=image, width=width, height=height, x=x, y=y).out(Image)


def empty_image(graph: Graph, width: int, height: int, color: int) -> Image:
    """A picture of one colour (0xRRGGBB)."""
    node = graph.add("EmptyImage", width=width, height=height, batch_size=1, color=color)
    return node.out(Image)


def paste(graph: Graph, under: Image, over: Image, x: int, y: int) -> Image:
    """ImageCompositeMasked without a mask: the second picture over the first."""
    node = graph.add(
        "ImageCompositeMasked", destination=under, source=over, x=x, y=y, resize_source=False
    )
    return node.out(Image)


def image_blend(graph: Graph, under: Image, over: Image, share: float) -> Image:
    """Both pictures mixed, `share` (0..1) of it the second's."""
    node = graph.add(
        "ImageBlend", image1=under, image2=over, blend_factor=share, blend_mode="normal"
    )
    return node.out(Image)


def load_upscale_model(graph: Graph, name: str) -> UpscaleModel:
    return graph.add("UpscaleModelLoader", model_name=name).out(UpscaleModel)


def image_upscale_with_model(graph: Graph, model: UpscaleModel, image: Image) -> Image:
    return graph.add("ImageUpscaleWithModel", upscale_model=model, image=image).out(Image)


def image_batch(graph: Graph, first: Image, second: Image) -> Image:
    return graph.add("ImageBatch", image1=first, image2=second).out(Image)


def batched(graph: Graph, images: Iterable[Image]) -> Image:
    """Some pictures of one size, at least one, as a batch; each joins those before it."""
    return reduce(lambda batch, image: image_batch(graph, batch, image), images)


def within_inputs(graph: Graph, images: Sequence[Image], inputs: int) -> list[Image]:
    """At most `inputs` outputs that hold all of some images in order, neighbours in one batch.

    A batch is joined by halves: one that grows picture by picture would be kept by ComfyUI at every
    length.
    """
    size = -(-len(images) // inputs)
    return [_joined(graph, images[start : start + size]) for start in range(0, len(images), size)]


def _joined(graph: Graph, images: Sequence[Image]) -> Image:
    if len(images) == 1:
        return images[0]
    half = len(images) // 2
    return image_batch(graph, _joined(graph, images[:half]), _joined(graph, images[half:]))


def image_from_batch(graph: Graph, image: Image, index: int) -> Image:
    node = graph.add("ImageFromBatch", image=image, batch_index=index, length=1)
    return node.out(Image)


def model_sampling_discrete(graph: Graph, model: Model, sampling: str, zsnr: bool) -> Model:
    node = graph.add("ModelSamplingDiscrete", model=model, sampling=sampling, zsnr=zsnr)
    return node.out(Model)


def free_u(
    graph: Graph, model: Model, *, b1: float, b2: float, s1: float, s2: float, first: bool
) -> Model:
    """FreeU_V2, or with `first` FreeU."""
    node = graph.add("FreeU" if first else "FreeU_V2", model=model, b1=b1, b2=b2, s1=s1, s2=s2)
    return node.out(Model)


def self_attention_guidance(graph: Graph, model: Model, scale: float, blur_sigma: float) -> Model:
    node = graph.add("SelfAttentionGuidance", model=model, scale=scale, blur_sigma=blur_sigma)
    return node.out(Model)


def perturbed_attention_guidance(graph: Graph, model: Model, scale: float) -> Model:
    return graph.add("PerturbedAttentionGuidance", model=model, scale=scale).out(Model)


def patch_model_add_downscale(graph: Graph, model: Model, **settings: Any) -> Model:
    return graph.add("PatchModelAddDownscale", model=model, **settings).out(Model)


def rescale_cfg(graph: Graph, model: Model, multiplier: float) -> Model:
    return graph.add("RescaleCFG", model=model, multiplier=multiplier).out(Model)


def hyper_tile(
    graph: Graph, model: Model, tile_size: int, swap_size: int, depth: int, *, scales: bool
) -> Model:
    node = graph.add(
        "HyperTile",
        model=model,
        tile_size=tile_size,
        swap_size=swap_size,
        max_depth=depth,
        scale_depth=scales,
    )
    return node.out(Model)


def token_merging(graph: Graph, model: Model, ratio: float) -> Model:
    return graph.add("TomePatchModel", model=model, ratio=ratio).out(Model)


def ksampler(
    graph: Graph,
    *,
    model: Model,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    denoise: float,
) -> Latent:
    node = graph.add(
        "KSampler",
        model=model,
        seed=seed,
        steps=steps,
        cfg=cfg,
        sampler_name=sampler_name,
        scheduler=scheduler,
        positive=positive,
        negative=negative,
        latent_image=latent,
        denoise=denoise,
    )
    return node.out(Latent)


def sampler_custom(
    graph: Graph, *, noise: Noise, guider: Guider, sampler: Sampler, sigmas: Sigmas, latent: Latent
) -> Latent:
    """SamplerCustomAdvanced"""
    node = graph.add(
        "SamplerCustomAdvanced",
        noise=noise,
        guider=guider,
        sampler=sampler,
        sigmas=sigmas,
        latent_image=latent,
    )
    return node.out(Latent)


def ksampler_advanced(
    graph: Graph,
    *,
    model: Model,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    start: int,
    end: int,
    add_noise: bool,
    leftover_noise: bool,
) -> Latent:
    node = graph.add(
        "KSamplerAdvanced",
        model=model,
        add_noise=_enabled(add_noise),
        noise_seed=seed,
        steps=steps,
        cfg=cfg,
        sampler_name=sampler_name,
        scheduler=scheduler,
        positive=positive,
        negative=negative,
        latent_image=latent,
        start_at_step=start,
        end_at_step=end,
        return_with_leftover_noise=_enabled(leftover_noise),
    )
    return node.out(Latent)


def random_noise(graph: Graph, seed: int) -> Noise:
    return graph.add("RandomNoise", noise_seed=seed).out(Noise)


def cfg_guider(
    graph: Graph, model: Model, positive: Conditioning, negative: Conditioning, cfg: float
) -> Guider:
    node = graph.add("CFGGuider", model=model, positive=positive, negative=negative, cfg=cfg)
    return node.out(Guider)


def dual_cfg_guider(
    graph: Graph,
    model: Model,
    positive: Conditioning,
    middle: Conditioning,
    negative: Conditioning,
    cfg: float,
    middle_cfg: float,
) -> Guider:
    """negative + middle_cfg * (middle - negative) + cfg * (positive - middle)."""
    node = graph.add(
        "DualCFGGuider",
        model=model,
        cond1=positive,
        cond2=middle,
        negative=negative,
        cfg_conds=cfg,
        cfg_cond2_negative=middle_cfg,
        style="regular",
    )
    return node.out(Guider)


def sampler_node(graph: Graph, node: str, settings: Mapping[str, Any]) -> Sampler:
    """One of the Sampler* nodes, such as SamplerDPMPP_SDE."""
    return graph.add(node, **settings).out(Sampler)


def ksampler_select(graph: Graph, sampler_name: str) -> Sampler:
    """One of core's samplers, with the numbers that it has by default."""
    return graph.add("KSamplerSelect", sampler_name=sampler_name).out(Sampler)


def split_sigmas(graph: Graph, sigmas: Sigmas, step: int) -> Sigmas:
    """The sigmas from a step on."""
    return graph.add("SplitSigmas", sigmas=sigmas, step=step).out(Sigmas, 1)


def image_scale_to_cover(graph: Graph, image: Image, method: str, width: int, height: int) -> Image:
    """A picture scaled until it covers the size, and cut to it around the middle."""
    node = graph.add(
        "ImageScale",
        image=image,
        upscale_method=method,
        width=width,
        height=height,
        crop="center",
    )
    return node.out(Image)


def basic_scheduler(
    graph: Graph, model: Model, scheduler: str, steps: int, denoise: float
) -> Sigmas:
    node = graph.add(
        "BasicScheduler", model=model, scheduler=scheduler, steps=steps, denoise=denoise
    )
    return node.out(Sigmas)


def load_image(graph: Graph, name: str) -> tuple[Image, Mask]:
    """A picture of ComfyUI's input folder, and its transparency (1 = see-through)."""
    node = graph.add("LoadImage", image=name)
    return node.out(Image), node.out(Mask, 1)


def load_image_mask(graph: Graph, name: str) -> Mask:
    """The red channel of a picture of ComfyUI's input folder."""
    return graph.add("LoadImageMask", image=name, channel="red").out(Mask)


def no_noise(graph: Graph) -> Noise:
    return graph.add("DisableNoise").out(Noise)


def feather_mask(graph: Graph, mask: Mask, left: int, top: int) -> Mask:
    """A mask that rises to its value over `left` columns and `top` rows."""
    node = graph.add("FeatherMask", mask=mask, left=left, top=top, right=0, bottom=0)
    return node.out(Mask)


def paste_masked(
    graph: Graph,
    under: Image,
    over: Image,
    mask: Mask,
    title: str | None = None,
    x: int = 0,
    y: int = 0,
) -> Image:
    """ImageCompositeMasked: the second picture over the first where the mask is 1."""
    node = graph.add(
        "ImageCompositeMasked",
        title=title,
        destination=under,
        source=over,
        mask=mask,
        x=x,
        y=y,
        resize_source=False,
    )
    return node.out(Image)


def load_alpha_mask(graph: Graph, name: str) -> Mask:
    """The transparency of a picture: 1 where it is transparent."""
    return graph.add("LoadImageMask", image=name, channel="alpha").out(Mask)


def invert_mask(graph: Graph, mask: Mask) -> Mask:
    return graph.add("InvertMask", mask=mask).out(Mask)


def threshold_mask(graph: Graph, mask: Mask, value: float) -> Mask:
    return graph.add("ThresholdMask", mask=mask, value=value).out(Mask)


def image_blur(graph: Graph, image: Image, radius: int, sigma: float) -> Image:
    return graph.add("ImageBlur", image=image, blur_radius=radius, sigma=sigma).out(Image)


def mask_to_image(graph: Graph, mask: Mask) -> Image:
    return graph.add("MaskToImage", mask=mask).out(Image)


def image_to_mask(graph: Graph, image: Image) -> Mask:
    """A picture's red channel."""
    return graph.add("ImageToMask", image=image, channel="red").out(Mask)


def solid_mask(graph: Graph, value: float, width: int, height: int) -> Mask:
    return graph.add("SolidMask", value=value, width=width, height=height).out(Mask)


def crop_mask(graph: Graph, mask: Mask, width: int, height: int, x: int, y: int) -> Mask:
    return graph.add("CropMask", mask=mask, x=x, y=y, width=width, height=height).out(Mask)


def mask_multiply(graph: Graph, first: Mask, second: Mask, x: int = 0, y: int = 0) -> Mask:
    """MaskComposite: both masks' product where the second lies on the first, at (x, y)."""
    node = graph.add(
        "MaskComposite", destination=first, source=second, x=x, y=y, operation="multiply"
    )
    return node.out(Mask)


def join_image_with_alpha(graph: Graph, image: Image, alpha: Mask) -> Image:
    """A picture with transparency (1 = see-through)."""
    return graph.add("JoinImageWithAlpha", image=image, alpha=alpha).out(Image)


def load_control_net(graph: Graph, name: str) -> ControlNet:
    return graph.add("ControlNetLoader", control_net_name=name).out(ControlNet)


def set_union_control_net_type(graph: Graph, control_net: ControlNet, task: str) -> ControlNet:
    return graph.add("SetUnionControlNetType", control_net=control_net, type=task).out(ControlNet)


def control_net_apply(
    graph: Graph,
    *,
    title: str,
    positive: Conditioning,
    negative: Conditioning,
    control_net: ControlNet,
    image: Image,
    strength: float,
    start: float,
    end: float,
) -> tuple[Conditioning, Conditioning]:
    """ControlNetApplyAdvanced; `start` and `end` are shares of the schedule."""
    node = graph.add(
        "ControlNetApplyAdvanced",
        title=title,
        positive=positive,
        negative=negative,
        control_net=control_net,
        image=image,
        strength=strength,
        start_percent=start,
        end_percent=end,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)


def load_clip_vision(graph: Graph, name: str) -> ClipVision:
    return graph.add("CLIPVisionLoader", clip_name=name).out(ClipVision)


def clip_vision_encode(graph: Graph, clip_vision: ClipVision, image: Image) -> ClipVisionOutput:
    """What CLIP sees of a picture that has its size already."""
    node = graph.add("CLIPVisionEncode", clip_vision=clip_vision, image=image, crop="none")
    return node.out(ClipVisionOutput)


def unclip_conditioning(
    graph: Graph,
    conditioning: Conditioning,
    clip_vision_output: ClipVisionOutput,
    strength: float,
    noise_augmentation: float,
) -> Conditioning:
    node = graph.add(
        "unCLIPConditioning",
        conditioning=conditioning,
        clip_vision_output=clip_vision_output,
        strength=strength,
        noise_augmentation=noise_augmentation,
    )
    return node.out(Conditioning)


def load_style_model(graph: Graph, name: str) -> StyleModel:
    return graph.add("StyleModelLoader", style_model_name=name).out(StyleModel)


def style_model_apply(
    graph: Graph,
    *,
    title: str,
    conditioning: Conditioning,
    style_model: StyleModel,
    clip_vision_output: ClipVisionOutput,
    strength: float,
) -> Conditioning:
    node = graph.add(
        "StyleModelApply",
        title=title,
        conditioning=conditioning,
        style_model=style_model,
        clip_vision_output=clip_vision_output,
        strength=strength,
        strength_type="multiply",
    )
    return node.out(Conditioning)


_OUTPUT_NODES: Mapping[str, str] = {
    "save": "SaveImage",
    "preview": "PreviewImage",
    "websocket": "SaveImageWebsocket",
}


def output_image(graph: Graph, image: Image, how: str, title: str) -> str:
    """The node that ends an image, see `Options.image_output`; its id."""
    prefix = {"filename_prefix": "a1111"} if how == "save" else {}
    return graph.add(_OUTPUT_NODES[how], title=title, images=image, **prefix).id


def _enabled(value: bool) -> str:
    return "enable" if value else "disable"
