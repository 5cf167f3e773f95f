"""IP-Adapter's and InstantID's packs against the extension's formula, on random tensors.

The extension (sd-webui-controlnet v1.1.455) adds ``weight * attention(q, k_ip, v_ip)`` to every
cross-attention, keys and values made of the positive tokens for positive rows and of the negative
ones for negative rows; negative tokens are the projection of zeros.

Needs a ComfyUI checkout with the packs (COMFYUI_DIR) and an interpreter that can import it.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
COMFYUI_DIR = os.environ.get("COMFYUI_DIR")
if not COMFYUI_DIR:
    pytest.skip("COMFYUI_DIR is not set", allow_module_level=True)
sys.path.insert(0, COMFYUI_DIR)
cli_args = pytest.importorskip("comfy.cli_args")
cli_args.args.cpu = True

PACKS = Path(COMFYUI_DIR) / "custom_nodes"

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

HEADS, WIDTH, TOKENS, TEXT = 4, 32, 5, 48


def module_of(pack: str, name: str) -> ModuleType:
    """A module of a pack, imported without the pack's own ``__init__``."""
    folder = PACKS / pack
    if not (folder / f"{name}.py").is_file():
        pytest.skip(f"{pack} is not installed")
    package = ModuleType(pack)
    package.__path__ = [str(folder)]
    sys.modules.setdefault(pack, package)
    return importlib.import_module(f"{pack}.{name}")


def attention(q: Any, k: Any, v: Any) -> Any:
    """Plain attention of `HEADS` heads."""
    heads = [t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v)]
    scores = heads[0] @ heads[1].transpose(-1, -2) / heads[0].shape[-1] ** 0.5
    return (scores.softmax(dim=-1) @ heads[2]).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("pack", "callback"),
    [
        ("ComfyUI_IPAdapter_plus", "ipadapter_attention"),
        ("ComfyUI_InstantID", "instantid_attention"),
    ],
)
@pytest.mark.parametrize("kinds", [[1, 0], [0], [1]])
def test_the_packs_attention_is_the_extensions(pack: str, callback: str, kinds: list[int]) -> None:
    patch = module_of(pack, "CrossAttentionPatch")
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator)

    key, value = (torch.nn.Linear(TEXT, WIDTH, bias=False) for _ in range(2))
    layers = SimpleNamespace(to_kvs={"1_to_k_ip": key, "1_to_v_ip": value})
    adapter = SimpleNamespace(ip_layers=layers)
    adapter.get_multigpu_clone = lambda device: adapter
    cond, uncond = random(1, TOKENS, TEXT), random(1, TOKENS, TEXT)
    images, weight = 2, 0.7
    rows = images * len(kinds)
    q, k, v = random(rows, 12, WIDTH), random(rows, 7, WIDTH), random(rows, 7, WIDTH)
    extra = {
        "cond_or_uncond": kinds,
        "block": ("input", 4),
        "transformer_index": 0,
        "original_shape": [rows, 4, 4, 3],
        "n_heads": HEADS,
        "sigmas": torch.ones(1),
    }
    settings = {
        "module_key": "1",
        "ipadapter": adapter,
        "weight": weight,
        "cond": cond,
        "uncond": uncond,
        "weight_type": "linear",
        "sigma_start": 10.0,
        "sigma_end": 0.0,
        "embeds_scaling": "V only",
    }
    with torch.no_grad():
        found = patch.Attn2Replace(getattr(patch, callback), **settings)(q, k, v, extra)
        tokens = torch.cat([(uncond if kind else cond).repeat(images, 1, 1) for kind in kinds])
        wanted = attention(q, k, v) + weight * attention(q, key(tokens), value(tokens))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_packs_projections_are_the_extensions() -> None:
    models = module_of("ComfyUI_IPAdapter_plus", "image_proj_models")
    generator = torch.Generator().manual_seed(4)
    plain = models.ImageProjModel(TEXT, 20, TOKENS)
    face = models.MLPProjModelFaceId(TEXT, 24, TOKENS)
    with torch.no_grad():
        clip = torch.randn(1, 20, generator=generator)
        projected = torch.nn.functional.linear(clip, plain.proj.weight, plain.proj.bias)
        wanted = torch.nn.functional.layer_norm(projected.reshape(1, TOKENS, TEXT), (TEXT,))
        assert torch.allclose(plain(clip), wanted, atol=1e-5)
        embedding = torch.randn(1, 24, generator=generator)
        first, last = face.proj[0], face.proj[2]
        hidden = torch.nn.functional.gelu(embedding @ first.weight.T + first.bias)
        made = (hidden @ last.weight.T + last.bias).reshape(1, TOKENS, TEXT)
        wanted = torch.nn.functional.layer_norm(made, (TEXT,))
        assert torch.allclose(face(embedding), wanted, atol=1e-5)
