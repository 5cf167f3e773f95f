"""T2I-Adapters, union ControlNets and image prompts in ComfyUI and its packs, on random tensors.

Each is held against the extension's formula (sd-webui-controlnet v1.1.455: `hook.py`,
`plugable_ipadapter.py`). Needs a ComfyUI checkout (COMFYUI_DIR) with the packs, and an interpreter
that can import it; runs on the CPU.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
COMFYUI_DIR = os.environ.get("COMFYUI_DIR")
if not COMFYUI_DIR:
    pytest.skip("COMFYUI_DIR is not set: no real ComfyUI to run", allow_module_level=True)
sys.path.insert(0, COMFYUI_DIR)
cli_args = pytest.importorskip("comfy.cli_args")
cli_args.args.cpu = True
pytest.importorskip("comfy.controlnet")

import comfy.controlnet  # noqa: E402
import comfy.ops  # noqa: E402
import nodes as core  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import (  # noqa: E402
    UNetModel,
    forward_timestep_embed,
    timestep_embedding,
)
from comfy.t2i_adapter.adapter import Adapter  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

WIDTH, TEXT, CELLS = 32, 16, 16

T2I_SOFT = (0.25, 0.62, 0.825, 1.0)
"""The extension's soft weights of an adapter, which the translator writes into the node."""


def pack(folder: str) -> ModuleType:
    """The nodes of a pack in the checkout."""
    name = f"pack_{folder.replace('-', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    path = Path(str(COMFYUI_DIR)) / "custom_nodes" / folder / "__init__.py"
    if not path.is_file():
        pytest.skip(f"this ComfyUI has no {folder}")
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def randomized(module: Any, seed: int) -> Any:
    """A module with random weights that keep numbers of one size."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        spread = 1.0 if weight.dim() < 2 else 1.0 / weight[0].numel() ** 0.5
        drawn = torch.randn(weight.shape, generator=generator) * spread
        is_norm_scale = weight.dim() == 1 and name.endswith("weight")
        weight.data = drawn * 0.1 + 1.0 if is_norm_scale else drawn
    return module.float().eval()


def noise(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unet(is_sdxl: bool) -> Any:
    """A narrow UNet with the blocks of SD1.5 or SDXL."""
    shared = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": WIDTH,
        "use_spatial_transformer": True,
        "context_dim": TEXT,
        "num_head_channels": 16,
        "operations": comfy.ops.disable_weight_init,
    }
    if is_sdxl:
        blocks: dict[str, Any] = {
            "num_res_blocks": [2, 2, 2],
            "channel_mult": [1, 2, 4],
            "transformer_depth": [0, 0, 1, 1, 2, 2],
            "transformer_depth_middle": 2,
            "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
            "num_classes": "sequential",
            "adm_in_channels": 24,
            "use_linear_in_transformer": True,
        }
    else:
        blocks = {
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": [1, 2, 4, 4],
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_middle": 1,
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        }
    return randomized(UNetModel(**shared, **blocks), 1)


def extension_forward(
    model: Any, x: Any, t: Any, context: Any, y: Any, features: Sequence[Any]
) -> Any:
    """The UNet with an adapter's features where the extension adds them."""
    places = [3, 5, 8] if y is not None else [2, 5, 8, 11]
    options = {"block": ("", 0)}
    left = list(features)
    emb = model.time_embed(timestep_embedding(t, model.model_channels))
    emb = emb if y is None else emb + model.label_emb(y)
    h, kept = x, []
    for number, block in enumerate(model.input_blocks):
        h = forward_timestep_embed(block, h, emb, context, dict(options))
        if number in places:
            h = h + left.pop(0)
        kept.append(h)
    h = forward_timestep_embed(model.middle_block, h, emb, context, dict(options))
    if left:
        h = h + left.pop(0)
    for block in model.output_blocks:
        before = kept.pop()
        h = torch.cat([h, before], dim=1)
        shape = kept[-1].shape if kept else None
        h = forward_timestep_embed(block, h, emb, context, dict(options), shape)
    return model.out(h)


@pytest.mark.parametrize("is_sdxl", [False, True], ids=["SD1.5", "SDXL"])
@pytest.mark.parametrize("mode", ["Balanced", "My prompt", "ControlNet"])
def test_a_t2i_adapters_features_are_weighted_and_added_as_in_the_extension(
    is_sdxl: bool, mode: str
) -> None:
    acn = pack("ComfyUI-Advanced-ControlNet").NODE_CLASS_MAPPINGS
    model, strength = unet(is_sdxl), 0.7
    channels = [WIDTH, WIDTH * 2, WIDTH * 4, WIDTH * 4]
    cin = 3 * (256 if is_sdxl else 64)
    adapter = randomized(Adapter(channels, 2, cin, ksize=1, sk=True, use_conv=False, xl=is_sdxl), 2)
    hint = noise(1, CELLS * 8, CELLS * 8, 3, seed=3).clamp(0, 1)
    loaded = comfy.controlnet.T2IAdapter(adapter, 3, 8, "nearest-exact")
    positive, negative = [[torch.zeros(1), {}]], [[torch.zeros(1), {}]]
    given = (positive, negative, loaded, hint, strength, 0.0, 1.0)
    if mode == "Balanced":
        made = core.ControlNetApplyAdvanced().apply_controlnet(*given)
        weights: tuple[float, ...] = (1.0,) * 4
    else:
        weights = T2I_SOFT
        # As the translator writes them: SDXL's last feature goes to the middle block.
        written = (T2I_SOFT[0], *T2I_SOFT[:-1]) if is_sdxl else T2I_SOFT
        inputs = {f"input_{number}": weight for number, weight in enumerate(written)}
        kept = 0.0 if mode == "ControlNet" else 1.0
        (override,) = call(acn["ACN_CustomT2IAdapterWeights"], **inputs, uncond_multiplier=kept)[:1]
        names = ("positive", "negative", "control_net", "image", "strength")
        made = call(
            acn["ACN_AdvancedControlNetApply_v2"],
            **dict(zip(names, given, strict=False)),
            start_percent=0.0,
            end_percent=1.0,
            weights_override=override,
        )
    control = made[0][0][1]["control"]
    control.pre_run(SimpleNamespace(), lambda percent: 1e9 * (1 - percent))
    x, t = noise(2, 4, CELLS, CELLS, seed=4), torch.tensor([500.0, 500.0])
    context = noise(2, 7, TEXT, seed=5)
    y = noise(2, 24, seed=6) if is_sdxl else None
    options = {"cond_or_uncond": [1, 0], "sigmas": t, "sample_sigmas": t}
    with torch.no_grad():
        residuals = control.get_control(x, t, {"c_crossattn": context}, 2, options)
        found = model(x, t, context=context, y=y, control=residuals, transformer_options={})
        bare = [item for item in adapter(hint.movedim(-1, 1))["input"][::-1] if item is not None]
        if is_sdxl:
            bare += adapter(hint.movedim(-1, 1))["middle"]
        rows = torch.ones(2, 1, 1, 1)
        rows[0] = 0.0 if mode == "ControlNet" else 1.0
        features = [
            item * rows * strength * weight for item, weight in zip(bare, weights, strict=True)
        ]
        expected = extension_forward(model, x, t, context, y, features)
    assert torch.allclose(found, expected, atol=1e-4)


def call(node: Any, **inputs: Any) -> Any:
    """A node's function with the inputs that are not given at their defaults."""
    return getattr(node(), node.FUNCTION)(**inputs)


def test_a_weight_of_its_own_reaches_the_feature_of_the_middle_block() -> None:
    acn = pack("ComfyUI-Advanced-ControlNet").NODE_CLASS_MAPPINGS
    adapter = randomized(Adapter([WIDTH] * 4, 2, 768, ksize=1, sk=True, use_conv=False, xl=True), 2)
    hint = noise(1, CELLS * 8, CELLS * 8, 3, seed=3).clamp(0, 1)
    (extras,) = call(acn["ACN_ExtrasMiddleMult"], middle_mult=0.3)
    inputs = {f"input_{number}": weight for number, weight in enumerate((0.4, 0.4, 0.5, 0.6))}
    override = call(acn["ACN_CustomT2IAdapterWeights"], **inputs, cn_extras=extras)[0]
    made = call(
        acn["ACN_AdvancedControlNetApply_v2"],
        positive=[[torch.zeros(1), {}]],
        negative=[[torch.zeros(1), {}]],
        control_net=comfy.controlnet.T2IAdapter(adapter, 3, 8, "nearest-exact"),
        image=hint,
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
        weights_override=override,
    )
    control = made[0][0][1]["control"]
    control.pre_run(SimpleNamespace(), lambda percent: 1e9 * (1 - percent))
    x, t = noise(1, 4, CELLS, CELLS, seed=4), torch.tensor([500.0])
    options = {"cond_or_uncond": [0], "sigmas": t, "sample_sigmas": t}
    with torch.no_grad():
        found = control.get_control(x, t, {"c_crossattn": noise(1, 7, TEXT)}, 1, options)
        bare = adapter(hint.movedim(-1, 1))
    kept = [item for item in bare["input"][::-1] if item is not None]
    weighed = [item for item in found["input"][::-1] if item is not None]
    for one, other, weight in zip(kept, weighed, (0.4, 0.5, 0.6), strict=True):
        assert torch.allclose(other, one * weight, atol=1e-5)
    assert torch.allclose(found["middle"][0], bare["middle"][0] * 0.3, atol=1e-5)
