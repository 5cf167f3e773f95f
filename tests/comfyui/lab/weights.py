"""Small synthetic (seeded random) model files that a real ComfyUI detects, loads and runs on CPU.

Nothing here is a trained model.  Every tensor is drawn from a seeded normal
distribution whose scale is 1/sqrt(fan_in), so activations stay finite and the
outputs are not constant.  The files have the key names and shapes by which
ComfyUI recognises each family, with the width cut down (every UNet level is
320 channels wide instead of 320/640/1280), the text encoders at full size
because their configuration is fixed.

The files lie in A1111's folder layout (`FILES` names them); `ALIASES` gives some of them the names
that requests from the field carry, so that those run as they are.

Use:   python -m tests.comfyui.lab.weights OUT [--only sdxl,...]
Needs: torch, safetensors. About 5 GB of disk, peak memory about 3 GB, half a minute.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

F16 = torch.float16
MC = 320  # model_channels: ComfyUI's SD1.5/SDXL detection wants 320
TE = 4 * MC  # time embedding width


class Bag:
    """Collects named tensors, each drawn from its own (seed, name) stream."""

    def __init__(self, seed, prefix="", dtype=F16):
        self.sd, self.seed, self.prefix, self.dtype = {}, seed, prefix, dtype

    def at(self, prefix):
        b = Bag(self.seed, self.prefix + prefix, self.dtype)
        b.sd = self.sd
        return b

    def put(self, name, t, dtype=None):
        self.sd[self.prefix + name] = t.to(dtype or self.dtype).contiguous()

    def rnd(self, name, *shape, std=None, gain=1.0, dtype=None):
        full = self.prefix + name
        g = torch.Generator().manual_seed(
            (self.seed * 1000003 + zlib.crc32(full.encode())) & 0x7FFFFFFF
        )
        if std is None:
            fan_in = max(1, math.prod(shape[1:]))
            std = gain / math.sqrt(fan_in)
        self.put(name, torch.randn(*shape, generator=g) * std, dtype)

    def lin(self, name, out, inp, bias=True, gain=1.0):
        self.rnd(name + ".weight", out, inp, gain=gain)
        if bias:
            self.rnd(name + ".bias", out, std=0.01)

    def conv(self, name, out, inp, k=3, bias=True, gain=1.0):
        self.rnd(name + ".weight", out, inp, k, k, gain=gain)
        if bias:
            self.rnd(name + ".bias", out, std=0.01)

    def norm(self, name, c):
        self.put(name + ".weight", torch.ones(c))
        self.put(name + ".bias", torch.zeros(c))


# ---------------------------------------------------------------- UNet, ControlNet
ARCH = {
    # levels, transformer depth of each res block per level, middle depth, context, adm, linear proj
    "sd15": {
        "depth": [[1, 1], [1, 1], [1, 1], [0, 0]],
        "out_depth": [[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0]],
        "mid": 1,
        "ctx": 768,
        "adm": None,
        "linear": False,
    },
    "sdxl": {
        "depth": [[0, 0], [2, 2], [10, 10]],
        "out_depth": [[0, 0, 0], [2, 2, 2], [10, 10, 10]],
        "mid": 10,
        "ctx": 2048,
        "adm": 2816,
        "linear": True,
    },
}


def res(b, cin, cout):
    b.norm("in_layers.0", cin)
    b.conv("in_layers.2", cout, cin)
    b.lin("emb_layers.1", cout, TE, gain=0.5)
    b.norm("out_layers.0", cout)
    b.conv("out_layers.3", cout, cout, gain=0.5)
    if cin != cout:
        b.conv("skip_connection", cout, cin, k=1)


def transformer(b, c, depth, ctx, linear):
    b.norm("norm", c)
    for p in ("proj_in", "proj_out"):
        if linear:
            b.lin(p, c, c)
        else:
            b.conv(p, c, c, k=1)
    for i in range(depth):
        t = b.at(f"transformer_blocks.{i}.")
        for n in ("norm1", "norm2", "norm3"):
            t.norm(n, c)
        for a, kv in (("attn1", c), ("attn2", ctx)):
            t.lin(a + ".to_q", c, c, bias=False, gain=1.5)
            t.lin(a + ".to_k", c, kv, bias=False, gain=1.5)
            t.lin(a + ".to_v", c, kv, bias=False)
            t.lin(a + ".to_out.0", c, c, gain=1.0 if a == "attn2" else 0.5)
        t.lin("ff.net.0.proj", 8 * c, c)
        t.lin("ff.net.2", c, 4 * c, gain=0.5)


def encoder_half(b, arch, hint=False):
    """time/label embedding, input blocks and middle block; returns skip widths."""
    a = ARCH[arch]
    b.lin("time_embed.0", TE, MC)
    b.lin("time_embed.2", TE, TE)
    if a["adm"]:
        b.lin("label_emb.0.0", TE, a["adm"])
        b.lin("label_emb.0.2", TE, TE)
    b.conv("input_blocks.0.0", MC, 4)
    n, skips = 1, [MC]
    for level, row in enumerate(a["depth"]):
        for depth in row:
            res(b.at(f"input_blocks.{n}.0."), MC, MC)
            if depth:
                transformer(b.at(f"input_blocks.{n}.1."), MC, depth, a["ctx"], a["linear"])
            skips.append(MC)
            n += 1
        if level < len(a["depth"]) - 1:
            b.conv(f"input_blocks.{n}.0.op", MC, MC)
            skips.append(MC)
            n += 1
    res(b.at("middle_block.0."), MC, MC)
    transformer(b.at("middle_block.1."), MC, a["mid"], a["ctx"], a["linear"])
    res(b.at("middle_block.2."), MC, MC)
    if hint:
        w = [(3, 16), (16, 16), (16, 32), (32, 32), (32, 96), (96, 96), (96, 256), (256, MC)]
        for i, (ci, co) in enumerate(w):
            b.conv(f"input_hint_block.{2 * i}", co, ci, gain=1.6)
        for i in range(len(skips)):
            b.conv(f"zero_convs.{i}.0", MC, MC, k=1, gain=0.5)
        b.conv("middle_block_out.0", MC, MC, k=1, gain=0.5)
    return skips


def unet(b, arch):
    a = ARCH[arch]
    skips = encoder_half(b, arch)
    n = 0
    for level in reversed(range(len(a["out_depth"]))):
        for i, depth in enumerate(a["out_depth"][level]):
            res(b.at(f"output_blocks.{n}.0."), MC + skips.pop(), MC)
            k = 1
            if depth:
                transformer(b.at(f"output_blocks.{n}.1."), MC, depth, a["ctx"], a["linear"])
                k = 2
            if level and i == len(a["out_depth"][level]) - 1:
                b.conv(f"output_blocks.{n}.{k}.conv", MC, MC)
            n += 1
    b.norm("out.0", MC)
    b.conv("out.2", 4, MC, gain=0.25)
    carry_noise(b, arch, n - 1)


def carry_noise(b, arch, last):
    """Let the first normalisation group (channels 0..9) carry +x and -x of the
    four latent channels from the input convolution over the outermost skip to
    the output convolution, so that the prediction is x plus a random function
    of (x, t, prompt, control).  Noise then really shrinks along the schedule
    and a low denoise keeps the picture, as with a trained model.
    silu(a) - silu(-a) = a makes the last activation drop out."""
    w = {
        k: b.sd[b.prefix + k]
        for k in (
            "input_blocks.0.0.weight",
            "input_blocks.0.0.bias",
            "out.2.weight",
            f"output_blocks.{last}.0.skip_connection.weight",
            f"output_blocks.{last}.0.skip_connection.bias",
            f"output_blocks.{last}.0.out_layers.3.weight",
            f"output_blocks.{last}.0.out_layers.3.bias",
        )
    }
    for k in w:
        if not k.startswith("out.2"):
            w[k][:10] = 0
    w["out.2.weight"][:, :10] = 0
    if ARCH[arch]["out_depth"][0][-1]:
        for k in ("weight", "bias"):
            b.sd[b.prefix + f"output_blocks.{last}.1.proj_out.{k}"][:10] = 0
    for c in range(4):
        for sign, ch in ((1.0, 2 * c), (-1.0, 2 * c + 1)):
            w["input_blocks.0.0.weight"][ch, c, 1, 1] = sign
            w["out.2.weight"][c, ch, 1, 1] = sign * 0.9
    for ch in range(10):
        w[f"output_blocks.{last}.0.skip_connection.weight"][ch, MC + ch, 0, 0] = 1.0


def controlnet(seed, arch):
    b = Bag(seed)
    encoder_half(b.at("control_model."), arch, hint=True)
    return b.sd


# ---------------------------------------------------------------- text encoders
def clip_l(b):
    """HF CLIPTextModel keys, 12 layers of 768."""
    d = 768
    t = b.at("text_model.")
    t.rnd("embeddings.token_embedding.weight", 49408, d, std=0.5)
    t.rnd("embeddings.position_embedding.weight", 77, d, std=0.1)
    t.put("embeddings.position_ids", torch.arange(77).unsqueeze(0), torch.int64)
    for i in range(12):
        e = t.at(f"encoder.layers.{i}.")
        for p in "qkv":
            e.lin(f"self_attn.{p}_proj", d, d)
        e.lin("self_attn.out_proj", d, d, gain=0.5)
        e.norm("layer_norm1", d)
        e.norm("layer_norm2", d)
        e.lin("mlp.fc1", 4 * d, d)
        e.lin("mlp.fc2", d, 4 * d, gain=0.5)
    t.norm("final_layer_norm", d)


def clip_g(b):
    """OpenCLIP keys, 32 layers of 1280."""
    d = 1280
    b.rnd("token_embedding.weight", 49408, d, std=0.5)
    b.rnd("positional_embedding", 77, d, std=0.1)
    b.rnd("text_projection", d, d)
    b.put("logit_scale", torch.tensor(4.6))
    for i in range(32):
        e = b.at(f"transformer.resblocks.{i}.")
        e.rnd("attn.in_proj_weight", 3 * d, d)
        e.rnd("attn.in_proj_bias", 3 * d, std=0.01)
        e.lin("attn.out_proj", d, d, gain=0.5)
        e.norm("ln_1", d)
        e.norm("ln_2", d)
        e.lin("mlp.c_fc", 4 * d, d)
        e.lin("mlp.c_proj", d, 4 * d, gain=0.5)
    b.norm("ln_final", d)


# ---------------------------------------------------------------- VAE
def vae_full(b):
    """AutoencoderKL in LDM keys: ch 128, mult 1,2,4,4, 2 res blocks."""
    ch, mult, nres = 128, [1, 2, 4, 4], 2

    def rb(b, ci, co):
        b.norm("norm1", ci)
        b.conv("conv1", co, ci)
        b.norm("norm2", co)
        b.conv("conv2", co, co, gain=0.5)
        if ci != co:
            b.conv("nin_shortcut", co, ci, k=1)

    def mid(b, c):
        rb(b.at("block_1."), c, c)
        b.norm("attn_1.norm", c)
        for p in ("q", "k", "v", "proj_out"):
            b.conv("attn_1." + p, c, c, k=1)
        rb(b.at("block_2."), c, c)

    e, cur = b.at("encoder."), ch
    e.conv("conv_in", ch, 3)
    for i, m in enumerate(mult):
        for j in range(nres):
            rb(e.at(f"down.{i}.block.{j}."), cur, ch * m)
            cur = ch * m
        if i < len(mult) - 1:
            e.conv(f"down.{i}.downsample.conv", cur, cur)
    mid(e.at("mid."), cur)
    e.norm("norm_out", cur)
    e.conv("conv_out", 8, cur)
    # keep the posterior's log-variance low so that encoding is nearly deterministic
    e.sd[e.prefix + "conv_out.bias"][4:] = -20.0
    e.sd[e.prefix + "conv_out.weight"][4:] *= 0.01
    b.conv("quant_conv", 8, 8, k=1)
    b.conv("post_quant_conv", 4, 4, k=1)
    q = torch.eye(8).reshape(8, 8, 1, 1)
    b.put("quant_conv.weight", q)
    b.put("quant_conv.bias", torch.zeros(8))
    b.put("post_quant_conv.weight", torch.eye(4).reshape(4, 4, 1, 1))
    b.put("post_quant_conv.bias", torch.zeros(4))
    d, cur = b.at("decoder."), ch * mult[-1]
    d.conv("conv_in", cur, 4)
    mid(d.at("mid."), cur)
    for i in reversed(range(len(mult))):
        for j in range(nres + 1):
            rb(d.at(f"up.{i}.block.{j}."), cur, ch * mult[i])
            cur = ch * mult[i]
        if i:
            d.conv(f"up.{i}.upsample.conv", cur, cur)
    d.norm("norm_out", cur)
    d.conv("conv_out", 3, cur, gain=0.5)


def vae_tiny(b, scale=0.18215):
    """TAESD layout (sequential indices), about 2.4 M parameters.

    Channels 0..2 carry R, G and B straight through, so this is a crude but
    true autoencoder (8x nearest down, 8x nearest up) with faint seeded
    texture from the other 61 channels: a picture survives encode + decode.
    scale turns raw VAE latents into model latents (0.18215 SD1.5, 0.13025 SDXL)."""

    def conv(b, name, out, inp, bias=True, gain=0.3, carry=0.0, k=1.0, shift=0.0):
        b.conv(name, out, inp, bias=bias, gain=gain)
        w = b.sd[b.prefix + name + ".weight"]
        w[:3].zero_()
        if bias:
            b.sd[b.prefix + name + ".bias"][:3] = shift
        if carry:
            for c in range(3):
                w[c, c, 1, 1] = carry * k

    def block(b):
        for i in (0, 2, 4):  # residual branch leaves 0..2 alone
            conv(b, f"conv.{i}", 64, 64)

    e = b.at("taesd_encoder.")
    conv(e, "0", 64, 3, carry=1.0)
    block(e.at("1."))
    n = 2
    for _ in range(3):
        conv(e, str(n), 64, 64, bias=False, carry=1.0)
        for k in range(1, 4):
            block(e.at(f"{n + k}."))
        n += 4
    conv(e, str(n), 4, 64, carry=4.0, shift=-2.0)
    d = b.at("taesd_decoder.")
    conv(d, "1", 64, 4, carry=1.0, shift=3.0)
    n = 3
    for _ in range(3):
        for k in range(3):
            block(d.at(f"{n + k}."))
        conv(d, str(n + 4), 64, 64, bias=False, carry=1.0)
        n += 5
    block(d.at(f"{n}."))
    conv(d, str(n + 1), 3, 64, carry=0.25, shift=-0.25)
    w = d.sd[d.prefix + f"{n + 1}.weight"]
    w[:, 3:] = torch.randn(3, 61, 3, 3, generator=torch.Generator().manual_seed(b.seed)) * 0.004
    b.put("vae_scale", torch.tensor(scale), torch.float32)
    b.put("vae_shift", torch.tensor(0.0), torch.float32)


# ---------------------------------------------------------------- checkpoints
def checkpoint(seed, arch, vae):
    b = Bag(seed)
    unet(b.at("model.diffusion_model."), arch)
    if arch == "sd15":
        clip_l(b.at("cond_stage_model.transformer."))
    else:
        clip_l(b.at("conditioner.embedders.0.transformer."))
        clip_g(b.at("conditioner.embedders.1.model."))
    vae(b.at("first_stage_model."))
    return b.sd


# ---------------------------------------------------------------- InstantID
def instantid(seed):
    """{'image_proj': resampler, 'ip_adapter': one k/v pair per cross attention}."""
    p, d = Bag(seed), 1280
    p.rnd("latents", 1, 16, d, std=1 / math.sqrt(d))
    p.lin("proj_in", d, 512, gain=1.0)
    p.lin("proj_out", 2048, d)
    p.norm("norm_out", 2048)
    for i in range(4):
        a = p.at(f"layers.{i}.0.")
        a.norm("norm1", d)
        a.norm("norm2", d)
        a.lin("to_q", 1280, d, bias=False)
        a.lin("to_kv", 2560, d, bias=False)
        a.lin("to_out", d, 1280, bias=False)
        f = p.at(f"layers.{i}.1.")
        f.norm("0", d)
        f.lin("1", 4 * d, d, bias=False)
        f.lin("3", d, 4 * d, bias=False)
    ip = Bag(seed + 1)
    for i in range(70):  # 70 cross attentions in SDXL, odd numbers
        ip.rnd(f"{2 * i + 1}.to_k_ip.weight", MC, 2048)
        ip.rnd(f"{2 * i + 1}.to_v_ip.weight", MC, 2048)
    return {"image_proj": p.sd, "ip_adapter": ip.sd}


# ---------------------------------------------------------------- IP-Adapter
def clip_vision(seed):
    """CLIP ViT-L/14 vision tower, HF keys (ComfyUI tells the size by depth)."""
    b, d = Bag(seed), 1024
    v = b.at("vision_model.")
    v.rnd("embeddings.class_embedding", d, std=0.5)
    v.rnd("embeddings.patch_embedding.weight", d, 3, 14, 14)
    v.rnd("embeddings.position_embedding.weight", 257, d, std=0.3)
    v.put("embeddings.position_ids", torch.arange(257).unsqueeze(0), torch.int64)
    v.norm("pre_layrnorm", d)
    for i in range(24):
        e = v.at(f"encoder.layers.{i}.")
        for p in ("q_proj", "k_proj", "v_proj"):
            e.lin("self_attn." + p, d, d)
        e.lin("self_attn.out_proj", d, d, gain=0.5)
        e.norm("layer_norm1", d)
        e.norm("layer_norm2", d)
        e.lin("mlp.fc1", 4 * d, d)
        e.lin("mlp.fc2", d, 4 * d, gain=0.5)
    v.norm("post_layernorm", d)
    b.rnd("visual_projection.weight", 768, d)
    return b.sd


def ip_adapter(seed, arch):
    """Plain IP-Adapter (4 tokens) for the ViT-L image embedding above."""
    b = Bag(seed)
    ctx, n = ARCH[arch]["ctx"], 16 if arch == "sd15" else 70
    b.lin("image_proj.proj", 4 * ctx, 768)
    b.norm("image_proj.norm", ctx)
    for i in range(n):
        b.rnd(f"ip_adapter.{2 * i + 1}.to_k_ip.weight", MC, ctx)
        b.rnd(f"ip_adapter.{2 * i + 1}.to_v_ip.weight", MC, ctx)
    return b.sd


# ---------------------------------------------------------------- upscaler
def esrgan(seed, nf=32, gc=32, nb=2):
    """Old-layout RRDBNet 4x.  Channels 0..2 carry the picture through, so the
    result looks like a nearest-neighbour 4x with faint seeded texture."""
    b = Bag(seed, dtype=torch.float32)

    def conv(name, out, inp, carry, gain):
        b.conv(name, out, inp, gain=gain)
        w, bi = b.sd[name + ".weight"], b.sd[name + ".bias"]
        bi.zero_()
        if carry:
            w[:3].zero_()
            for c in range(3):
                w[c, c, 1, 1] = 1.0

    conv("model.0", nf, 3, True, 1.0)
    for i in range(nb):
        for r in (1, 2, 3):
            for c in range(1, 6):
                conv(
                    f"model.1.sub.{i}.RDB{r}.conv{c}.0",
                    gc if c < 5 else nf,
                    nf + (c - 1) * gc,
                    False,
                    0.5,
                )
    conv(f"model.1.sub.{nb}", nf, nf, False, 0.05)
    conv("model.3", nf, nf, True, 0.5)
    conv("model.6", nf, nf, True, 0.5)
    conv("model.8", nf, nf, True, 0.5)
    conv("model.10", 3, nf, True, 0.1)
    b.sd["model.10.weight"][:, 3:] = 0.002
    return b.sd


# ---------------------------------------------------------------- LoRA, embeddings
def lora_pair(b, name, out, inp, rank=4):
    b.rnd(name + ".lora_down.weight", rank, inp)
    b.rnd(name + ".lora_up.weight", out, rank, gain=0.4)
    b.put(name + ".alpha", torch.tensor(float(rank)))


def lora(seed, arch):
    b = Bag(seed)
    a = ARCH[arch]
    tes = (
        [("lora_te_", 12, 768)]
        if arch == "sd15"
        else [("lora_te1_", 12, 768), ("lora_te2_", 32, 1280)]
    )
    for pre, layers, d in tes:
        for i in range(layers):
            base = f"{pre}text_model_encoder_layers_{i}_"
            for p in ("q", "k", "v", "out"):
                lora_pair(b, base + f"self_attn_{p}_proj", d, d)

    def block(base, depth):
        for k in range(depth):
            t = f"{base}_transformer_blocks_{k}_"
            for at, kv in (("attn1", MC), ("attn2", a["ctx"])):
                lora_pair(b, t + at + "_to_q", MC, MC)
                lora_pair(b, t + at + "_to_k", MC, kv)
                lora_pair(b, t + at + "_to_v", MC, kv)
                lora_pair(b, t + at + "_to_out_0", MC, MC)

    if arch == "sd15":  # diffusers block names, as kohya writes SD1.x
        for lv, row in enumerate(a["depth"]):
            for j, dep in enumerate(row):
                block(f"lora_unet_down_blocks_{lv}_attentions_{j}", dep)
        block("lora_unet_mid_block_attentions_0", a["mid"])
        nlev = len(a["out_depth"])
        for lv, row in enumerate(a["out_depth"]):
            for j, dep in enumerate(row):
                block(f"lora_unet_up_blocks_{nlev - 1 - lv}_attentions_{j}", dep)
    else:  # LDM block names, as kohya writes SDXL
        for n, dep in ((4, 2), (5, 2), (7, 10), (8, 10)):
            block(f"lora_unet_input_blocks_{n}_1", dep)
        block("lora_unet_middle_block_1", a["mid"])
        for n, dep in ((0, 10), (1, 10), (2, 10), (3, 2), (4, 2), (5, 2)):
            block(f"lora_unet_output_blocks_{n}_1", dep)
    return b.sd


def embedding_sd15(seed):
    b = Bag(seed, dtype=torch.float32)
    b.rnd("v", 2, 768, std=0.5)
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": b.sd["v"]},
        "name": "synth_ti_sd15",
        "step": 1,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }


def embedding_sdxl(seed):
    b = Bag(seed)
    b.rnd("clip_l", 2, 768, std=0.5)
    b.rnd("clip_g", 2, 1280, std=0.5)
    return b.sd


def vae_alone(make, seed):
    b = Bag(seed)
    make(b)
    return b.sd


# ---------------------------------------------------------------- the files
Make = Callable[[], Mapping[str, Any]]

FILES: Mapping[str, tuple[str, Make]] = {
    "sd15": (
        "models/Stable-diffusion/synth_sd15.safetensors",
        lambda: checkpoint(1, "sd15", vae_tiny),
    ),
    "sdxl": (
        "models/Stable-diffusion/synth_sdxl.safetensors",
        lambda: checkpoint(11, "sdxl", lambda b: vae_tiny(b, 0.13025)),
    ),
    "vae": ("models/VAE/synth_vae_full.safetensors", lambda: vae_alone(vae_full, 21)),
    "control15": (
        "models/ControlNet/synth_control_sd15_canny.safetensors",
        lambda: controlnet(31, "sd15"),
    ),
    "controlxl": (
        "models/ControlNet/synth_control_sdxl_canny.safetensors",
        lambda: controlnet(32, "sdxl"),
    ),
    "instantid-control": (
        "models/ControlNet/control_instant_id_sdxl.safetensors",
        lambda: controlnet(33, "sdxl"),
    ),
    "instantid": ("models/ControlNet/ip-adapter_instant_id_sdxl.bin", lambda: instantid(41)),
    "esrgan": ("models/ESRGAN/4x_synth.pth", lambda: esrgan(51)),
    "lora15": ("models/Lora/synth_lora_sd15.safetensors", lambda: lora(61, "sd15")),
    "loraxl": ("models/Lora/synth_lora_sdxl.safetensors", lambda: lora(62, "sdxl")),
    "embedding15": ("embeddings/synth_ti_sd15.pt", lambda: embedding_sd15(71)),
    "embeddingxl": ("embeddings/synth_ti_sdxl.safetensors", lambda: embedding_sdxl(72)),
    "clip-vision": (
        "models/clip_vision/synth_clip_vision_vit_l.safetensors",
        lambda: clip_vision(81),
    ),
    "ip-adapter15": (
        "models/ControlNet/ip-adapter_sd15.safetensors",
        lambda: ip_adapter(82, "sd15"),
    ),
    "ip-adapterxl": (
        "models/ControlNet/ip-adapter_sdxl.safetensors",
        lambda: ip_adapter(83, "sdxl"),
    ),
}
"""Tag -> where it lies below A1111's root, and what makes it."""

METADATA: Mapping[str, Mapping[str, str]] = {
    "lora15": {"ss_output_name": "synth_lora_sd15", "ss_base_model_version": "sd_v1"},
    "loraxl": {"ss_output_name": "synth_lora_sdxl", "ss_base_model_version": "sdxl_base_v1-0"},
}

ALIASES: Mapping[str, str] = {
    "models/Stable-diffusion/dynavisionXLAllInOneStylized_release0557Bakedvae.safetensors": "sdxl",
    "models/RealESRGAN/RealESRGAN_x4plus.pth": "esrgan",
    "embeddings/synth_ti_alias.pt": "embedding15",
}
"""Another name below A1111's root -> tag of the file that it is."""


def write(tag: str, root: Path) -> Path:
    """Make one of `FILES` below `root`, under a temporary name until it is whole."""
    place, make = FILES[tag]
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    if path.suffix == ".safetensors":
        note = {"synthetic": "seeded random weights, not a trained model"}
        save_file(make(), partial, metadata={**METADATA.get(tag, {}), **note})
    else:
        torch.save(make(), partial)
    return partial.rename(path)


def link_aliases(root: Path) -> None:
    for place, tag in ALIASES.items():
        path, target = root / place, root / FILES[tag][0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not path.exists():
            path.symlink_to(os.path.relpath(target, path.parent))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the lab's random models.")
    parser.add_argument("out", type=Path, help="A1111's root folder")
    parser.add_argument("--only", default=",".join(FILES), help="tags, separated by commas")
    arguments = parser.parse_args()
    for tag in arguments.only.split(","):
        start = time.monotonic()
        path = write(tag, arguments.out)
        size = path.stat().st_size / 1e6
        print(f"{path.name:46} {size:8.1f} MB {time.monotonic() - start:6.1f} s", flush=True)
    link_aliases(arguments.out)


if __name__ == "__main__":
    main()
