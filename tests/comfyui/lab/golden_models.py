"""The goldens' models: the same small SD1.5 checkpoint that a real A1111 made the goldens with.

  synth15.safetensors       fp16: shrunken UNet (model_channels 320, num_res_blocks 2, channel_mult
                            [1, 1], context 768), full CLIP-L text model, full KL-f8 VAE
  synth15_alt.safetensors   the same with another UNet (checkpoint switching, refiner)
  synthlora.safetensors     rank-4 kohya LoRA (UNet attention and text encoder)
  synthemb.safetensors      textual inversion, 2 vectors x 768
  synthvae.safetensors      stand-alone VAE (another seed)
  synthesrgan.pth           tiny RRDBNet x4

The UNet's last block carries the input latent through to the output (+x/-x channel pairs,
silu(a) - silu(-a) = a), so eps ~ 0.94 * x / std(x) + random features of x, t and prompt: sampling
stays finite and smooth, and every input has a visible effect.

The bytes must be those of the goldens' own run; `SHA256` says which, and `main` checks.

Use:   python -m tests.comfyui.lab.golden_models OUT     (OUT: A1111's root folder)
Needs: torch, safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

K_PASS, FEAT = 0.94, 0.25  # passthrough gain; std of the random features in eps
P = 40  # channels reserved for the passthrough (4 groups of 10)


class Maker:
    def __init__(self, seed):
        self.g = torch.Generator().manual_seed(seed)
        self.sd = {}

    def randn(self, *shape, std=1.0):
        return torch.randn(*shape, generator=self.g) * std

    def conv(self, k, o, i, ks, gain=1.0, bias=0.02):
        self.sd[k + ".weight"] = self.randn(o, i, ks, ks, std=gain / math.sqrt(i * ks * ks))
        self.sd[k + ".bias"] = self.randn(o, std=bias)

    def lin(self, k, o, i, gain=1.0, bias=0.02):
        self.sd[k + ".weight"] = self.randn(o, i, std=gain / math.sqrt(i))
        if bias is not None:
            self.sd[k + ".bias"] = self.randn(o, std=bias)

    def norm(self, k, c):
        self.sd[k + ".weight"] = 1 + self.randn(c, std=0.05)
        self.sd[k + ".bias"] = self.randn(c, std=0.05)


def unet(m, mult, pre="model.diffusion_model."):
    mc, ctx, te = 320, 768, 1280

    def res(k, i, o):
        m.norm(k + ".in_layers.0", i)
        m.conv(k + ".in_layers.2", o, i, 3)
        m.lin(k + ".emb_layers.1", o, te, gain=1.0)
        m.norm(k + ".out_layers.0", o)
        m.conv(k + ".out_layers.3", o, o, 3, gain=0.7)
        if i != o:
            m.conv(k + ".skip_connection", o, i, 1)

    def attn(k, c):
        m.norm(k + ".norm", c)
        m.conv(k + ".proj_in", c, c, 1)
        b = k + ".transformer_blocks.0"
        for a, cd in (("attn1", c), ("attn2", ctx)):
            qk = 1.0 if a == "attn1" else 1.5
            m.lin(f"{b}.{a}.to_q", c, c, gain=qk, bias=None)
            m.lin(f"{b}.{a}.to_k", c, cd, gain=qk, bias=None)
            m.lin(f"{b}.{a}.to_v", c, cd, gain=1.0 if a == "attn1" else 1.6, bias=None)
            m.lin(f"{b}.{a}.to_out.0", c, c)
        m.lin(b + ".ff.net.0.proj", 8 * c, c)
        m.lin(b + ".ff.net.2", c, 4 * c, gain=0.7)
        for n in ("norm1", "norm2", "norm3"):
            m.norm(f"{b}.{n}", c)
        m.conv(k + ".proj_out", c, c, 1, gain=0.8)

    m.lin(pre + "time_embed.0", te, mc)
    m.lin(pre + "time_embed.2", te, te, gain=1.5)
    m.conv(pre + "input_blocks.0.0", mc, 4, 3)
    chans, ch, n = [mc], mc, 1
    for lv, mu in enumerate(mult):
        for _ in range(2):
            res(f"{pre}input_blocks.{n}.0", ch, mc * mu)
            ch = mc * mu
            attn(f"{pre}input_blocks.{n}.1", ch)
            chans.append(ch)
            n += 1
        if lv != len(mult) - 1:
            m.conv(f"{pre}input_blocks.{n}.0.op", ch, ch, 3)
            chans.append(ch)
            n += 1
    res(pre + "middle_block.0", ch, ch)
    attn(pre + "middle_block.1", ch)
    res(pre + "middle_block.2", ch, ch)
    n = 0
    for lv, mu in reversed(list(enumerate(mult))):
        for i in range(3):
            res(f"{pre}output_blocks.{n}.0", ch + chans.pop(), mc * mu)
            ch = mc * mu
            attn(f"{pre}output_blocks.{n}.1", ch)
            if lv and i == 2:
                m.conv(f"{pre}output_blocks.{n}.2.conv", ch, ch, 3)
            n += 1
    m.norm(pre + "out.0", mc)
    m.conv(pre + "out.2", 4, mc, 3, bias=0.0)
    # --- passthrough
    sd, last = m.sd, f"{pre}output_blocks.{n - 1}"
    w, b = sd[pre + "input_blocks.0.0.weight"], sd[pre + "input_blocks.0.0.bias"]
    w[:P] = 0
    b[:P] = 0
    for c in range(P):
        w[c, c // 10, 1, 1] = 1.0 if c % 10 < 5 else -1.0
    w, b = sd[last + ".0.skip_connection.weight"], sd[last + ".0.skip_connection.bias"]
    w[:P] = 0
    b[:P] = 0
    for c in range(P):
        w[c, mc * mult[0] + c] = 1.0
    for k in (last + ".0.out_layers.3", last + ".1.proj_out"):
        sd[k + ".weight"][:P] = 0
        sd[k + ".bias"][:P] = 0
    sd[pre + "out.0.weight"][:P] = 1
    sd[pre + "out.0.bias"][:P] = 0
    w = sd[pre + "out.2.weight"]
    w *= FEAT / 0.6  # silu of a unit normal has rms about 0.6
    w[:, :P] = 0
    for c in range(P):
        w[c // 10, c, 1, 1] = K_PASS / 5 * (1 if c % 10 < 5 else -1)


def vae(m, pre="first_stage_model."):
    def res(k, i, o):
        m.norm(k + ".norm1", i)
        m.conv(k + ".conv1", o, i, 3)
        m.norm(k + ".norm2", o)
        m.conv(k + ".conv2", o, o, 3, gain=0.5)
        if i != o:
            m.conv(k + ".nin_shortcut", o, i, 1)

    def mid(k, c):
        res(k + ".block_1", c, c)
        res(k + ".block_2", c, c)
        m.norm(k + ".attn_1.norm", c)
        for n in "qkv":
            m.conv(f"{k}.attn_1.{n}", c, c, 1)
        m.conv(k + ".attn_1.proj_out", c, c, 1, gain=0.5)

    ch, mult = 128, (1, 2, 4, 4)
    e = pre + "encoder"
    m.conv(e + ".conv_in", ch, 3, 3)
    c = ch
    for lv, mu in enumerate(mult):
        for i in range(2):
            res(f"{e}.down.{lv}.block.{i}", c, ch * mu)
            c = ch * mu
        if lv != 3:
            m.conv(f"{e}.down.{lv}.downsample.conv", c, c, 3)
    mid(e + ".mid", c)
    m.norm(e + ".norm_out", c)
    m.conv(e + ".conv_out", 8, c, 3)
    m.conv(pre + "quant_conv", 8, 8, 1)
    # latent std about 5.5 (so about 1 after the 0.18215 scale), small posterior variance
    m.sd[pre + "quant_conv.weight"][:4] *= 9
    m.sd[pre + "quant_conv.weight"][4:] *= 0.1
    m.sd[pre + "quant_conv.bias"][4:] = -8
    m.conv(pre + "post_quant_conv", 4, 4, 1)
    d = pre + "decoder"
    m.conv(d + ".conv_in", c, 4, 3)
    mid(d + ".mid", c)
    for lv, mu in reversed(list(enumerate(mult))):
        for i in range(3):
            res(f"{d}.up.{lv}.block.{i}", c, ch * mu)
            c = ch * mu
        if lv:
            m.conv(f"{d}.up.{lv}.upsample.conv", c, c, 3)
    m.norm(d + ".norm_out", c)
    m.conv(d + ".conv_out", 3, c, 3, gain=0.6, bias=0.0)


def clip(m, pre="cond_stage_model.transformer.text_model."):
    c = 768
    m.sd[pre + "embeddings.token_embedding.weight"] = m.randn(49408, c, std=0.5)
    m.sd[pre + "embeddings.position_embedding.weight"] = m.randn(77, c, std=0.2)
    m.sd[pre + "embeddings.position_ids"] = torch.arange(77).unsqueeze(0)
    for i in range(12):
        k = f"{pre}encoder.layers.{i}"
        for n in ("q_proj", "k_proj", "v_proj", "out_proj"):
            m.lin(f"{k}.self_attn.{n}", c, c, gain=1.0 if n in ("q_proj", "k_proj") else 0.7)
        m.norm(k + ".layer_norm1", c)
        m.norm(k + ".layer_norm2", c)
        m.lin(k + ".mlp.fc1", 4 * c, c)
        m.lin(k + ".mlp.fc2", c, 4 * c, gain=0.4)
    m.norm(pre + "final_layer_norm", c)


def lora(seed, mult):
    m = Maker(seed)
    out = {}

    def add(name, o, i, conv=False):
        r, a = 4, 4.0
        dn, up = m.randn(r, i, std=1 / math.sqrt(i)), m.randn(o, r, std=0.1)
        if conv:
            dn, up = dn[..., None, None], up[..., None, None]
        out[name + ".lora_down.weight"], out[name + ".lora_up.weight"] = dn, up
        out[name + ".alpha"] = torch.tensor(a)

    def attn(p, c):
        add(p + "_proj_in", c, c, True)
        add(p + "_proj_out", c, c, True)
        for a, cd in (("attn1", c), ("attn2", 768)):
            b = f"{p}_transformer_blocks_0_{a}"
            add(b + "_to_q", c, c)
            add(b + "_to_k", c, cd)
            add(b + "_to_v", c, cd)
            add(b + "_to_out_0", c, c)

    for lv, mu in enumerate(mult):
        for i in range(2):
            attn(f"lora_unet_down_blocks_{lv}_attentions_{i}", 320 * mu)
        for i in range(3):
            attn(f"lora_unet_up_blocks_{len(mult) - 1 - lv}_attentions_{i}", 320 * mu)
    attn("lora_unet_mid_block_attentions_0", 320 * mult[-1])
    for i in range(12):
        for n in "qkv":
            add(f"lora_te_text_model_encoder_layers_{i}_self_attn_{n}_proj", 768, 768)
        add(f"lora_te_text_model_encoder_layers_{i}_mlp_fc1", 3072, 768)
    return out


def esrgan(seed, nf=32, gc=32, nb=1):
    """RRDBNet x4; carries the image through (leaky_relu(a)-leaky_relu(-a)=1.2a) plus features."""
    m = Maker(seed)
    sd = m.sd
    m.conv("conv_first", nf, 3, 3)
    for b in range(nb):
        for r in (1, 2, 3):
            for c in range(1, 6):
                m.conv(
                    f"body.{b}.rdb{r}.conv{c}", gc if c < 5 else nf, nf + (c - 1) * gc, 3, gain=0.5
                )
    m.conv("conv_body", nf, nf, 3, gain=0.3)
    for k in ("conv_up1", "conv_up2", "conv_hr"):
        m.conv(k, nf, nf, 3)
    m.conv("conv_last", 3, nf, 3, gain=0.15, bias=0.0)
    box = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    for k in (
        "conv_first",
        "conv_up1",
        "conv_up2",
        "conv_hr",
        "conv_body",
        f"body.{nb - 1}.rdb3.conv5",
    ):
        sd[k + ".weight"][:6] = 0
        sd[k + ".bias"][:6] = 0
    for b in range(nb):
        for r in (1, 2, 3):
            sd[f"body.{b}.rdb{r}.conv5.weight"][:6] = 0
            sd[f"body.{b}.rdb{r}.conv5.bias"][:6] = 0
    for c in range(3):
        for s, o in ((1.0, c), (-1.0, c + 3)):
            sd["conv_first.weight"][o, c, 1, 1] = s
            for k in ("conv_up1", "conv_up2", "conv_hr"):
                w = box if k != "conv_hr" else torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
                sd[k + ".weight"][o, c] = w / 1.2 * (1 if s > 0 else -1)
                sd[k + ".weight"][o, c + 3] = -sd[k + ".weight"][o, c]
                sd[k + ".weight"][o] *= 1.0 if k != "conv_up1" else 0.6
    w = sd["conv_last.weight"]
    w[:, :6] = 0
    for c in range(3):
        w[c, c, 1, 1] = 1 / 1.2
        w[c, c + 3, 1, 1] = -1 / 1.2
    return {k: v.contiguous() for k, v in sd.items()}


def half(sd):
    return {k: (v if v.dtype == torch.int64 else v.half()).contiguous() for k, v in sd.items()}


SEED = 15
CHANNEL_MULT = (1, 1)

SHA256: Mapping[str, str] = {
    "models/Stable-diffusion/synth15.safetensors": (
        "5f0ab447f22b336b5f6c938ab35b485eeeda141d737eae383fe05990a124d59c"
    ),
    "models/Stable-diffusion/synth15_alt.safetensors": (
        "23453c9855e95ccd8d22b6f6889a2a485de6f020539f8e7e9532f0bd285c1139"
    ),
    "models/VAE/synthvae.safetensors": (
        "ea5e1122b8181666ddc39936c739725d2be53a06eaabacd29a8e809638f9cebf"
    ),
    "models/Lora/synthlora.safetensors": (
        "a9e46165c18b0165801cde98a055d448ece9c8cc14c19636af467157871c0d7f"
    ),
    "models/ESRGAN/synthesrgan.pth": (
        "2625c590578c952df41ac41695b88d1128d6864fb9bf2829185ad562a47db082"
    ),
    "embeddings/synthemb.safetensors": (
        "1e09ceb9e04337c1dc6e837275c457eaad453f439e37ee02f0c91dcff8bbed90"
    ),
}
"""Place below A1111's root -> SHA-256 of the file that the goldens were made with."""


def checkpoint(unet_seed: int) -> Mapping[str, Any]:
    """The whole checkpoint; only the UNet depends on `unet_seed`."""
    model, first_stage, text = Maker(unet_seed), Maker(SEED + 1), Maker(SEED + 2)
    unet(model, CHANNEL_MULT)
    vae(first_stage)
    clip(text)
    return half({**model.sd, **first_stage.sd, **text.sd})


def stand_alone_vae() -> Mapping[str, Any]:
    maker = Maker(SEED + 3)
    vae(maker, "")
    return half(maker.sd)


def write(root: Path) -> None:
    """Make every file of `SHA256` below `root`."""
    for place in SHA256:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
    checkpoints = root / "models/Stable-diffusion"
    save_file(checkpoint(SEED), checkpoints / "synth15.safetensors")
    save_file(checkpoint(SEED + 1000), checkpoints / "synth15_alt.safetensors")
    save_file(stand_alone_vae(), root / "models/VAE/synthvae.safetensors")
    save_file(
        half(lora(SEED + 4, CHANNEL_MULT)),
        root / "models/Lora/synthlora.safetensors",
        metadata={"ss_output_name": "synthlora"},
    )
    # torch writes the file's stem into the archive, so the bytes depend on the name.
    torch.save(esrgan(SEED + 6), root / "models/ESRGAN/synthesrgan.pth")
    vectors = Maker(SEED + 5).randn(2, 768, std=0.5)
    save_file({"emb_params": vectors}, root / "embeddings/synthemb.safetensors")


def differing(root: Path) -> list[str]:
    """Places whose bytes are not those that the goldens were made with."""
    return [
        place
        for place, digest in SHA256.items()
        if hashlib.sha256((root / place).read_bytes()).hexdigest() != digest
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the goldens' models.")
    parser.add_argument("out", type=Path, help="A1111's root folder")
    root = parser.parse_args().out
    write(root)
    if wrong := differing(root):
        sys.exit(f"not the bytes that the goldens were made with: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
