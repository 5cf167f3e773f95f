"""Random weights of the networks that ControlNet's preprocessors load.

LaMa for inpaint_only+lama, named as A1111's file names it, and a small OneFormer with the classes
of each data set.

Use:   python -m tests.comfyui.lab.preprocessors OUT     (OUT: A1111's root folder)
Needs: torch, spandrel, transformers. 0.2 GB of disk.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch


def lama(seed: int) -> dict[str, torch.Tensor]:
    """LaMa's generator alone, as ControlNetLama.pth holds it."""
    from spandrel.architectures.LaMa import LaMa

    torch.manual_seed(seed)
    return {name.removeprefix("model."): item for name, item in LaMa(in_nc=4).state_dict().items()}


def oneformer(seed: int, classes: int) -> Any:
    """A OneFormer of two million numbers."""
    from transformers import OneFormerConfig, OneFormerForUniversalSegmentation, SwinConfig

    torch.manual_seed(seed)
    backbone = SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    sizes = dict.fromkeys(
        ("hidden_dim", "conv_dim", "mask_dim", "dim_feedforward", "encoder_feedforward_dim"), 32
    )
    config = OneFormerConfig(
        backbone_config=backbone,
        num_labels=classes,
        num_queries=8,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        is_training=False,
        **sizes,
    )
    return OneFormerForUniversalSegmentation(config)


def write(root: Path) -> None:
    """Make every file below A1111's root folder."""
    for name, classes in (("ade20k", 150), ("coco", 133)):
        place = root / "models" / "oneformer" / f"synth_{name}"
        oneformer(102, classes).save_pretrained(place)
    folder = root / "models" / "inpaint"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(lama(101), folder / "ControlNetLama.pth")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the preprocessors' networks.")
    parser.add_argument("out", type=Path, help="A1111's root folder")
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
