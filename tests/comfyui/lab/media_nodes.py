"""Custom nodes for tests: sound and a body without any model, for the nodes that save them."""

from __future__ import annotations

import math
from typing import Any

import torch

_RATE = 44100


class LabSound:
    """A tone of so many seconds."""

    CATEGORY = "lab"
    RETURN_TYPES = ("AUDIO",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"seconds": ("FLOAT", {"default": 1.0})}}

    def make(self, seconds: float) -> tuple[dict[str, Any]]:
        time = torch.arange(int(seconds * _RATE)) / _RATE
        wave = 0.3 * torch.sin(2 * math.pi * 440.0 * time)
        return ({"waveform": wave.expand(1, 2, -1).contiguous(), "sample_rate": _RATE},)


class LabVoxel:
    """A ball in a cube of so many cells a side, as a decoder of bodies gives it."""

    CATEGORY = "lab"
    RETURN_TYPES = ("VOXEL",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"cells": ("INT", {"default": 16})}}

    def make(self, cells: int) -> tuple[Any]:
        line = torch.linspace(-1.0, 1.0, cells)
        x, y, z = torch.meshgrid(line, line, line, indexing="ij")
        return (Voxel((1.0 - (x**2 + y**2 + z**2).sqrt())[None]),)


class Voxel:
    """As ComfyUI's VOXEL: a grid of densities, `[B, cells, cells, cells]`."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data


NODE_CLASS_MAPPINGS = {"LabSound": LabSound, "LabVoxel": LabVoxel}
