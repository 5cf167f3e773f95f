"""ControlNets beside tiles in ComfyUI's own classes: each tile has the run of its own picture.

Needs a ComfyUI checkout (COMFYUI_DIR) with the packs, and an interpreter that can import it; runs
on the CPU.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from custom_nodes.comfyui_a1111.maths.tiled_control import Postponed
from custom_nodes.comfyui_a1111.maths.tiled_diffusion import MULTI, Tiling, tiled
from tests.node_pack.comfy_models import (
    TEXT,
    WIDTH,
    Adapter,
    call,
    comfy,
    control_net,
    core,
    noise,
    pack,
    randomized,
    torch,
)

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

HEIGHT, BREADTH = 16, 24


def adapter() -> Any:
    channels = [WIDTH, WIDTH * 2, WIDTH * 4, WIDTH * 4]
    network = randomized(
        Adapter(channels, 2, 3 * 64, ksize=1, sk=True, use_conv=False, xl=False), 2
    )
    return comfy.controlnet.T2IAdapter(network, 3, 8, "nearest-exact", device="cpu")


def applied(loaded: Any, hint: Any, way: str) -> Any:
    """Attached to a prompt by core's node or by the pack's, ready to run."""
    names = ("positive", "negative", "control_net", "image", "strength")
    sides = ([[torch.zeros(1), {}]], [[torch.zeros(1), {}]])
    given = dict(zip(names, (*sides, loaded, hint, 0.7), strict=True))
    if way == "core":
        made = core.ControlNetApplyAdvanced().apply_controlnet(
            **given, start_percent=0.0, end_percent=1.0
        )
    else:
        acn = pack("ComfyUI-Advanced-ControlNet").NODE_CLASS_MAPPINGS
        node = acn["ACN_AdvancedControlNetApply_v2"]
        made = call(node, **given, start_percent=0.0, end_percent=1.0)
    control = made[0][0][1]["control"]
    sampling = SimpleNamespace(timestep=lambda t: t, calculate_input=lambda t, x: x)
    control.pre_run(SimpleNamespace(model_sampling=sampling), lambda percent: 1e9 * (1 - percent))
    return control


@pytest.mark.parametrize("way", ["core", "pack"])
@pytest.mark.parametrize("load", [lambda: control_net(WIDTH, heads=16), adapter])
def test_each_tile_has_the_run_of_its_own_picture(load: Any, way: str) -> None:
    tiling = Tiling(MULTI, 0, 0, 16, 16, 8, 4)
    hint = noise(1, HEIGHT * 8, BREADTH * 8, 3, seed=3).clamp(0, 1)
    x, t, context = noise(2, 4, HEIGHT, BREADTH, seed=4), torch.full((2,), 500.0), noise(2, 7, TEXT)
    options = {"cond_or_uncond": [0, 1], "sigmas": t, "sample_sigmas": t}
    seen: list[Any] = []

    def inner(arguments: Any) -> Any:
        found = arguments["c"]["control"]
        seen.append([item for item in (*found["input"], *found["output"]) if item is not None])
        return arguments["input"]

    control = applied(load(), hint, way)
    later = Postponed(control, lambda *given: pytest.fail("the hint has the pass' size"))
    c: dict[str, Any] = {"c_crossattn": context, "transformer_options": options}
    c["control"] = later.get_control(x, t, c, 2, options)
    arguments = {"input": x, "timestep": t, "c": c, "cond_or_uncond": [0, 1]}
    with torch.no_grad():
        tiled(tiling, inner, arguments)
        corners = tiling.corners(BREADTH, HEIGHT)
        for number, (left, top) in enumerate(corners):
            part = hint[:, top * 8 : (top + 16) * 8, left * 8 : (left + 16) * 8]
            alone = applied(load(), part, way)
            cut = x[..., top : top + 16, left : left + 16]
            found = alone.get_control(cut, t, {"c_crossattn": context}, 2, options)
            wanted = [item for item in (*found["input"], *found["output"]) if item is not None]
            assert len(wanted) == len(seen[0]) > 0
            for one, other in zip(seen[0], wanted, strict=True):
                own = one[number * 2 : number * 2 + 2] if one.shape[0] > 1 else one
                assert torch.allclose(own, other.expand_as(own), atol=1e-5)
