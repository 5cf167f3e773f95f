"""Graphs for the tests."""

from __future__ import annotations

from typing import Any

Graph = dict[str, Any]
CHECKPOINT = "v1-5-pruned-emaonly.safetensors"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def txt2img(seed: int = 1, text: str = "a cat", **changes: Any) -> Graph:
    """A plain graph: output node "7"; `changes` go to the KSampler."""
    sampler = {"seed": seed, "steps": 2, "cfg": 7.0, "denoise": 1.0}
    sampler |= {"sampler_name": "euler", "scheduler": "normal"} | changes
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "2": node("CLIPTextEncode", clip=["1", 1], text=text),
        "3": node("CLIPTextEncode", clip=["1", 1], text="blurry"),
        "4": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "5": node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            **sampler,
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node("SaveImage", images=["6", 0], filename_prefix="test"),
    }


def over_socket(seed: int = 1, batch: int = 1) -> Graph:
    """`txt2img` with the images sent over the websocket."""
    graph = txt2img(seed)
    graph["4"]["inputs"]["batch_size"] = batch
    graph["7"] = node("SaveImageWebsocket", images=["6", 0])
    return graph


def image_graph(**nodes: dict[str, Any]) -> Graph:
    """Nodes on a batch of two pictures, "image"; what ends in "out" is previewed."""
    return {
        "image": node("EmptyImage", width=300, height=400, batch_size=2, color=1),
        **nodes,
        "show": node("PreviewImage", images=["out", 0]),
    }
