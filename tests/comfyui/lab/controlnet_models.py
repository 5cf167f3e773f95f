"""The models of the goldens with ControlNet, InstantID and SDXL: random weights, the same bytes.

A1111 and ComfyUI both load them. They are built of `weights`' layers (every UNet level 320 channels
wide); the checkpoints carry a full AutoencoderKL whose latents have about unit size.

Use:   python -m tests.comfyui.lab.controlnet_models OUT     (OUT: A1111's root folder)
Needs: torch, safetensors. 4 GB of disk, peak memory about 4 GB, a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.comfyui.lab import weights

Make = Callable[[], Mapping[str, Any]]

_NOTE = {"synthetic": "seeded random weights, not a trained model"}

_CONTROLNETS_15 = (
    "control_v11p_sd15_canny",
    "control_v11f1e_sd15_tile",
    "control_v11p_sd15_inpaint",
    "control_v11e_sd15_shuffle",
)

_METADATA: Mapping[str, Mapping[str, str]] = {
    "cn_lora15": {"ss_output_name": "cn_lora15", "ss_base_model_version": "sd_v1"},
    "cn_loraxl": {"ss_output_name": "cn_loraxl", "ss_base_model_version": "sdxl_base_v1-0"},
}

_SHA256: Mapping[str, str] = {
    "Stable-diffusion/cn15.safetensors": (
        "cde4ab04bd8ba186ebe8c2019a5f4fb913570efb1154c87b1299ac532939ab2e"
    ),
    "Stable-diffusion/cnxl.safetensors": (
        "272b39e73a53612d14c72db720a24e8324f4ec65ed9ead071f2bd986f41209fc"
    ),
    "ControlNet/control_instant_id_sdxl.safetensors": (
        "d80491940d131fda58bc01999d56d08a217517506d885ea27408f8bb5013567b"
    ),
    "ControlNet/control_v11e_sd15_shuffle.safetensors": (
        "d75e326c7684b90f6a282f561f90d6b50b90c2332d958ba1db116bbec7ae8adf"
    ),
    "ControlNet/control_v11f1e_sd15_tile.safetensors": (
        "7598e5f881d1455479affd51d94948f7c43eec50921aeadf23afe37157374181"
    ),
    "ControlNet/control_v11p_sd15_canny.safetensors": (
        "ca529b600228c6715ec062413b7246de58235f501a58ae3803f2c2672c5f4c5a"
    ),
    "ControlNet/control_v11p_sd15_inpaint.safetensors": (
        "b4caedd20cb2ce43fe839ebfa53e7f235eaa47236b8177309c431d489c4b2eb3"
    ),
    "ControlNet/controlnet_sdxl_canny.safetensors": (
        "9c0371de635c64f2506b8b3f773123ba02eb41349cfe5be97b464c9f37fc7984"
    ),
    "ControlNet/ip-adapter_instant_id_sdxl.bin": (
        "8ca968b33d5618ebbe80d8c65273312c268a8b7c3ff4c5c7c5fd50dc698634a1"
    ),
    "ESRGAN/4x_synth.pth": "665a1f75eb1c4918af8fd13688f689bd96e85666c3a2579c951eaf3390e358ea",
    "RealESRGAN/RealESRGAN_x4plus.pth": (
        "8fbb8b3aa2695eaf2547b13e8cbcb45cf45a638fb2fca12f2d7e9a5064c234e8"
    ),
}
"""Place below A1111's ``models`` -> digest of the file that A1111 had. Not the LoRAs: the order of
their headers depends on the version of safetensors."""


def _lively_vae(scale: float) -> Callable[[weights.Bag], None]:
    """A full VAE whose latents, times `scale`, have about unit size, with a wide picture range."""

    def make(bag: weights.Bag) -> None:
        weights.vae_full(bag)
        into, out = bag.prefix + "quant_conv.weight", bag.prefix + "post_quant_conv.weight"
        widened = bag.sd[into].float()
        widened[:4] *= 1.0 / scale
        bag.sd[into] = widened.half()
        bag.sd[out] = (bag.sd[out].float() * scale).half()

    return make


def _files() -> Mapping[str, Make]:
    """Place below A1111's ``models`` -> what makes it."""
    controlnets = {
        f"ControlNet/{name}.safetensors": (
            lambda seed=31 + number: weights.controlnet(seed, "sd15")
        )
        for number, name in enumerate(_CONTROLNETS_15)
    }
    return {
        "Stable-diffusion/cn15.safetensors": (
            lambda: weights.checkpoint(1, "sd15", _lively_vae(0.18215))
        ),
        "Stable-diffusion/cnxl.safetensors": (
            lambda: weights.checkpoint(11, "sdxl", _lively_vae(0.13025))
        ),
        **controlnets,
        "ControlNet/controlnet_sdxl_canny.safetensors": lambda: weights.controlnet(42, "sdxl"),
        "ControlNet/control_instant_id_sdxl.safetensors": lambda: weights.controlnet(43, "sdxl"),
        "ControlNet/ip-adapter_instant_id_sdxl.bin": lambda: weights.instantid(41),
        "ESRGAN/4x_synth.pth": lambda: weights.esrgan(51),
        "RealESRGAN/RealESRGAN_x4plus.pth": lambda: weights.esrgan(52),
        "Lora/cn_lora15.safetensors": lambda: weights.lora(61, "sd15"),
        "Lora/cn_loraxl.safetensors": lambda: weights.lora(62, "sdxl"),
    }


def write(root: Path) -> None:
    """Make every file below A1111's root folder."""
    for place, make in _files().items():
        path = root / "models" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(dict(make()), path, metadata={**_METADATA.get(path.stem, {}), **_NOTE})
        else:
            torch.save(make(), path)


def differing(root: Path) -> list[str]:
    """The files whose bytes are not those that A1111 had."""
    wrong = []
    for place, digest in _SHA256.items():
        with (root / "models" / place).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                wrong.append(place)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the models of the ControlNet goldens.")
    parser.add_argument("out", type=Path, help="A1111's root folder")
    root = parser.parse_args().out
    write(root)
    if wrong := differing(root):
        sys.exit(f"not the bytes that the goldens were made with: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
