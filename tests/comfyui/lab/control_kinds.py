"""Random weights of the kinds of control model that few requests use, for the lab's checkpoints.

A FaceID adapter for SD1.5, a ControlLLLite for SDXL, and a CLIP vision tower under the name by
which IP-Adapter's modules find theirs (ViT-L, which the lab's adapters are made for).

Use:   python -m tests.comfyui.lab.control_kinds OUT     (OUT: A1111's root folder)
Needs: torch, safetensors. 0.7 GB of disk.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.comfyui.lab.weights import MC, Bag, clip_vision

_TEXT_15 = 768
_FACE = 512
_TOKENS = 4
_LAYERS_15 = 16

_LLLITE_EMBEDDING, _LLLITE_HIDDEN = 32, 64


def face_id(seed: int) -> Mapping[str, Any]:
    """An IP-Adapter FaceID for SD1.5, as its file holds it."""
    project = Bag(seed)
    project.lin("proj.0", 2 * _FACE, _FACE)
    project.lin("proj.2", _TOKENS * _TEXT_15, 2 * _FACE)
    project.norm("norm", _TEXT_15)
    layers = Bag(seed + 1)
    for number in range(_LAYERS_15):
        layers.rnd(f"{2 * number + 1}.to_k_ip.weight", MC, _TEXT_15)
        layers.rnd(f"{2 * number + 1}.to_v_ip.weight", MC, _TEXT_15)
    layers.rnd("0.to_q_lora.down.weight", 4, MC)  # by which FaceID is told
    return {"image_proj": project.sd, "ip_adapter": layers.sd}


def lllite(seed: int) -> Mapping[str, Any]:
    """A ControlLLLite on the self-attention of SDXL's first transformer blocks."""
    bag = Bag(seed, dtype=torch.float32)
    for block in (4, 5):
        module = bag.at(f"lllite_unet_input_blocks_{block}_1_transformer_blocks_0_attn1_to_q.")
        module.conv("conditioning1.0", _LLLITE_EMBEDDING // 2, 3, k=4)
        module.conv("conditioning1.2", _LLLITE_EMBEDDING, _LLLITE_EMBEDDING // 2, k=4)
        module.lin("down.0", _LLLITE_HIDDEN, MC)
        module.lin("mid.0", _LLLITE_HIDDEN, _LLLITE_HIDDEN + _LLLITE_EMBEDDING)
        module.lin("up.0", MC, _LLLITE_HIDDEN, gain=3.0)
    return bag.sd


def write(root: Path) -> None:
    """Make every file below A1111's root folder."""
    control, vision = root / "models" / "ControlNet", root / "models" / "clip_vision"
    control.mkdir(parents=True, exist_ok=True)
    vision.mkdir(parents=True, exist_ok=True)
    torch.save(face_id(91), control / "ip-adapter-faceid_sd15.bin")
    save_file(dict(lllite(92)), control / "kohya_controllllite_xl_synth.safetensors")
    save_file(dict(clip_vision(93)), vision / "clip_h.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the rarer control models.")
    parser.add_argument("out", type=Path, help="A1111's root folder")
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
