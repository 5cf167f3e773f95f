"""LoRAs by step and by block inside ComfyUI's own sampling, on a UNet of one line.

Needs a ComfyUI checkout (COMFYUI_DIR) and an interpreter that can import it; runs on the CPU.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.node_pack.test_comfy_guider import make_model, nodes, text, torch

translate = pytest.importorskip("translator", exc_type=ImportError).translate

import comfy.hooks  # noqa: E402
from comfy_extras import nodes_hooks  # noqa: E402
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced  # noqa: E402

from custom_nodes.comfyui_a1111.maths.lora_blocks import BlockWeights  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.lora_hook import BlocksHook  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

GAIN = 0.3
LORA = {"diffusion_model.gain.diff": torch.tensor(0.5)}
"""A full weight of 0.5 for the UNet's one parameter."""

ELEMENT = {"blocks": ["gain"], "but_blocks": False, "words": [""], "but_words": False, "ratio": 0.4}


def core_hook(strength: float) -> Any:
    return comfy.hooks.create_hook_lora(LORA, strength, 0.0)


def own_hook(strength: float) -> Any:
    group = comfy.hooks.HookGroup()
    blocks = BlockWeights.from_json(json.dumps({"ratios": [1] * 26, "elements": [ELEMENT]}))
    group.add(BlocksHook(LORA, blocks, strength))
    return group


def gains(tag: str, sampler: str, steps: int, hook: Any) -> list[float]:
    """The UNet's parameter at each call of a translated request's pass.

    Args:
        hook: makes the hook, in place of a node that reads a file.
    """
    made = translate(
        {"prompt": f"a <lora:x:{tag}>", "steps": steps, "sampler_name": sampler, "seed": 1}
    )
    graph = {item["class_type"]: item["inputs"] for item in made.graph.values()}
    frames = [
        item["inputs"] for item in made.graph.values() if item["class_type"] == "CreateHookKeyframe"
    ]
    keyframes = None
    for frame in frames:
        (keyframes,) = nodes_hooks.CreateHookKeyframe().create_hook_keyframe(
            frame["strength_mult"], frame["start_percent"], keyframes
        )
    strength = graph["CreateHookLoraModelOnly"]["strength_model"]
    (hooks,) = nodes_hooks.SetHookKeyframes().set_hook_keyframes(hook(strength), keyframes)
    conds = nodes_hooks.PairConditioningSetProperties().set_properties(
        [text(1.0)], [text(0.0)], 1.0, "default", hooks=hooks
    )
    return _gains(graph, conds)


def _gains(graph: dict[str, Any], conds: tuple[Any, Any]) -> list[float]:
    model, seen = make_model(GAIN), []
    unet = model.model.diffusion_model
    unet.register_forward_pre_hook(lambda module, _: seen.append(round(float(module.gain), 4)))
    (guider,) = nodes.A1111Guider().make(model, *conds, **_plain(graph["A1111Guider"]))
    (noise,) = nodes.A1111Noise().make("[5]", "[]", 0.0, 0, 0, "CPU", 0, 1.0)
    (sampler,) = nodes.A1111Sampler().make(**graph["A1111Sampler"])
    (sigmas,) = nodes.A1111Sigmas().make(**graph["A1111Sigmas"])
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    SamplerCustomAdvanced().sample(noise, guider, sampler, sigmas, latent)
    assert float(unet.gain) == pytest.approx(GAIN), "the weight is put back"
    return seen


def _plain(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if not isinstance(value, list)}


@pytest.mark.parametrize("hook", [core_hook, own_hook])
@pytest.mark.parametrize(
    ("tag", "sampler", "expected"),
    [
        ("1:start=3", "Euler", "000111"),
        ("1:stop=3", "Euler", "111000"),
        ("1:step=2-4", "DPM++ 2M", "001100"),
        ("1:start=3", "Euler a", "000111"),
        ("1:stop=2", "DDIM", "110000"),
        ("1:stop=3", "Heun", "11111000000"),
        ("1:start=2", "DPM++ SDE", "00011111111"),
    ],
)
def test_the_weight_changes_at_a1111s_call(
    hook: Any, tag: str, sampler: str, expected: str
) -> None:
    """Of Heun's two calls in a step A1111's counter has advanced before the second."""
    full = GAIN + 0.5 * (0.4 if hook is own_hook else 1.0)
    assert gains(tag, sampler, 6, hook) == [
        pytest.approx(full if acts == "1" else GAIN, abs=1e-3) for acts in expected
    ]


def test_a_curve_follows_the_steps() -> None:
    expected = [GAIN + 0.5 * share for share in (0, 0, 0.25, 0.5, 0.75, 1)]
    assert gains("0@0,1@1", "Euler", 6, core_hook) == pytest.approx(expected, abs=1e-3)
