"""Random weights of the kinds of control model that few requests use, for the lab's checkpoints.

FaceID adapters (plain and plus v2) and a plus IP-Adapter for SD1.5, a ControlLLLite for SDXL, and a
CLIP vision tower under the name by which IP-Adapter's modules find theirs (ViT-L, which the lab's
adapters are made for). Union ControlNets and T2I-Adapters have the widths of real checkpoints only:
tests/node_pack/test_comfy_control.py has them.

Use:   python -m tests.comfyui.lab.control_kinds OUT     (OUT: A1111's root folder)
Needs: torch, safetensors. 0.8 GB of disk.
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

_CLIP = 1024
"""Width of ViT-L's layers."""

_HEAD = 64

_LLLITE_EMBEDDING, _LLLITE_HIDDEN = 32, 64


def face_id(seed: int) -> Mapping[str, Any]:
    """An IP-Adapter FaceID for SD1.5, as its file holds it."""
    project = Bag(seed)
    project.lin("proj.0", 2 * _FACE, _FACE)
    project.lin("proj.2", _TOKENS * _TEXT_15, 2 * _FACE)
    project.norm("norm", _TEXT_15)
    layers = _layers_15(seed + 1)
    layers.rnd("0.to_q_lora.down.weight", 4, MC)  # by which FaceID is told
    return {"image_proj": project.sd, "ip_adapter": layers.sd}


def _perceiver(bag: Bag, prefix: str, width: int, heads: int) -> None:
    """Four layers in which tokens read what CLIP sees, as IP-Adapter's plus models have them."""
    inner = _HEAD * heads
    for number in range(4):
        layer = bag.at(f"{prefix}.{number}.")
        for name in ("0.norm1", "0.norm2", "1.0"):
            layer.norm(name, width)
        layer.rnd("0.to_q.weight", inner, width)
        layer.rnd("0.to_kv.weight", 2 * inner, width)
        layer.rnd("0.to_out.weight", width, inner)
        layer.rnd("1.1.weight", 4 * width, width)
        layer.rnd("1.3.weight", width, 4 * width)


def _layers_15(seed: int) -> Bag:
    """Keys and values for the cross-attentions of the lab's SD1.5."""
    layers = Bag(seed)
    for number in range(_LAYERS_15):
        layers.rnd(f"{2 * number + 1}.to_k_ip.weight", MC, _TEXT_15)
        layers.rnd(f"{2 * number + 1}.to_v_ip.weight", MC, _TEXT_15)
    return layers


def face_id_plus(seed: int) -> Mapping[str, Any]:
    """An IP-Adapter FaceID plus for SD1.5."""
    made = dict(face_id(seed))
    project = Bag(seed + 2)
    inside = project.at("perceiver_resampler.")
    inside.lin("proj_in", _TEXT_15, _CLIP)
    inside.lin("proj_out", _TEXT_15, _TEXT_15)
    inside.norm("norm_out", _TEXT_15)
    _perceiver(inside, "layers", _TEXT_15, _TEXT_15 // _HEAD)
    return {**made, "image_proj": {**made["image_proj"], **project.sd}}


def plus(seed: int) -> Mapping[str, Any]:
    """A plus IP-Adapter for SD1.5, as its file holds it."""
    project = Bag(seed)
    project.rnd("latents", 1, 16, _TEXT_15, std=1.0)
    project.lin("proj_in", _TEXT_15, _CLIP)
    project.lin("proj_out", _TEXT_15, _TEXT_15)
    project.norm("norm_out", _TEXT_15)
    _perceiver(project, "layers", _TEXT_15, 12)
    return {
        **{f"image_proj.{name}": value for name, value in project.sd.items()},
        **{f"ip_adapter.{name}": value for name, value in _layers_15(seed + 1).sd.items()},
    }


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
    torch.save(face_id_plus(94), control / "ip-adapter-faceid-plusv2_sd15.bin")
    save_file(dict(plus(97)), control / "ip-adapter-plus_sd15.safetensors")
    save_file(dict(lllite(92)), control / "kohya_controllllite_xl_synth.safetensors")
    save_file(dict(clip_vision(93)), vision / "clip_h.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the rarer control models.")
    parser.add_argument("out", type=Path, help="A1111's root folder")
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
