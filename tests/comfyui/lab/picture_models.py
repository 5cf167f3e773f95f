"""Checkpoints that read a picture beside the latent, from the goldens' small SD1.5 checkpoint.

  synth15_inpainting.safetensors   9 channels in: latent, mask, masked picture
  synth15_edit.safetensors         8 channels in: latent, picture (instruct-pix2pix)

The further channels have seeded weights in every output of the first convolution but those that
carry the latent through, and are strong enough to be seen in the result.

Use:   python -m tests.comfyui.lab.picture_models OUT     (OUT: A1111's root folder)
Needs: torch, safetensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.comfyui.lab import golden_models

BESIDE = {"synth15_inpainting": 5, "synth15_edit": 4}
"""Checkpoint -> channels beside the latent."""

_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
_GAIN = 0.5
_SEED = 91


def widened(weight: Tensor, beside: int) -> Tensor:
    """The first convolution `[O, 4, 3, 3]` with as many channels more."""
    generator = torch.Generator().manual_seed(_SEED + beside)
    more = torch.randn(weight.shape[0], beside, 3, 3, generator=generator) * _GAIN
    more[: golden_models.P] = 0
    return torch.cat([weight.float(), more / (beside * 9) ** 0.5], dim=1).half()


def write(root: Path) -> None:
    """Make both files below A1111's root folder."""
    folder = root / "models" / "Stable-diffusion"
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = dict(golden_models.checkpoint(golden_models.SEED))
    first = checkpoint[_FIRST]
    for name, beside in BESIDE.items():
        checkpoint[_FIRST] = widened(first, beside).contiguous()
        save_file(checkpoint, folder / f"{name}.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make checkpoints that read a picture.")
    parser.add_argument("out", type=Path, help="A1111's root folder")
    write(parser.parse_args().out)
