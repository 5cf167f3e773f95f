"""Small graphs and images for the tests, and how to read an answer."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from PIL import Image

from devserver import read_mark

Graph = dict[str, Any]

CHECKPOINT = "v1-5-pruned-emaonly.safetensors"


FILE = "file"
"""An output of `txt2img` that leaves a file: ComfyUI fills in its name."""


def txt2img(
    seed: int = 1, *, steps: int = 2, batch: int = 1, size: int = 64, output: str = "SaveImage"
) -> Graph:
    """Checkpoint, two prompts, a sampler, a decode and one output node, ``9``."""
    prefixes = {"SaveImage": "test", FILE: "test_%year%"}
    saving = {"filename_prefix": prefixes[output]} if output in prefixes else {}
    output = "SaveImage" if output == FILE else output
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
        "5": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": size, "height": size, "batch_size": batch},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "dog", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
                "seed": seed,
                "steps": steps,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
            "_meta": {"title": "Sampler"},
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": output, "inputs": {"images": ["8", 0], **saving}},
    }


def image_copy(name: str) -> Graph:
    """Load an image and save it."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    }


def picture(shade: int = 90, size: tuple[int, int] = (32, 24), kind: str = "PNG") -> str:
    """A flat image as base64."""
    out = BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(out, kind)
    return base64.b64encode(out.getvalue()).decode()


def opened(entry: dict[str, str] | str) -> Image.Image:
    """An image of an answer."""
    text = entry if isinstance(entry, str) else entry["data"]
    return Image.open(BytesIO(base64.b64decode(text)))


def marks(answer: dict[str, Any]) -> list[tuple[int, int] | None]:
    """Seed and batch index of every image of an answer."""
    return [read_mark(opened(entry)) for entry in answer["images"]]
