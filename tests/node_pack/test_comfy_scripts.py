"""Nodes of always-on scripts sampled for real: our guider, ComfyUI's sampling, a narrow UNet.

Needs a ComfyUI checkout (COMFYUI_DIR) and an interpreter that can import it; runs on the CPU.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from custom_nodes.comfyui_a1111.maths.guider import END, PART, WEIGHT
from custom_nodes.comfyui_a1111.maths.regional import HALVES, Counts, Matrix, Regional
from custom_nodes.comfyui_a1111.maths.token_merging import merging_of
from custom_nodes.comfyui_a1111.nodes import (
    guidance,
    regional,
    reversal,
    sampling,
    tiled,
)
from custom_nodes.comfyui_a1111.vendor.plan.lines import Cell, Line
from tests.node_pack.comfy_models import (
    SIGMAS,
    TEXT,
    SamplerCustomAdvanced,
    UNetModel,
    comfy,
    comfy_guider,
    control_net,
    core,
    latent_model,
    noise,
    randomized,
    torch,
)

attention = importlib.import_module("comfy.ldm.modules.attention")

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

HEIGHT, WIDTH = 8, 12
CHANNELS = 320
"""What FreeU's third stage scales."""


def network() -> Any:
    made = UNetModel(
        image_size=32,
        in_channels=4,
        out_channels=4,
        model_channels=CHANNELS,
        num_res_blocks=[1],
        channel_mult=[1],
        transformer_depth=[1],
        transformer_depth_middle=1,
        transformer_depth_output=[1, 1],
        use_spatial_transformer=True,
        context_dim=TEXT,
        num_head_channels=40,
        dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )
    return randomized(made, 1)


@pytest.fixture(scope="module")
def model() -> Any:
    return latent_model(network())


def text(seed: int, **tags: Any) -> list[Any]:
    return [noise(1, 77, TEXT, seed=seed), tags]


CAT, DOG, BAD = (text(seed) for seed in (11, 12, 13))


def guider(model: Any, positive: Any, negative: Any, cfg: float = 5.0) -> Any:
    made = sampling.A1111Guider().make(
        model,
        positive,
        negative,
        cfg,
        s_min_uncond=0.0,
        s_min_uncond_all=False,
        skip_early_cond=0.0,
        total_steps=5,
    )
    return made[0]


def sampled(
    model: Any,
    positive: Any = (CAT,),
    negative: Any = (BAD,),
    start: Any = None,
    drawn: Any = None,
    seed: int = 5,
) -> Any:
    (own,) = sampling.A1111Noise().make(f"[{seed}]", "[]", 0.0, 0, 0, "CPU", 0, 1.0)
    (euler,) = sampling.A1111Sampler().make("Euler", 0.0, 0, 0, 0, 1, 0, 0, "", "")
    (sigmas,) = sampling.A1111Sigmas().make(json.dumps(SIGMAS))
    latent = {"samples": torch.zeros(1, 4, HEIGHT, WIDTH) if start is None else start}
    made = guider(model, list(positive), list(negative))
    result = SamplerCustomAdvanced().sample(drawn or own, made, euler, sigmas, latent)
    found = result[0]["samples"]
    assert torch.isfinite(found).all()
    return found


def near(one: Any, other: Any) -> bool:
    return bool(torch.allclose(one, other, rtol=1e-3, atol=1e-3))


def free_u(model: Any, bounds: str, counter: str = "calls") -> Any:
    stages = json.dumps([[1, 1, 0, 0.5, 0, 1]] * 2 + [[1.4, 0.5, 0, 0.5, 0, 1]])
    return guidance.A1111FreeU().patch(model, "2", stages, bounds, 0.0, counter, 5, 0)[0]


def test_free_u_acts_in_its_range(model: Any) -> None:
    plain = sampled(model)
    whole, first = sampled(free_u(model, "[0.0, 1.0]")), sampled(free_u(model, "[0, 1]"))
    assert not near(whole, plain) and not near(first, plain) and not near(first, whole)
    assert torch.equal(sampled(free_u(model, "[5, 9]")), plain)
    assert torch.equal(sampled(free_u(model, "[0.9, 1.0]", "steps")), plain)


def test_perturbed_attention_is_cores_in_all_steps(model: Any) -> None:
    node = importlib.import_module("comfy_extras.nodes_pag").PerturbedAttentionGuidance
    out = node.execute(model, 3.0) if hasattr(node, "execute") else node().patch(model, 3.0)
    theirs = sampled(out[0])

    def ours(attenuation: float, start: float, end: float) -> Any:
        made = guidance.A1111PerturbedAttention().patch(model, 3.0, attenuation, start, end, 5)
        return sampled(made[0])

    assert near(ours(0, 0, 1), theirs)
    assert not near(ours(30, 0, 1), theirs) and not near(ours(0, 0.2, 1), theirs)
    assert torch.equal(ours(0, 0.9, 1), sampled(model))


def test_token_merging_is_what_a_block_would_do_with_fewer_tokens(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = sampled(guidance.A1111TokenMerging().patch(model, 0.5)[0])
    plain = sampled(model)
    assert not near(merged, plain)

    def forward(block: Any, x: Any, context: Any = None, transformer_options: Any = None) -> Any:
        """A transformer block as tomesd rewrites it."""
        given = block.norm1(x)
        merging = merging_of(x, (HEIGHT, WIDTH), 0.5)
        assert merging is not None
        x = merging.unmerge(block.attn1(merging.merge(given))) + x
        x = block.attn2(block.norm2(x), context=context) + x
        return block.ff(block.norm3(x)) + x

    monkeypatch.setattr(attention.BasicTransformerBlock, "forward", forward)
    assert near(sampled(model), merged)
    monkeypatch.undo()
    assert torch.equal(sampled(model), plain), "nothing is left behind in the shared network"


def tiles(model: Any, size: int = 8, regions: Any = (), **more: Any) -> Any:
    given = ("MultiDiffusion", WIDTH, HEIGHT, size, size, 4, 4, json.dumps(regions))
    return tiled.A1111TiledDiffusion().patch(model, *given, **more)[0]


def control(strength: float) -> tuple[Any, Any]:
    """Both prompts with a ControlNet."""
    loaded = control_net(CHANNELS, heads=40, depth=0)
    hint = noise(1, HEIGHT * 8, WIDTH * 8, 3, seed=3).clamp(0, 1)
    return core.ControlNetApplyAdvanced().apply_controlnet(
        [CAT], [BAD], loaded, hint, strength, 0.0, 1.0
    )


def test_a_control_net_beside_tiles(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1111's slots leave nothing to a UNet of two blocks, so that ComfyUI's own are looked at."""
    monkeypatch.setattr(comfy_guider, "_is_short", lambda model: False)
    steered = sampled(tiles(model), *control(0.3))
    assert not near(steered, sampled(tiles(model)))
    assert near(sampled(tiles(model), *control(1e-9)), sampled(tiles(model)))
    whole = sampled(tiles(model, 64), *control(0.3))
    assert near(whole, sampled(model, *control(0.3))), "one tile is the pass without tiles"


def test_a_region_over_everything_is_its_prompt(model: Any) -> None:
    region = [[0, 0, 1, 1, "Background", 0.2]]
    prompts = {"positive_0": [DOG], "negative_0": [BAD]}
    alone = tiles(model, regions=region, draws_tiles=False, **prompts)
    assert near(sampled(alone), sampled(model, [DOG]))
    both = sampled(tiles(model, 64, regions=region, **prompts))
    assert not near(both, sampled(model)) and not near(both, sampled(model, [DOG]))


def test_noise_inversion_finds_what_leads_back(model: Any) -> None:
    """Without new noise another seed makes no other picture."""
    cut = tiles(model)
    (sigmas,) = sampling.A1111Sigmas().make(json.dumps([*reversed(SIGMAS)]))
    latent = {"samples": noise(1, 4, HEIGHT, WIDTH, seed=8)}
    picture = noise(1, HEIGHT * 8, WIDTH * 8, 3, seed=9).clamp(0, 1)
    (upwards,) = reversal.A1111InvertingSampler().make(2.0)
    quiet = sampling.A1111Noise().make("[0]", "[]", 0.0, 0, 0, "CPU", 0, 0.0)[0]
    made = guider(cut, [CAT], [BAD], 1.0)
    found = SamplerCustomAdvanced().sample(quiet, made, upwards, sigmas, latent)[0]
    assert torch.isfinite(found["samples"]).all()

    def picture_of(strength: float, seed: int) -> Any:
        (own,) = sampling.A1111Noise().make(f"[{seed}]", "[]", 0.0, 0, 0, "CPU", 0, 1.0)
        (drawn,) = reversal.A1111InvertedNoise().make(
            own, cut, latent, found, picture, strength, 8, SIGMAS[0]
        )
        return sampled(cut, start=latent["samples"], drawn=drawn)

    assert torch.equal(picture_of(0.0, 1), picture_of(0.0, 2))
    assert not near(picture_of(1.0, 1), picture_of(1.0, 2))


def halves(model: Any) -> Any:
    lines = json.dumps([[0, 1, [[0, 0.5, 0, 0], [0.5, 1, 0, 1]]]])
    return regional.A1111RegionalPrompter().patch(model, "Latent", "rows", False, lines, "[]")[0]


def parts(*texts: Any) -> list[Any]:
    made = [[[cond, {END: 0, WEIGHT: 1.0, **tags}]] for cond, tags in texts]
    joined = regional.A1111JoinParts().join(made[0], part_1=made[1])[0]
    assert [tags[PART] for _, tags in joined] == [0, 1]
    return joined


def test_latent_has_a_part_where_its_region_is(model: Any) -> None:
    assert near(sampled(halves(model), parts(CAT, CAT)), sampled(model))
    one, other = sampled(halves(model), parts(CAT, DOG)), sampled(halves(model), parts(DOG, CAT))
    assert not near(one, other) and not near(one, sampled(model))


def divided(model: Any, counts: Counts) -> Any:
    """The model with the patches of the left half's and the right half's text."""
    halves = Matrix(True, False, (Line(0, 1, (Cell(0, 0.5, 0, 0), Cell(0.5, 1, 0, 1))),))
    own = Regional(halves, counts, swaps=False)
    patched = model.clone()
    patched.set_model_attn2_patch(own.before)
    patched.set_model_attn2_output_patch(own.after)
    patched.model_options["transformer_options"][HALVES] = own.halves_heads
    return patched


def test_regions_in_attention(model: Any) -> None:
    """Equal texts are one; a negative prompt of as many chunks halves the attention's heads."""

    def both(one: Any, other: Any) -> Any:
        return [torch.cat([one[0], other[0]], dim=1), {}]

    short, long = Counts((1, 1), (1,)), Counts((1, 1), (2,))
    assert near(sampled(divided(model, short), [both(CAT, CAT)]), sampled(model))
    mixed = sampled(divided(model, short), [both(CAT, DOG)])
    assert not near(mixed, sampled(model)) and not near(mixed, sampled(model, [DOG]))
    halved = sampled(divided(model, long), [both(CAT, CAT)], [both(BAD, BAD)])
    assert not near(halved, sampled(model))
    alike = Counts((1, 1), (1, 1))
    assert near(sampled(divided(model, alike), [both(CAT, CAT)], [both(BAD, BAD)]), sampled(model))
