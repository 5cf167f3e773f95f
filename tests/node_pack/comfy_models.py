"""Small models with random weights inside ComfyUI's own code, for comparing with the extension.

Importing this skips the importing tests where no ComfyUI checkout (COMFYUI_DIR) can be imported.
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
import comfy.latent_formats  # noqa: E402
import comfy.model_base  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.supported_models_base  # noqa: E402
import nodes as core  # noqa: E402
from comfy.cldm.cldm import ControlNet  # noqa: E402
from comfy.clip_vision import ClipVisionModel  # noqa: E402
from comfy.ldm.modules.attention import BasicTransformerBlock  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import (  # noqa: E402
    UNetModel,
    forward_timestep_embed,
    timestep_embedding,
)
from comfy.t2i_adapter.adapter import Adapter, Adapter_light  # noqa: E402
from comfy_extras.nodes_controlnet import SetUnionControlNetType  # noqa: E402
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced  # noqa: E402

from custom_nodes.comfyui_a1111.nodes import comfy_guider, sampling  # noqa: E402

__all__ = [
    "Adapter",
    "Adapter_light",
    "BasicTransformerBlock",
    "ControlNet",
    "SamplerCustomAdvanced",
    "SetUnionControlNetType",
    "comfy",
    "comfy_guider",
    "core",
]

SIGMAS = [14.614641, 7.0, 3.0, 1.0, 0.4, 0.0]
"""A short pass of five steps."""

WIDTH, TEXT, CELLS = 32, 16, 16

VECTOR = 24
"""Numbers in the pooled text and the sizes that a narrow SDXL reads."""


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


def unet(is_sdxl: bool, text: int = TEXT, depth: int = 1) -> Any:
    """A narrow UNet with the blocks of SD1.5 or SDXL.

    Args:
        text: width of the tokens that it reads.
        depth: of SDXL's first transformers; the deeper ones have `depth` more, or 10 for its own 2.
    """
    deep = 10 if depth == 2 else depth + 1
    shared = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": WIDTH,
        "use_spatial_transformer": True,
        "context_dim": text,
        "num_head_channels": 16,
        "operations": comfy.ops.disable_weight_init,
    }
    if is_sdxl:
        blocks: dict[str, Any] = {
            "num_res_blocks": [2, 2, 2],
            "channel_mult": [1, 2, 4],
            "transformer_depth": [0, 0, depth, depth, deep, deep],
            "transformer_depth_middle": deep,
            "transformer_depth_output": [0, 0, 0, depth, depth, depth, deep, deep, deep],
            "num_classes": "sequential",
            "adm_in_channels": VECTOR,
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


def latent_model(network: Any) -> Any:
    """A MODEL with SD1.5's latents around a UNet, with A1111's model sampling."""

    class Config(comfy.supported_models_base.BASE):
        pass

    config = Config({})
    config.latent_format = comfy.latent_formats.SD15()
    config.manual_cast_dtype = None
    base = comfy.model_base.BaseModel(config, unet_model=lambda **kwargs: network)
    cpu = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(base, load_device=cpu, offload_device=cpu)
    return sampling.A1111ModelSampling().patch(patcher, False, "model", False, False)[0]


def control_net(channels: int, heads: int, depth: int = 1) -> Any:
    """A loaded ControlNet of one level with random weights.

    Args:
        channels: of the UNet's first level.
        heads: channels of an attention's head.
        depth: transformers in its one block, beside that in the middle.
    """
    made = ControlNet(
        image_size=32,
        in_channels=4,
        model_channels=channels,
        hint_channels=3,
        num_res_blocks=[1],
        channel_mult=[1],
        transformer_depth=[depth],
        transformer_depth_middle=1,
        use_spatial_transformer=True,
        context_dim=TEXT,
        num_head_channels=heads,
        dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )
    return comfy.controlnet.ControlNet(randomized(made, 7), load_device=torch.device("cpu"))


def stretched(feature: Any, like: Any) -> Any:
    """A feature at the size of a block, as the extension adds it."""
    return torch.nn.functional.interpolate(feature, like.shape[-2:], mode="nearest")


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
            h = h + stretched(left.pop(0), h)
        kept.append(h)
    h = forward_timestep_embed(model.middle_block, h, emb, context, dict(options))
    if left:
        h = h + stretched(left.pop(0), h)
    for block in model.output_blocks:
        before = kept.pop()
        h = torch.cat([h, before], dim=1)
        shape = kept[-1].shape if kept else None
        h = forward_timestep_embed(block, h, emb, context, dict(options), shape)
    return model.out(h)


def call(node: Any, **inputs: Any) -> Any:
    """A node's function with the inputs that are not given at their defaults."""
    return getattr(node(), node.FUNCTION)(**inputs)


def clip_vision(config: str, seed: int) -> Any:
    """ComfyUI's CLIP for pictures with random weights, as CLIPVisionLoader gives it.

    Args:
        config: path of its configuration.
    """
    made = ClipVisionModel(config)
    randomized(made.model, seed)
    return made


class Patcher:
    """As much of ComfyUI's ModelPatcher as patches of the attention need."""

    def __init__(self) -> None:
        self.model_options: dict[str, Any] = {"transformer_options": {}}
        self.model = None
        self.callbacks: list[Any] = []

    def clone(self) -> Patcher:
        made = Patcher()
        made.model_options = {**self.model_options}
        made.callbacks = [*self.callbacks]
        return made

    def add_callback(self, kind: str, callback: Any) -> None:
        assert kind == "on_cleanup"
        self.callbacks.append(callback)

    def cleanup(self) -> None:
        """As ComfyUI ends a pass."""
        for callback in self.callbacks:
            callback(self)

    def get_model_object(self, name: str) -> Any:
        return SimpleNamespace(percent_to_sigma=lambda percent: 1e9 * (1 - percent))
