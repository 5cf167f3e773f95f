"""Graphs of core nodes in API format, for what concerns the protocol and not the translation."""

from __future__ import annotations

import copy
from typing import Any

Graph = dict[str, dict[str, Any]]

SD15 = "synth_sd15.safetensors"
CONTROLNET = "synth_control_sd15_canny.safetensors"
LORA = "synth_lora_sd15.safetensors"
VAE = "synth_vae_full.safetensors"
UPSCALER = "4x_synth.pth"
SAMPLER, DECODE, SAVE = "5", "6", "7"
"""Ids that `txt2img` gives its sampler, its VAE decode and its output."""


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def txt2img(*, seed: int = 1, steps: int = 2, text: str = "a cat", batch_size: int = 1) -> Graph:
    """64x64 with the small SD1.5 checkpoint."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=SD15),
        "2": node("CLIPTextEncode", text=text, clip=["1", 1]),
        "3": node("CLIPTextEncode", text="blurry", clip=["1", 1]),
        "4": node("EmptyLatentImage", width=64, height=64, batch_size=batch_size),
        SAMPLER: node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed=seed,
            steps=steps,
            cfg=7.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        DECODE: node("VAEDecode", samples=[SAMPLER, 0], vae=["1", 2]),
        SAVE: node("SaveImage", images=[DECODE, 0], filename_prefix="lab"),
    }


def changed(graph: Graph, node_id: str, **inputs: Any) -> Graph:
    """A copy with other inputs of one node."""
    copied = copy.deepcopy(graph)
    copied[node_id]["inputs"].update(inputs)
    return copied


def without(graph: Graph, node_id: str, name: str) -> Graph:
    """A copy that lacks one input."""
    copied = copy.deepcopy(graph)
    del copied[node_id]["inputs"][name]
    return copied


def also(graph: Graph, **nodes: dict[str, Any]) -> Graph:
    """A copy with more nodes; ``n8=...`` becomes node 8."""
    return copy.deepcopy(graph) | {name.removeprefix("n"): item for name, item in nodes.items()}


def output_as(class_type: str) -> Graph:
    """txt2img that ends in another output node."""
    graph = txt2img()
    graph[SAVE] = node(class_type, images=[DECODE, 0])
    return graph


def latent_hires() -> Graph:
    """64x64, then 96x96 by latent upscale and a second pass."""
    first = txt2img()
    second = copy.deepcopy(first[SAMPLER])
    second["inputs"].update(latent_image=["8", 0], denoise=0.6)
    upscale = node(
        "LatentUpscale",
        samples=[SAMPLER, 0],
        upscale_method="bicubic",
        width=96,
        height=96,
        crop="disabled",
    )
    return changed(also(first, n8=upscale, n9=second), DECODE, samples=["9", 0])


def model_upscale() -> Graph:
    """64x64, then an ESRGAN 4x and a resize to 160x128."""
    graph = also(
        txt2img(),
        n8=node("UpscaleModelLoader", model_name=UPSCALER),
        n9=node("ImageUpscaleWithModel", upscale_model=["8", 0], image=[DECODE, 0]),
        n10=node(
            "ImageScale",
            image=["9", 0],
            upscale_method="lanczos",
            width=160,
            height=128,
            crop="disabled",
        ),
    )
    return changed(graph, SAVE, images=["10", 0])


def with_lora() -> Graph:
    loader = node(
        "LoraLoader",
        model=["1", 0],
        clip=["1", 1],
        lora_name=LORA,
        strength_model=0.8,
        strength_clip=0.8,
    )
    graph = changed(also(txt2img(), n8=loader), SAMPLER, model=["8", 0])
    return changed(changed(graph, "2", clip=["8", 1]), "3", clip=["8", 1])


def with_vae() -> Graph:
    loader = node("VAELoader", vae_name=VAE)
    return changed(also(txt2img(), n8=loader), DECODE, vae=["8", 0])


def with_controlnet(image: str, model: str = CONTROLNET) -> Graph:
    """An uploaded image steers txt2img; it is a second output."""
    graph = also(
        txt2img(),
        n40=node("LoadImage", image=image),
        n42=node("ControlNetLoader", control_net_name=model),
        n43=node(
            "ControlNetApplyAdvanced",
            positive=["2", 0],
            negative=["3", 0],
            control_net=["42", 0],
            image=["40", 0],
            strength=0.8,
            start_percent=0.0,
            end_percent=1.0,
        ),
        n44=node("PreviewImage", images=["40", 0]),
    )
    return changed(graph, SAMPLER, positive=["43", 0], negative=["43", 1])


def partly_invalid(image: str) -> Graph:
    """One valid output (the image) and one that lacks its ControlNet's name."""
    return without(with_controlnet(image), "42", "control_net_name")


def with_image(image: str) -> Graph:
    """An uploaded image, encoded and inpainted."""
    graph = also(
        txt2img(),
        n40=node("LoadImage", image=image),
        n41=node("VAEEncode", pixels=["40", 0], vae=["1", 2]),
    )
    return changed(graph, SAMPLER, latent_image=["41", 0], denoise=0.5)
