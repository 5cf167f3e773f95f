"""The models of the goldens with ADetailer: the goldens' own, stand-in detectors, two ControlNets.

The ControlNets fit the small SD1.5 checkpoint: its encoder copied, with seeded zero convolutions
and hint blocks. Beside each checkpoint lies a configuration, as in the A1111 that was recorded: it
builds its model anew for each, and draws numbers for that.

Use:   python -m tests.comfyui.lab.detailer_models OUT     (OUT: A1111's root folder)
Needs: torch, safetensors.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.comfyui.lab import detectors, golden_models

CONTROLNETS = ("control_v11f1e_sd15_tile", "control_v11p_sd15_canny")
_ENCODER = ("time_embed", "input_blocks", "middle_block")
_UNET = "model.diffusion_model."
_WIDTH = 320
_HINT_CHANNELS = ((3, 16), (16, 16), (16, 32), (32, 32), (32, 96), (96, 96), (96, 256), (256, 320))
_SEED = 77


def controlnets(checkpoint: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Name -> tensors, for the UNet of a checkpoint."""
    encoder = {
        f"control_model.{name.removeprefix(_UNET)}": tensor.half()
        for name, tensor in checkpoint.items()
        if name.startswith(_UNET) and name.removeprefix(_UNET).split(".")[0] in _ENCODER
    }
    blocks = 1 + max(int(name.split(".")[2]) for name in encoder if ".input_blocks." in name)
    generator = torch.Generator().manual_seed(_SEED)
    return {name: {**encoder, **_zero_convs(blocks, generator)} for name in CONTROLNETS}


def _zero_convs(blocks: int, generator: torch.Generator) -> dict[str, Tensor]:
    made: dict[str, Tensor] = {}

    def add(name: str, weight: Tensor) -> None:
        made[f"control_model.{name}.weight"] = weight.half()
        made[f"control_model.{name}.bias"] = torch.zeros(weight.shape[0]).half()

    for place in (*(f"zero_convs.{block}.0" for block in range(blocks)), "middle_block_out.0"):
        add(place, torch.randn(_WIDTH, _WIDTH, 1, 1, generator=generator) * 0.02)
    for index, (inputs, outputs) in enumerate(_HINT_CHANNELS):
        noise = torch.randn(outputs, inputs, 3, 3, generator=generator)
        add(f"input_hint_block.{2 * index}", noise / (inputs * 9) ** 0.5 * 1.4)
    return made


def write(root: Path) -> None:
    """Make every file below A1111's root folder."""
    golden_models.write(root)
    detectors.write(root)
    checkpoints = root / "models" / "Stable-diffusion"
    for file in checkpoints.glob("*.safetensors"):
        file.with_suffix(".yaml").write_text("# stands for A1111's configuration\n", "utf-8")
    checkpoint = load_file(checkpoints / "synth15.safetensors")
    folder = root / "models" / "ControlNet"
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in controlnets(checkpoint).items():
        contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
        save_file(contiguous, folder / f"{name}.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the models of the goldens with ADetailer.")
    parser.add_argument("out", type=Path, help="A1111's root folder")
    write(parser.parse_args().out)
