"""The nodes of our own pack, ``custom_nodes/comfyui_a1111``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translator.comfy.graph import (
    BboxDetector,
    Clip,
    ClipVision,
    ClipVisionOutput,
    Conditioning,
    ControlNet,
    Graph,
    Guider,
    Hooks,
    Image,
    Latent,
    Mask,
    Model,
    Noise,
    Number,
    Ref,
    Regions,
    Sampler,
    SegmDetector,
    Sigmas,
    Text,
    UpscaleModel,
    Vae,
)
from translator.comfy.nodes.instantid import FaceAnalysis, FaceEmbeds
from translator.comfy.nodes.ipadapter import InsightFace


class Overlay(Ref):
    """A1111_OVERLAY: what an inpainting puts back over its results"""

    __slots__ = ()


class Upscaler(Ref):
    """A1111_UPSCALER: what enlarges pictures where a resize mode does"""

    __slots__ = ()


A1111_CONTROL_NET_NODES = (
    "A1111ControlNetFit",
    "A1111ControlNetImage",
    "A1111ControlNetInput",
    "A1111ControlNetOnWhite",
    "A1111ControlNetReference",
    "A1111AverageImagePrompts",
    "A1111FaceFound",
    "A1111LargestFace",
    "A1111FaceTokens",
    "A1111LayerWeights",
    "A1111PooledControlNet",
    "A1111ControlNetClipImage",
    "A1111AdapterFeatures",
    "A1111ControlLLLite",
    "A1111ControlNetAnyline",
    "A1111ControlNetRecolor",
    "A1111ControlNetPaste",
    "A1111ControlNetColorFix",
    "A1111ControlNetInpaintOnly",
    "A1111ControlNetAttention",
    "A1111Revision",
    "A1111InstantIDControlNet",
)
"""The pack's nodes for ControlNet units; ``exact`` ControlNet has all of them or none."""


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


def a1111_noise_over_latent(graph: Graph, noise: Noise, model: Model, latent: Latent) -> Noise:
    """Noise whose every draw is laid over a latent."""
    node = graph.add("A1111NoiseOverLatent", noise=noise, model=model, latent=latent)
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


def a1111_image_conditioning(
    graph: Graph,
    vae: Vae,
    samples: Latent,
    pixels: Image | None,
    mask: Mask | None,
    *,
    drawn: Sequence[Sequence[int]],
    **settings: Any,
) -> Latent:
    """What A1111Guider joins to the latent for a checkpoint that reads a picture beside it."""
    node = graph.add(
        "A1111ImageConditioning",
        vae=vae,
        samples=samples,
        **settings,
        drawn=_json(drawn),
        pixels=pixels,
        mask=mask,
    )
    return node.out(Latent)


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


def a1111_vae_encode(
    graph: Graph,
    pixels: Image,
    vae: Vae,
    seed: Number | int,
    drawn: Sequence[Sequence[int]] = (),
    upscaled: tuple[UpscaleModel, tuple[int, int]] | None = None,
) -> Latent:
    """A latent of a picture.

    Args:
        drawn: shapes of what was drawn from the seed before.
        upscaled: the model that enlarged the picture, and its size before.
    """
    model, before = upscaled or (None, None)
    node = graph.add(
        "A1111VAEEncode",
        pixels=pixels,
        vae=vae,
        seed=seed,
        drawn=_json(drawn) if drawn else None,
        upscale_model=model,
        upscaled_from=_json(before) if before else None,
    )
    return node.out(Latent)


def a1111_image_scale(graph: Graph, image: Image, width: int, height: int, method: str) -> Image:
    node = graph.add("A1111ImageScale", image=image, width=width, height=height, method=method)
    return node.out(Image)


def a1111_upscale_with_model(
    graph: Graph, model: UpscaleModel, image: Image, **settings: Any
) -> Image:
    node = graph.add("A1111UpscaleWithModel", upscale_model=model, image=image, **settings)
    return node.out(Image)


def a1111_tiled_diffusion(
    graph: Graph, model: Model, regions: Sequence[Sequence[Any]], **settings: Any
) -> Model:
    placed = _json(regions) if regions else None
    return graph.add("A1111TiledDiffusion", model=model, **settings, regions=placed).out(Model)


def a1111_attention_couple(
    graph: Graph,
    model: Model,
    size: tuple[int, int],
    boxes: Sequence[Sequence[float]],
    texts: Sequence[Conditioning],
    masks: Mapping[int, Image],
) -> Model:
    """A1111AttentionCouple, which takes its regions as region, region_1, region_2 and so on.

    Args:
        masks: of the regions that have one, by their positions.
    """
    first, *others = texts
    more: dict[str, Any] = {f"region_{number}": text for number, text in enumerate(others, 1)}
    more |= {f"mask_{number}": mask for number, mask in masks.items()}
    node = graph.add(
        "A1111AttentionCouple",
        model=model,
        width=size[0],
        height=size[1],
        boxes=_json(boxes),
        region=first,
        **more,
    )
    return node.out(Model)


def a1111_regional_prompter(
    graph: Graph,
    model: Model,
    *,
    lines: Sequence[Any],
    base_shares: Sequence[float],
    texts: Sequence[Any],
    negative_texts: Sequence[Any],
    **settings: Any,
) -> Model:
    node = graph.add(
        "A1111RegionalPrompter",
        model=model,
        lines=_json(lines),
        base_shares=_json(base_shares),
        texts=_json(texts) if texts else None,
        negative_texts=_json(negative_texts) if negative_texts else None,
        **settings,
    )
    return node.out(Model)


def a1111_join_parts(graph: Graph, parts: Sequence[Conditioning]) -> Conditioning:
    """A1111JoinParts, which takes its parts as part, part_1, part_2 and so on."""
    first, *others = parts
    more: dict[str, Any] = {f"part_{number}": part for number, part in enumerate(others, 1)}
    return graph.add("A1111JoinParts", part=first, **more).out(Conditioning)


def a1111_free_u(
    graph: Graph, model: Model, *, stages: Sequence[Any], range: Sequence[float], **settings: Any
) -> Model:
    node = graph.add(
        "A1111FreeU", model=model, stages=_json(stages), range=_json(range), **settings
    )
    return node.out(Model)


def a1111_perturbed_attention(graph: Graph, model: Model, **settings: Any) -> Model:
    return graph.add("A1111PerturbedAttention", model=model, **settings).out(Model)


def a1111_tiling(graph: Graph, model: Model, vae: Vae) -> tuple[Model, Vae]:
    node = graph.add("A1111Tiling", model=model, vae=vae)
    return node.out(Model), node.out(Vae, 1)


def a1111_lora_blocks(
    graph: Graph,
    model: Model,
    clip: Clip,
    name: str,
    unet: float,
    te: float,
    weights: Mapping[str, Any],
) -> tuple[Model, Clip]:
    node = graph.add(
        "A1111LoraBlocks",
        title=f"LoRA {name}",
        model=model,
        clip=clip,
        lora_name=name,
        strength_model=unet,
        strength_clip=te,
        weights=_json(weights),
    )
    return node.out(Model), node.out(Clip, 1)


def a1111_lora_blocks_hook(
    graph: Graph, name: str, unet: float, weights: Mapping[str, Any]
) -> Hooks:
    node = graph.add(
        "A1111LoraBlocksHook",
        title=f"LoRA {name}",
        lora_name=name,
        strength_model=unet,
        weights=_json(weights),
    )
    return node.out(Hooks)


def a1111_face_restore(graph: Graph, image: Image, model: str, codeformer_weight: float) -> Image:
    node = graph.add(
        "A1111FaceRestore", image=image, model=model, codeformer_weight=codeformer_weight
    )
    return node.out(Image)


def a1111_face_swap_result(
    graph: Graph, image: Image, swapped: Image, processed: Image, forced: bool
) -> Image:
    """What a face swapper made of a picture; `forced` takes it unswapped as well."""
    node = graph.add(
        "A1111FaceSwapResult", image=image, swapped=swapped, processed=processed, forced=forced
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


def a1111_upscaler(
    graph: Graph, method: str, tile: int, tile_overlap: int, model: UpscaleModel | None
) -> Upscaler:
    node = graph.add(
        "A1111Upscaler",
        method=method,
        tile=tile,
        tile_overlap=tile_overlap,
        upscale_model=model,
    )
    return node.out(Upscaler)


def a1111_flatten(graph: Graph, image: Image, alpha: Mask, color: str) -> Image:
    return graph.add("A1111Flatten", image=image, alpha=alpha, color=color).out(Image)


def a1111_resize_image(
    graph: Graph,
    image: Image,
    width: int,
    height: int,
    resize_mode: int,
    upscaler: Upscaler | None,
) -> Image:
    node = graph.add(
        "A1111ResizeImage",
        image=image,
        width=width,
        height=height,
        resize_mode=resize_mode,
        upscaler=upscaler,
    )
    return node.out(Image)


def a1111_inpaint_mask(
    graph: Graph,
    image: Image,
    alpha: Mask | None,
    *,
    rounds: bool,
    invert: bool,
    blur: tuple[int, int],
) -> Mask:
    node = graph.add(
        "A1111InpaintMask",
        image=image,
        alpha=alpha,
        round=rounds,
        invert=invert,
        blur_x=blur[0],
        blur_y=blur[1],
    )
    return node.out(Mask)


def a1111_inpaint(
    graph: Graph,
    image: Image,
    mask: Mask,
    upscaler: Upscaler | None,
    latent_mask: Mask | None,
    before: Overlay | None,
    **settings: Any,
) -> tuple[Image, Mask, Overlay]:
    node = graph.add(
        "A1111Inpaint",
        image=image,
        mask=mask,
        upscaler=upscaler,
        latent_mask=latent_mask,
        before=before,
        **settings,
    )
    return node.out(Image), node.out(Mask, 1), node.out(Overlay, 2)


def a1111_inpaint_latent(
    graph: Graph,
    samples: Latent,
    mask: Mask,
    *,
    rounds: bool,
    content: str,
    seeds: Sequence[int],
    source: str,
    model: Model | None,
) -> Latent:
    node = graph.add(
        "A1111InpaintLatent",
        samples=samples,
        mask=mask,
        round=rounds,
        content=content,
        seeds=_json(seeds),
        source=source,
        model=model,
    )
    return node.out(Latent)


def a1111_soft_inpaint(
    graph: Graph, overlay: Overlay, start: Latent, samples: Latent, model: Model, **settings: Any
) -> Overlay:
    node = graph.add(
        "A1111SoftInpaint",
        overlay=overlay,
        start=start,
        samples=samples,
        model=model,
        **settings,
    )
    return node.out(Overlay)


def a1111_color_correction(graph: Graph, image: Image, source: Image) -> Image:
    return graph.add("A1111ColorCorrection", image=image, source=source).out(Image)


def a1111_overlay(
    graph: Graph, image: Image, overlay: Overlay, covers: bool, upscaler: Upscaler | None
) -> tuple[Image, Image, Image]:
    """The results put back, the overlay's mask, and the results alone."""
    node = graph.add("A1111Overlay", image=image, overlay=overlay, covers=covers, upscaler=upscaler)
    return node.out(Image), node.out(Image, 1), node.out(Image, 2)


def a1111_reversing_sampler(graph: Graph, sigma_adjustment: bool) -> Sampler:
    node = graph.add("A1111ReversingSampler", sigma_adjustment=sigma_adjustment)
    return node.out(Sampler)


def a1111_reversed_noise(
    graph: Graph,
    noise: Noise,
    model: Model,
    latent: Latent,
    found: Latent,
    randomness: float,
    sigma_max: float,
) -> Noise:
    node = graph.add(
        "A1111ReversedNoise",
        noise=noise,
        model=model,
        latent=latent,
        found=found,
        randomness=randomness,
        sigma_max=sigma_max,
    )
    return node.out(Noise)


def a1111_inverting_sampler(graph: Graph, retouch: float) -> Sampler:
    return graph.add("A1111InvertingSampler", retouch=retouch).out(Sampler)


def a1111_inverted_noise(graph: Graph, noise: Noise, model: Model, **settings: Any) -> Noise:
    return graph.add("A1111InvertedNoise", noise=noise, model=model, **settings).out(Noise)


def a1111_enlarge_by(graph: Graph, image: Image, factor: float, upscaler: Upscaler | None) -> Image:
    node = graph.add("A1111EnlargeBy", image=image, factor=factor, upscaler=upscaler)
    return node.out(Image)


def a1111_join_tiles(
    graph: Graph,
    tiles: Sequence[Image],
    size: tuple[int, int],
    columns: Sequence[int],
    rows: Sequence[int],
    tile: tuple[int, int],
    overlap: int,
) -> Image:
    """A1111JoinTiles, which takes its tiles as images, image_1, image_2 and so on.

    Args:
        tiles: as many as the node has inputs; batches count each picture.
    """
    first, *others = tiles
    more: dict[str, Any] = {f"image_{number}": image for number, image in enumerate(others, 1)}
    node = graph.add(
        "A1111JoinTiles",
        images=first,
        width=size[0],
        height=size[1],
        columns=_json(columns),
        rows=_json(rows),
        tile_width=tile[0],
        tile_height=tile[1],
        overlap=overlap,
        **more,
    )
    return node.out(Image)


def a1111_outpaint_noise(
    graph: Graph, image: Image, mask: Mask, falloff: float, colors: float
) -> Image:
    node = graph.add("A1111OutpaintNoise", image=image, mask=mask, falloff=falloff, colors=colors)
    return node.out(Image)


def a1111_control_net_crop(
    graph: Graph, image: Image, area: Mask, mask: Mask | None, **settings: Any
) -> tuple[Image, Mask]:
    node = graph.add("A1111ControlNetCrop", image=image, area=area, mask=mask, **settings)
    return node.out(Image), node.out(Mask, 1)


def a1111_face_tensor(
    graph: Graph, image: Image, faces: FaceAnalysis | InsightFace, *, normed: bool
) -> Text:
    """A face's embedding, saved by torch, in base64."""
    name = "faceanalysis" if isinstance(faces, FaceAnalysis) else "insightface"
    inputs: dict[str, Any] = {"image": image, "normed": normed, name: faces}
    return graph.add("A1111FaceTensor", **inputs).out(Text)


def a1111_average_image_prompts(
    graph: Graph,
    model: Model,
    other: Model,
    count: int,
    tokens: FaceEmbeds | None,
    other_tokens: FaceEmbeds | None,
) -> tuple[Model, FaceEmbeds | None]:
    """The mean of one more picture than `count`; tokens where there are some."""
    node = graph.add(
        "A1111AverageImagePrompts",
        model=model,
        other=other,
        count=count,
        face_embeds=tokens,
        other_face_embeds=other_tokens,
    )
    return node.out(Model), None if tokens is None else node.out(FaceEmbeds, 1)


def a1111_control_net_clip_image(graph: Graph, image: Image, mask: Mask | None) -> Image:
    """A picture as the extension shows it to CLIP; CLIP's mean colour where `mask` is white."""
    return graph.add("A1111ControlNetClipImage", image=image, mask=mask).out(Image)


def a1111_face_tokens(
    graph: Graph,
    *,
    title: str,
    model: Model,
    insight_face: InsightFace,
    image: Image,
    clip_vision_output: ClipVisionOutput | None,
    shortcut: bool,
) -> Model:
    """An image prompt by FaceID with the tokens that the extension makes of its picture."""
    node = graph.add(
        "A1111FaceTokens",
        title=title,
        model=model,
        insightface=insight_face,
        image=image,
        clip_vision_output=clip_vision_output,
        shortcut=shortcut or None,
    )
    return node.out(Model)


def a1111_layer_weights(graph: Graph, model: Model, weights: Sequence[float]) -> Model:
    """A model whose last image prompt has a weight for each layer, in the order of the UNet."""
    return graph.add("A1111LayerWeights", model=model, weights=_json(list(weights))).out(Model)


def a1111_pooled_control_net(graph: Graph, control_net: ControlNet, pools: bool) -> ControlNet:
    """A ControlNet whose residuals are averaged over the picture, or are not."""
    node = graph.add("A1111PooledControlNet", control_net=control_net, pools=pools)
    return node.out(ControlNet)


def a1111_adapter_features(
    graph: Graph, control_net: ControlNet, image: Image | None
) -> ControlNet:
    """A T2I-Adapter whose features fit the UNet's blocks; with `image`, that picture's."""
    node = graph.add("A1111AdapterFeatures", control_net=control_net, image=image)
    return node.out(ControlNet)


def a1111_control_lllite(
    graph: Graph,
    *,
    title: str,
    model: Model,
    control_net: ControlNet,
    image: Image,
    strength: float,
    start: float,
    end: float,
) -> Model:
    """A ControlLLLite in the model's attention; `start`, `end` are shares of the schedule."""
    node = graph.add(
        "A1111ControlLLLite",
        title=title,
        model=model,
        control_net=control_net,
        image=image,
        strength=strength,
        start_percent=start,
        end_percent=end,
    )
    return node.out(Model)


def a1111_clip_tensor(graph: Graph, clip_vision: ClipVision, image: Image) -> Text:
    """What CLIP makes of a picture, saved by torch, in base64."""
    return graph.add("A1111ClipTensor", clip_vision=clip_vision, image=image).out(Text)


def a1111_largest_face(graph: Graph, insight_face: InsightFace) -> InsightFace:
    return graph.add("A1111LargestFace", insightface=insight_face).out(InsightFace)


def a1111_control_net_fit(
    graph: Graph,
    image: Image,
    width: int,
    height: int,
    resize_mode: str,
    mask: Mask | None = None,
) -> tuple[Image, Mask]:
    """A map, and its mask if it has one (else an empty one), at the size of a pass."""
    node = graph.add(
        "A1111ControlNetFit",
        image=image,
        width=width,
        height=height,
        resize_mode=resize_mode,
        mask=mask,
    )
    return node.out(Image), node.out(Mask, 1)


def a1111_control_net_image(graph: Graph, image: Image, processor_res: int) -> Image:
    """A picture as a preprocessor gets it: short side scaled, padded to a multiple of 64."""
    node = graph.add("A1111ControlNetImage", image=image, processor_res=processor_res, pad=True)
    return node.out(Image)


def a1111_control_net_on_white(graph: Graph, image: Image, transparency: Mask) -> Image:
    """A picture laid on white where a mask says that nothing covers."""
    node = graph.add(
        "A1111ControlNetOnWhite", title="On white", image=image, transparency=transparency
    )
    return node.out(Image)


def a1111_control_net_reference(
    graph: Graph,
    *,
    title: str,
    model: Model,
    source: Latent,
    module: str,
    weight: float,
    style_fidelity: float,
    start: float,
    end: float,
    seed: int,
    drawn: int,
    tells_negative: bool,
) -> Model:
    """A reference picture in a model's self-attention; see the node for `seed` and `drawn`."""
    node = graph.add(
        "A1111ControlNetReference",
        title=title,
        model=model,
        source=source,
        module=module,
        weight=weight,
        style_fidelity=style_fidelity,
        start=start,
        end=end,
        seed=seed,
        drawn=drawn,
        tells_negative=tells_negative,
    )
    return node.out(Model)


def a1111_control_net_input(graph: Graph, image: Image, mask: Mask) -> Image:
    """The drawing that a mask is, or else the picture."""
    return graph.add("A1111ControlNetInput", image=image, mask=mask).out(Image)


def a1111_control_net_recolor(
    graph: Graph, image: Image, control_map: Image, channel: str
) -> Image:
    node = graph.add(
        "A1111ControlNetRecolor", image=image, control_map=control_map, channel=channel
    )
    return node.out(Image)


def a1111_control_net_paste(
    graph: Graph, image: Image, source: Image, mask: Mask, blur: int
) -> Image:
    node = graph.add("A1111ControlNetPaste", image=image, source=source, mask=mask, blur=blur)
    return node.out(Image)


def a1111_control_net_color_fix(
    graph: Graph,
    *,
    title: str,
    model: Model,
    source: Latent,
    radius: int,
    sharpness: float,
    weight: float,
) -> Model:
    node = graph.add(
        "A1111ControlNetColorFix",
        title=title,
        model=model,
        source=source,
        radius=radius,
        sharpness=sharpness,
        weight=weight,
    )
    return node.out(Model)


def a1111_control_net_inpaint_only(
    graph: Graph, *, title: str, model: Model, source: Latent, mask: Mask, weight: float
) -> Model:
    node = graph.add(
        "A1111ControlNetInpaintOnly",
        title=title,
        model=model,
        source=source,
        mask=mask,
        weight=weight,
    )
    return node.out(Model)


def a1111_control_net_attention(graph: Graph, model: Model, owner: str) -> Model:
    """Attention patches become the model's own; `owner` names what is patched next."""
    return graph.add("A1111ControlNetAttention", model=model, owner=owner).out(Model)


def a1111_instant_id_control_net(
    graph: Graph,
    *,
    title: str,
    face_embeds: FaceEmbeds,
    control_net: ControlNet,
    keypoints: Image,
    positive: Conditioning,
    negative: Conditioning,
    strength: float,
    start: float,
    end: float,
    positive_only: bool = False,
) -> tuple[Conditioning, Conditioning]:
    """As `instant_id_apply_control_net`, but the face reaches this ControlNet only.

    Args:
        positive_only: whether the negative prompt gets the positive one's tokens.
    """
    node = graph.add(
        "A1111InstantIDControlNet",
        title=title,
        face_embeds=face_embeds,
        control_net=control_net,
        image_kps=keypoints,
        positive=positive,
        negative=negative,
        strength=strength,
        start_at=start,
        end_at=end,
        positive_only=positive_only or None,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)


def a1111_strict_face_analysis(graph: Graph, face_analysis: FaceAnalysis) -> FaceAnalysis:
    """InsightFace that fails where there is no face."""
    node = graph.add("A1111StrictFaceAnalysis", face_analysis=face_analysis)
    return node.out(FaceAnalysis)


def a1111_control_net_facexlib(graph: Graph, image: Image, resolution: int) -> Image:
    """The largest face, aligned to 512x512, grey on white."""
    node = graph.add("A1111ControlNetFacexlib", image=image, resolution=resolution)
    return node.out(Image)


def a1111_face_found(graph: Graph, keypoints: Image) -> Image:
    """A map of keypoints as it is; the run fails where it has none."""
    return graph.add("A1111FaceFound", keypoints=keypoints).out(Image)


@dataclass(frozen=True)
class RegionWork:
    """How a region's pass is laid out: size in pixels, mask blur, padding (-1: whole picture)."""

    width: int
    height: int
    mask_blur: int
    padding: int
    match_size: str


def a1111_detect_regions(
    graph: Graph,
    *,
    image: Image,
    detector: str,
    bbox_detector: BboxDetector | None,
    segm_detector: SegmDetector | None,
    **rules: Any,
) -> Regions:
    node = graph.add(
        "A1111DetectRegions",
        title=f"Detect {detector}",
        image=image,
        detector=detector,
        bbox_detector=bbox_detector,
        segm_detector=segm_detector,
        **rules,
    )
    return node.out(Regions)


def a1111_region_picture(
    graph: Graph, image: Image, regions: Regions, work: RegionWork, source: Image | None
) -> tuple[Image, Mask]:
    """What a region's pass works on; stands for every region where its nodes are copied."""
    node = graph.add(
        "A1111RegionPicture",
        image=image,
        regions=regions,
        region=0,
        **vars(work),
        source=source,
    )
    return node.out(Image), node.out(Mask, 1)


def a1111_detail_regions(
    graph: Graph,
    *,
    each: bool,
    guiders: Sequence[Guider],
    work: RegionWork,
    prompts: Sequence[int | None],
    dynamic_denoise: Mapping[str, Any] | None,
    soft_inpainting: Mapping[str, Any] | None,
    drawn: Sequence[Sequence[int]],
    **inputs: Any,
) -> tuple[Image, Number]:
    """A1111DetailRegions, or with `each` A1111DetailEachRegion: picture, next posterior seed."""
    first, *others = guiders
    more: dict[str, Any] = {f"guider_{number}": item for number, item in enumerate(others, 1)}
    if not each:
        more["region"] = -1
    node = graph.add(
        "A1111DetailEachRegion" if each else "A1111DetailRegions",
        **inputs,
        **vars(work),
        prompts=_json(prompts),
        dynamic_denoise=_json(dynamic_denoise) if dynamic_denoise else "",
        soft_inpainting=_json(soft_inpainting) if soft_inpainting else None,
        drawn=_json(drawn) if drawn else None,
        guider=first,
        **more,
    )
    return node.out(Image), node.out(Number, 1)


def a1111_revision(
    graph: Graph,
    *,
    title: str,
    conditioning: Conditioning,
    clip_vision_output: ClipVisionOutput | None,
    strength: float,
    noise_augmentation: float,
    seed: int,
    drawn: int,
    add: bool,
    zero_text: bool,
) -> Conditioning:
    node = graph.add(
        "A1111Revision",
        title=title,
        conditioning=conditioning,
        clip_vision_output=clip_vision_output,
        strength=strength,
        noise_augmentation=noise_augmentation,
        seed=seed,
        drawn=drawn or None,
        add=add,
        zero_text=zero_text,
    )
    return node.out(Conditioning)


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
