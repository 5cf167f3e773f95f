"""The ComfyUI nodes that the stages use, one short typed function each.

Names follow ComfyUI's; what a node does stands in ComfyUI's own documentation, and what ours do in
``custom_nodes/comfyui_a1111``. Nodes of ControlNet units stand with their stages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from translator.comfy.graph import (
    Clip,
    Conditioning,
    Graph,
    Guider,
    Image,
    Latent,
    Model,
    Noise,
    Sampler,
    Sigmas,
    UpscaleModel,
    Vae,
)


def load_checkpoint(graph: Graph, name: str) -> tuple[Model, Clip, Vae]:
    node = graph.add("CheckpointLoaderSimple", ckpt_name=name)
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


def empty_latent(graph: Graph, width: int, height: int, batch_size: int) -> Latent:
    node = graph.add("EmptyLatentImage", width=width, height=height, batch_size=batch_size)
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


def image_from_batch(graph: Graph, image: Image, index: int) -> Image:
    node = graph.add("ImageFromBatch", image=image, batch_index=index, length=1)
    return node.out(Image)


def model_sampling_discrete(graph: Graph, model: Model, sampling: str, zsnr: bool) -> Model:
    node = graph.add("ModelSamplingDiscrete", model=model, sampling=sampling, zsnr=zsnr)
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


def sampler_node(graph: Graph, node: str, settings: Mapping[str, Any]) -> Sampler:
    """One of the Sampler* nodes, such as SamplerDPMPP_SDE."""
    return graph.add(node, **settings).out(Sampler)


def basic_scheduler(
    graph: Graph, model: Model, scheduler: str, steps: int, denoise: float
) -> Sigmas:
    node = graph.add(
        "BasicScheduler", model=model, scheduler=scheduler, steps=steps, denoise=denoise
    )
    return node.out(Sigmas)


def a1111_text_encode(
    graph: Graph, clip: Clip, prompt: Mapping[str, Any], title: str, **settings: Any
) -> Conditioning:
    node = graph.add("A1111TextEncode", title=title, clip=clip, prompt=_json(prompt), **settings)
    return node.out(Conditioning)


def a1111_noise(
    graph: Graph, seeds: Sequence[int], subseeds: Sequence[int], **settings: Any
) -> Noise:
    node = graph.add("A1111Noise", seeds=_json(seeds), subseeds=_json(subseeds), **settings)
    return node.out(Noise)


def a1111_sigmas(graph: Graph, sigmas: Sequence[float]) -> Sigmas:
    return graph.add("A1111Sigmas", sigmas=_json(sigmas)).out(Sigmas)


def a1111_sampler(
    graph: Graph,
    sampler: str,
    *,
    timesteps: Sequence[int] | None,
    extra: Mapping[str, Any],
    **settings: Any,
) -> Sampler:
    node = graph.add(
        "A1111Sampler",
        sampler=sampler,
        timesteps="" if timesteps is None else _json(timesteps),
        extra=_json(extra) if extra else "",
        **settings,
    )
    return node.out(Sampler)


def a1111_model_sampling(graph: Graph, model: Model, **settings: Any) -> Model:
    return graph.add("A1111ModelSampling", model=model, **settings).out(Model)


def a1111_guider(
    graph: Graph, model: Model, positive: Conditioning, negative: Conditioning, **settings: Any
) -> Guider:
    node = graph.add("A1111Guider", model=model, positive=positive, negative=negative, **settings)
    return node.out(Guider)


def a1111_latent_upscale(
    graph: Graph, samples: Latent, width: int, height: int, mode: str, antialias: bool
) -> Latent:
    node = graph.add(
        "A1111LatentUpscale",
        samples=samples,
        width=width,
        height=height,
        mode=mode,
        antialias=antialias,
    )
    return node.out(Latent)


def a1111_latent_crop(
    graph: Graph, samples: Latent, left: int, top: int, right: int, bottom: int
) -> Latent:
    node = graph.add(
        "A1111LatentCrop", samples=samples, left=left, top=top, right=right, bottom=bottom
    )
    return node.out(Latent)


def a1111_vae_encode(graph: Graph, pixels: Image, vae: Vae, seed: int) -> Latent:
    return graph.add("A1111VAEEncode", pixels=pixels, vae=vae, seed=seed).out(Latent)


def a1111_image_scale(graph: Graph, image: Image, width: int, height: int, method: str) -> Image:
    node = graph.add("A1111ImageScale", image=image, width=width, height=height, method=method)
    return node.out(Image)


def a1111_upscale_with_model(
    graph: Graph, model: UpscaleModel, image: Image, **settings: Any
) -> Image:
    node = graph.add("A1111UpscaleWithModel", upscale_model=model, image=image, **settings)
    return node.out(Image)


def a1111_tiling(graph: Graph, model: Model, vae: Vae) -> tuple[Model, Vae]:
    node = graph.add("A1111Tiling", model=model, vae=vae)
    return node.out(Model), node.out(Vae, 1)


def a1111_face_restore(graph: Graph, image: Image, model: str, codeformer_weight: float) -> Image:
    node = graph.add(
        "A1111FaceRestore", image=image, model=model, codeformer_weight=codeformer_weight
    )
    return node.out(Image)


def a1111_image_grid(
    graph: Graph, images: Sequence[Image], rows: int, legend: str, background: str
) -> Image:
    """A1111ImageGrid, which takes its pictures as images, image_1, image_2 and so on."""
    first, *others = images
    more: dict[str, Any] = {f"image_{number}": image for number, image in enumerate(others, 1)}
    node = graph.add(
        "A1111ImageGrid", images=first, rows=rows, legend=legend, background=background, **more
    )
    return node.out(Image)


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


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
