"""T2I-Adapters, union ControlNets and ControlLLLite in ComfyUI and its packs, on random tensors.

Each is held against the extension's formula (sd-webui-controlnet v1.1.455: `hook.py`, `cldm.py`,
`adapter.py`, `controlnet_lllite.py`). Needs a ComfyUI checkout (COMFYUI_DIR) with the packs, and an
interpreter that can import it; runs on the CPU.
"""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from custom_nodes.comfyui_a1111.nodes import adapters
from tests.node_pack.comfy_models import (
    CELLS,
    TEXT,
    VECTOR,
    WIDTH,
    Adapter,
    Adapter_light,
    ControlNet,
    Patcher,
    SetUnionControlNetType,
    call,
    comfy,
    core,
    extension_forward,
    noise,
    pack,
    randomized,
    torch,
    unet,
)

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

T2I_SOFT = (0.25, 0.62, 0.825, 1.0)
"""The extension's soft weights of an adapter, which the translator writes into the node."""


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
    y = noise(2, VECTOR, seed=6) if is_sdxl else None
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


def applied(loaded: Any, hint: Any, strength: float = 1.0) -> Any:
    """A ControlNet as core's node attaches it to a prompt, ready to run."""
    sides = ([[torch.zeros(1), {}]], [[torch.zeros(1), {}]])
    made = core.ControlNetApplyAdvanced().apply_controlnet(*sides, loaded, hint, strength, 0.0, 1.0)
    control = made[0][0][1]["control"]
    sampling = SimpleNamespace(timestep=lambda t: t, calculate_input=lambda t, x: x)
    control.pre_run(SimpleNamespace(model_sampling=sampling), lambda percent: 1e9 * (1 - percent))
    return control


@pytest.mark.parametrize("kind", ["SD1.5", "SD1.5 light", "SDXL"])
@pytest.mark.parametrize("own", [True, False], ids=["odd size", "hires"])
def test_features_of_another_size_are_stretched_as_in_the_extension(kind: str, own: bool) -> None:
    is_sdxl = kind == "SDXL"
    model, strength = unet(is_sdxl), 0.7
    channels = [WIDTH, WIDTH * 2, WIDTH * 4, WIDTH * 4]
    cin = 3 * (256 if is_sdxl else 64)
    network = (
        Adapter_light(channels, 2, cin)
        if kind == "SD1.5 light"
        else Adapter(channels, 2, cin, ksize=1, sk=True, use_conv=False, xl=is_sdxl)
    )
    adapter = randomized(network, 2)
    height, width = (22, 18) if is_sdxl else (21, 17)
    shown = noise(1, height * 8, width * 8, 3, seed=3).clamp(0, 1)
    first = shown if own else noise(1, 128, 128, 3, seed=8).clamp(0, 1)
    loaded = comfy.controlnet.T2IAdapter(adapter, 3, 8, "nearest-exact")
    (fitted,) = adapters.A1111AdapterFeatures().fit(loaded, None if own else first)
    control = applied(fitted, shown, strength)
    x, t = noise(2, 4, height, width, seed=4), torch.tensor([500.0, 500.0])
    context = noise(2, 7, TEXT, seed=5)
    y = noise(2, VECTOR, seed=6) if is_sdxl else None
    with torch.no_grad():
        residuals = control.get_control(x, t, {"c_crossattn": context}, 2, {})
        found = model(x, t, context=context, y=y, control=residuals, transformer_options={})
        made = adapter(first.movedim(-1, 1))
        bare = [item for item in made["input"][::-1] if item is not None]
        features = [item * strength for item in [*bare, *made.get("middle", [])]]
        expected = extension_forward(model, x, t, context, y, features)
        bare_model = model(x, t, context=context, y=y, control=None, transformer_options={})
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, bare_model, atol=1e-2), "the features act"


def test_a_model_that_is_no_adapter_stays_as_it_is() -> None:
    other = object()
    assert adapters.A1111AdapterFeatures().fit(other) == (other,)


UNION_TASKS = (
    "openpose",
    "depth",
    "hed/pidi/scribble/ted",
    "canny/lineart/anime_lineart/mlsd",
    "normal",
    "segment",
    "tile",
    "repaint",
)
"""SetUnionControlNetType's names in the order of the extension's numbers, 0 to 7."""


def union() -> Any:
    """A union ControlNet of two blocks: its fusing layers are 320 wide by nature."""
    made = ControlNet(
        image_size=32,
        in_channels=4,
        model_channels=320,
        hint_channels=3,
        num_res_blocks=[1],
        channel_mult=[1],
        transformer_depth=[0],
        transformer_depth_middle=1,
        num_classes="sequential",
        adm_in_channels=VECTOR,
        use_spatial_transformer=True,
        use_linear_in_transformer=True,
        context_dim=TEXT,
        num_head_channels=64,
        union_controlnet_num_control_type=8,
        dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )
    return randomized(made, 7)


def union_residuals(
    model: Any, task: int | None, x: Any, hint: Any, t: Any, context: Any, y: Any
) -> list[Any]:
    """The extension's forward of a union ControlNet, from its weights."""
    emb = model.time_embed(sinusoid(t, 320)) + model.label_emb(y)
    kinds = torch.zeros(8)
    if task is not None:
        kinds[task] = 1.0
    of_kinds = sinusoid(kinds, 256).reshape(1, -1)
    first, last = model.control_add_embedding.linear_1, model.control_add_embedding.linear_2
    hidden = torch.nn.functional.silu(of_kinds @ first.weight.T + first.bias)
    emb = emb + hidden @ last.weight.T + last.bias
    guided = model.input_hint_block(hint, emb, context)
    if task is not None:
        tokens = (guided.mean(dim=(2, 3)) + model.task_embedding[task]).unsqueeze(1)
        layer = model.transformer_layes[0]
        normed = layer.ln_1(tokens)
        # One token attends to itself alone: attention gives its value.
        value = layer.attn.in_proj(normed)[..., 640:]
        tokens = tokens + layer.attn.out_proj(value)
        wide = layer.mlp.c_fc(layer.ln_2(tokens))
        tokens = tokens + layer.mlp.c_proj(wide * torch.sigmoid(1.702 * wide))
        guided = guided + model.spatial_ch_projs(tokens[:, 0])[..., None, None]
    h = model.input_blocks[0][0](x) + guided
    made = [model.zero_convs[0][0](h)]
    h = model.input_blocks[1][0](h, emb)
    made.append(model.zero_convs[1][0](h))
    for layer in model.middle_block:
        takes_text = type(layer).__name__ == "SpatialTransformer"
        h = layer(h, context) if takes_text else layer(h, emb)
    return [*made, model.middle_block_out[0](h)]


def sinusoid(values: Any, width: int) -> Any:
    """The embedding of timesteps, and of the switches of a union model's tasks."""
    half = width // 2
    rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    angles = values[:, None].float() * rates[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


@pytest.mark.parametrize("task", [*range(8), None])
def test_a_union_models_task_is_added_as_in_the_extension(task: int | None) -> None:
    model = union()
    loaded = comfy.controlnet.ControlNet(model, load_device="cpu", manual_cast_dtype=None)
    if task is not None:
        (loaded,) = SetUnionControlNetType().set_controlnet_type(loaded, UNION_TASKS[task])
    hint, strength = noise(1, 64, 64, 3, seed=3).clamp(0, 1), 0.6
    control = applied(loaded, hint, strength)
    x, t = noise(2, 4, 8, 8, seed=4), torch.tensor([500.0, 500.0])
    context, y = noise(2, 7, TEXT, seed=5), noise(2, VECTOR, seed=6)
    cond = {"c_crossattn": context, "y": y}
    with torch.no_grad():
        found = control.get_control(x, t, cond, 2, {})
        shown = hint.movedim(-1, 1).repeat(2, 1, 1, 1)
        expected = union_residuals(model, task, x, shown, t, context, y)
    made = [*found["output"], *found["middle"]]
    assert len(made) == len(expected)
    for one, other in zip(made, expected, strict=True):
        assert torch.allclose(one, other * strength, atol=1e-4)


LLLITE_NAMES = (
    "input_blocks_4_1_transformer_blocks_0_attn1_to_q",
    "input_blocks_4_1_transformer_blocks_0_attn1_to_k",
    "input_blocks_8_1_transformer_blocks_1_attn2_to_q",
    "middle_block_1_transformer_blocks_1_attn1_to_v",
    "output_blocks_2_1_transformer_blocks_0_attn1_to_q",
)


def lllite_file(seed: int, depth: int) -> dict[str, Any]:
    """A ControlLLLite's tensors; `depth` is of the layers that embed its picture."""
    model, made = unet(is_sdxl=True), {}
    for number, name in enumerate(LLLITE_NAMES):
        width = projection(model, name).in_features
        module = lllite_module(width, depth)
        for key, value in randomized(module, seed + number).state_dict().items():
            made[f"lllite_unet_{name}.{key}"] = value
    return made


def lllite_module(width: int, depth: int) -> Any:
    """The layers of the extension's module, embedding 8 channels, 16 hidden."""
    layer, relu = torch.nn.Conv2d, torch.nn.ReLU
    embed = [layer(3, 4, 4, 4)]
    if depth == 3:
        embed += [relu(), layer(4, 4, 4, 4)]
    last = 4 if depth == 2 else 2
    embed += [relu(), layer(4, 8, last, last)]
    linear = torch.nn.Linear
    return torch.nn.ModuleDict(
        {
            "conditioning1": torch.nn.Sequential(*embed),
            "down": torch.nn.Sequential(linear(width, 16), relu()),
            "mid": torch.nn.Sequential(linear(24, 16), relu()),
            "up": torch.nn.Sequential(linear(16, width)),
        }
    )


def projection(model: Any, name: str) -> Any:
    """The attention's projection that a module's name stands for."""
    place, rest = name.split("_1_transformer_blocks_")
    number, attention, target = rest.split("_", 2)
    kind, *index = place.rsplit("_", 1) if place != "middle_block" else [place]
    block = getattr(model, kind)
    block = block[int(index[0])] if index else block
    found = getattr(block[1].transformer_blocks[int(number)], attention)
    return getattr(found, target)


def lllite_added(module: Any, picture: Any, x: Any, size: tuple[int, int], weight: float) -> Any:
    """What the extension adds to a projection's input."""
    cx = module["conditioning1"](picture * 2.0 - 1.0)
    cx = torch.nn.functional.interpolate(cx, size, mode="nearest-exact")
    cx = cx.flatten(2).permute(0, 2, 1).repeat(x.shape[0], 1, 1)
    joined = module["mid"](torch.cat([cx, module["down"](x)], dim=2))
    return module["up"](joined) * weight


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 12), (15, 13)], ids=["even", "odd"])
def test_controlllites_add_to_the_projections_as_in_the_extension(
    depth: int, size: tuple[int, int]
) -> None:
    loader = pack("ComfyUI-Advanced-ControlNet")
    load = __import__(f"{loader.__name__}.adv_control.control_lllite", fromlist=["x"])
    file = lllite_file(5, depth)
    model = unet(is_sdxl=True)
    pictures = [noise(1, size[0] * 8, size[1] * 8, 3, seed=seed).clamp(0, 1) for seed in (3, 4)]
    weights = (0.7, 0.4)
    patched: Any = Patcher()
    for picture, weight in zip(pictures, weights, strict=True):
        # Both units of one file: loaded once, as ComfyUI's cache does.
        control = load.load_controllllite("", dict(file))
        (patched,) = adapters.A1111ControlLLLite().patch(
            patched, control, picture, weight, 0.0, 1.0
        )
    x, t = noise(2, 4, *size, seed=4), torch.tensor([5.0, 5.0])
    context, y = noise(2, 7, TEXT, seed=5), noise(2, VECTOR, seed=6)
    options = {**patched.model_options["transformer_options"], "sigmas": t}
    with torch.no_grad():
        found = model(x, t, context=context, y=y, transformer_options=options)
        bare = model(x, t, context=context, y=y, transformer_options={})
        hooks = [
            projection(model, name).register_forward_pre_hook(
                reading(file, name, depth, pictures, weights, level_of(name, size))
            )
            for name in LLLITE_NAMES
        ]
        expected = model(x, t, context=context, y=y, transformer_options={})
        for hook in hooks:
            hook.remove()
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, bare, atol=1e-2)
    patched.cleanup()
    with torch.no_grad():
        again = model(x, t, context=context, y=y, transformer_options=options)
    assert torch.equal(again, found)


def test_a_controlllite_fits_passes_of_other_sizes_and_types_and_leaves_its_file_alone() -> None:
    loader = pack("ComfyUI-Advanced-ControlNet")
    load = __import__(f"{loader.__name__}.adv_control.control_lllite", fromlist=["x"])
    model, picture = unet(is_sdxl=True), noise(1, 128, 96, 3, seed=3).clamp(0, 1)
    control = load.load_controllllite("", lllite_file(5, 1))
    (patched,) = adapters.A1111ControlLLLite().patch(Patcher(), control, picture, 0.7, 0.0, 1.0)
    weights = [value for own in control.patch_attn1.modules.values() for value in own.parameters()]
    kept = [value.clone() for value in weights]
    context, y, t = noise(1, 7, TEXT, seed=5), noise(1, VECTOR, seed=6), torch.tensor([5.0])
    options = {**patched.model_options["transformer_options"], "sigmas": t}
    made = []
    with torch.no_grad():
        for size in ((16, 12), (12, 8), (16, 12)):
            x = noise(1, 4, *size, seed=4)
            made.append(model(x, t, context=context, y=y, transformer_options=options))
        assert torch.equal(made[0], made[2])
        patched.cleanup()
        half = model.to(torch.bfloat16)
        half.dtype = torch.bfloat16
        given = [value.to(torch.bfloat16) for value in (noise(1, 4, 16, 12, seed=4), context, y)]
        found = half(given[0], t, context=given[1], y=given[2], transformer_options=options)
    assert torch.isfinite(found).all()
    for value, before in zip(weights, kept, strict=True):
        assert value.dtype == before.dtype and torch.equal(value, before)


def level_of(name: str, size: tuple[int, int]) -> tuple[int, int]:
    """The size of the block that a module acts in."""
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    return half if name.startswith("input_blocks_4") else ((half[0] + 1) // 2, (half[1] + 1) // 2)


def reading(
    file: dict[str, Any],
    name: str,
    depth: int,
    pictures: list[Any],
    weights: tuple[float, ...],
    size: tuple[int, int],
) -> Any:
    """A hook that adds what the extension's modules of all units make of a projection's input."""
    prefix = f"lllite_unet_{name}."
    state = {key[len(prefix) :]: value for key, value in file.items() if key.startswith(prefix)}
    module = lllite_module(state["up.0.weight"].shape[0], depth)
    module.load_state_dict(state)

    def hook(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        (x,) = inputs
        made = (
            lllite_added(module, picture.movedim(-1, 1), x, size, weight)
            for picture, weight in zip(pictures, weights, strict=True)
        )
        return (x + sum(made),)

    return hook


@pytest.mark.parametrize("pools", [True, False])
@pytest.mark.parametrize("weights", [(), (0.5, 0.7)])
def test_a_region_weighs_each_residual_at_its_own_size(
    pools: bool, weights: tuple[float, ...]
) -> None:
    """The mask is shrunk to each of them at once, and the average comes after it."""
    loaded = comfy.controlnet.ControlNet(
        union(), global_average_pooling=pools, load_device="cpu", manual_cast_dtype=None
    )
    mask = noise(1, 41, 30, seed=9).abs().clamp(0, 1)
    bound = adapters.A1111ControlNetRegion().bound
    (bounded,) = bound(loaded, mask, json.dumps(weights))
    assert type(loaded) is comfy.controlnet.ControlNet, "the loaded one stays"
    control = applied(bounded, noise(1, 64, 64, 3, seed=3).clamp(0, 1), 0.6)
    x, t = noise(2, 4, 8, 8, seed=4), torch.tensor([500.0, 500.0])
    context, y = noise(2, 7, TEXT, seed=5), noise(2, VECTOR, seed=6)
    with torch.no_grad():
        found = control.get_control(x, t, {"c_crossattn": context, "y": y}, 2, {})
        shown = noise(1, 64, 64, 3, seed=3).clamp(0, 1).movedim(-1, 1).repeat(2, 1, 1, 1)
        residuals = union_residuals(union(), None, x, shown, t, context, y)
    each = [*found["output"], *found["middle"]]
    for place, (one, residual) in enumerate(zip(each, residuals, strict=True)):
        weight = 1.0 if not weights else weights[place] if place < len(weights) else 0.0
        size = residual.shape[-2:]
        here = torch.nn.functional.interpolate(mask[None], size=size, mode="bilinear")
        wanted = residual * 0.6 * weight * here
        if pools:
            wanted = wanted.mean(dim=(2, 3), keepdim=True).expand_as(wanted)
        assert torch.allclose(one, wanted, atol=1e-4)


@pytest.mark.parametrize("pools", [True, False])
def test_a_shuffle_models_residuals_are_averaged_over_the_picture(pools: bool) -> None:
    loaded = comfy.controlnet.ControlNet(
        union(), global_average_pooling=not pools, load_device="cpu", manual_cast_dtype=None
    )
    (pooled,) = adapters.A1111PooledControlNet().pool(loaded, pools)
    assert loaded.global_average_pooling is not pools, "the loaded one stays"
    control = applied(pooled, noise(1, 64, 64, 3, seed=3).clamp(0, 1), 0.6)
    x, t = noise(2, 4, 8, 8, seed=4), torch.tensor([500.0, 500.0])
    context, y = noise(2, 7, TEXT, seed=5), noise(2, VECTOR, seed=6)
    with torch.no_grad():
        found = control.get_control(x, t, {"c_crossattn": context, "y": y}, 2, {})
        shown = noise(1, 64, 64, 3, seed=3).clamp(0, 1).movedim(-1, 1).repeat(2, 1, 1, 1)
        expected = union_residuals(union(), None, x, shown, t, context, y)
    for one, other in zip([*found["output"], *found["middle"]], expected, strict=True):
        wanted = other * 0.6
        if pools:
            wanted = wanted.mean(dim=(2, 3), keepdim=True).expand_as(wanted)
        assert torch.allclose(one, wanted, atol=1e-4)
