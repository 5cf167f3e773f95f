"""A1111Guider and A1111ModelSampling inside ComfyUI's own sampling, on a UNet of one line.

Needs a ComfyUI checkout (COMFYUI_DIR) and an interpreter that can import it; runs on the CPU.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from custom_nodes.comfyui_a1111.maths.guider import END, PART, WEIGHT
from custom_nodes.comfyui_a1111.maths.model_sampling import scaled_linear_abar, sigmas_of_abar
from custom_nodes.comfyui_a1111.maths.regional import HALVES
from custom_nodes.comfyui_a1111.nodes import sampling as nodes
from tests.node_pack.comfy_models import (
    SIGMAS,
    SamplerCustomAdvanced,
    comfy,
    latent_model,
    torch,
)

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

TABLE = sigmas_of_abar(scaled_linear_abar())


class OneLineUNet(torch.nn.Module):
    """eps = gain * x + the mean of the text; notes the text's mean and length of every call."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain), requires_grad=False)
        self.dtype = torch.float32
        self.seen: list[tuple[float, int]] = []
        self.timesteps: list[float] = []
        self.kinds: list[int] = []

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor, **options: Any
    ) -> torch.Tensor:
        transformer = options["transformer_options"]
        self.kinds += transformer["cond_or_uncond"]
        for patch in transformer.get("patches_replace", {}).get("attn2", {}).values():
            patch(x, context, context, {"cond_or_uncond": transformer["cond_or_uncond"]})
        means = context.mean(dim=(1, 2))
        self.seen += [(round(float(mean), 4), context.shape[1]) for mean in means]
        self.timesteps.append(float(t[0]))
        return self.gain * x + means.view(-1, 1, 1, 1) * 0.1


def make_model(gain: float = 0.3) -> Any:
    return latent_model(OneLineUNet(gain))


def text(value: float, tokens: int = 77, **tags: Any) -> list[Any]:
    return [torch.full((1, tokens, 4), value), tags]


def scheduled(value: float, end: int, part: int = 0, weight: float = 1.0, **more: Any) -> list[Any]:
    return text(value, **{END: end, PART: part, WEIGHT: weight}, **more)


def sample(
    model: Any,
    positive: list[Any],
    negative: list[Any],
    sampler: str = "Euler",
    cfg: float = 7.0,
    timesteps: str = "",
    **guidance: Any,
) -> torch.Tensor:
    settings = {"s_min_uncond": 0.0, "s_min_uncond_all": False, "skip_early_cond": 0.0}
    total = {"total_steps": len(SIGMAS) - 1}
    (guider,) = nodes.A1111Guider().make(
        model, positive, negative, cfg, **{**settings, **total, **guidance}
    )
    (noise,) = nodes.A1111Noise().make("[5]", "[]", 0.0, 0, 0, "CPU", 0, 1.0)
    eta = 0.0 if timesteps else 1.0
    (sampler_object,) = nodes.A1111Sampler().make(sampler, eta, 0, 0, 0, 1, 0, 0, timesteps, "")
    (sigmas,) = nodes.A1111Sigmas().make(json.dumps(SIGMAS))
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    result = SamplerCustomAdvanced().sample(noise, guider, sampler_object, sigmas, latent)
    assert (guider._pictured, guider._active_refiner, guider._part_shares) == (None, None, [])
    return result[0]["samples"]


def unet(model: Any) -> OneLineUNet:
    return model.model.diffusion_model


def test_timesteps_are_fractional() -> None:
    model = make_model()
    sample(model, [text(1.0)], [text(0.0)])
    assert unet(model).timesteps[:2] == pytest.approx([999, 865.747], abs=1e-3)


def test_prompt_schedule_follows_the_calls() -> None:
    model = make_model()
    sample(model, [scheduled(1.0, 1), scheduled(2.0, 5)], [text(0.0)])
    assert [mean for mean, _ in unet(model).seen if mean] == [1.0, 1.0, 2.0, 2.0, 2.0]


def test_heun_counts_both_calls_of_a_step() -> None:
    model = make_model()
    sample(model, [scheduled(1.0, 2), scheduled(2.0, 10)], [text(0.0)], "Heun", total_steps=10)
    assert [mean for mean, _ in unet(model).seen if mean] == [1.0] * 3 + [2.0] * 6


def test_and_parts_add_up_with_their_weights() -> None:
    """The UNet is linear in the text, so that the parts act like one text of their weighted sum."""
    parts = [scheduled(1.0, 5, 0, 1.0), scheduled(3.0, 5, 1, -0.5)]
    joint = sample(make_model(), parts, [text(0.25)])
    effective = 0.25 + 1.0 * (1.0 - 0.25) - 0.5 * (3.0 - 0.25)
    single = sample(make_model(), [text(effective)], [text(0.25)])
    assert torch.allclose(joint, single, atol=1e-3)


def test_and_parts_go_through_the_model_in_one_batch() -> None:
    """Image prompts choose their tokens by a chunk's number: with them a part is a call."""
    parts = [scheduled(float(value), 5, value) for value in range(1, 4)]
    model = make_model()
    joint = sample(model, parts, [text(0.25)])
    assert len(unet(model).timesteps) == 5
    assert sorted(unet(model).kinds[:4]) == [0, 1, 2, 3]
    patched = make_model()
    options = patched.model_options["transformer_options"]
    options["patches_replace"] = {"attn2": {("input", 4, 0): lambda *_: None}}
    apart = sample(patched, parts, [text(0.25)])
    assert len(unet(patched).timesteps) == 15
    assert set(unet(patched).kinds) == {0, 1}
    assert torch.allclose(joint, apart, atol=1e-4)


def test_and_parts_of_different_length_are_padded_before_the_model() -> None:
    model = make_model()
    parts = [scheduled(1.0, 5, 0), scheduled(2.0, 5, 1, tokens=154)]
    sample(model, parts, [text(0.25)])
    assert {length for mean, length in unet(model).seen if mean in (1.0, 2.0)} == {154}


def with_image_prompt(model: Any) -> list[list[int]]:
    """Patch a model's attention as image prompts do; the result notes what they take rows for."""
    taken: list[list[int]] = []
    options = model.model_options["transformer_options"]
    options["patches_replace"] = {
        "attn2": {("input", 4, 0): lambda q, k, v, more: taken.append(more["cond_or_uncond"])}
    }
    return taken


@pytest.mark.parametrize(("tokens", "kinds"), [(77, {0, 1}), (154, {0})])
def test_image_prompts_take_prompts_of_unequal_length_for_positive(
    tokens: int, kinds: set[int]
) -> None:
    """Other patches still see which rows are the negative prompt's."""
    model = make_model()
    taken = with_image_prompt(model)
    sample(model, [text(1.0, tokens)], [text(0.25)])
    assert {kind for own in taken for kind in own} == kinds
    assert set(unet(model).kinds) == {0, 1}


def test_without_image_prompts_rows_stay_what_they_are() -> None:
    model = make_model()
    sample(model, [text(1.0, 154)], [text(0.25)])
    assert set(unet(model).kinds) == {0, 1}


def test_regional_prompters_attention_takes_the_place_of_image_prompts() -> None:
    """In A1111 both hook the same layers, and the last one does alone what they do."""
    model = make_model()
    taken = with_image_prompt(model)
    model.model_options["transformer_options"][HALVES] = lambda batch: False
    sample(model, [text(1.0)], [text(0.25)])
    assert taken == []


def test_a_weight_other_than_one_counts_at_cfg_one() -> None:
    half = sample(make_model(), [scheduled(1.0, 5, 0, 0.5)], [text(0.2)], cfg=1.0)
    mean = sample(make_model(), [text(0.6)], [text(0.2)], cfg=1.0)
    assert torch.allclose(half, mean, atol=1e-4)


def test_negative_prompt_is_left_out_below_s_min_uncond() -> None:
    model = make_model()
    sample(model, [text(1.0)], [text(0.5)], s_min_uncond=5.0)
    assert sum(mean == 0.5 for mean, _ in unet(model).seen) == 4
    model = make_model()
    sample(model, [text(1.0)], [text(0.5)], s_min_uncond=5.0, s_min_uncond_all=True)
    assert sum(mean == 0.5 for mean, _ in unet(model).seen) == 2


def test_skip_early_cond() -> None:
    model = make_model()
    sample(model, [text(1.0)], [text(0.5)], skip_early_cond=0.2)
    assert sum(mean == 0.5 for mean, _ in unet(model).seen) == 3


def test_calls_are_counted_anew_for_every_pass() -> None:
    model = make_model()
    positive = [scheduled(1.0, 1), scheduled(2.0, 5)]
    first = sample(model, positive, [text(0.0)])
    assert torch.equal(first, sample(model, positive, [text(0.0)]))


def refined(switch_at: float, by_steps: bool = False) -> tuple[Any, Any, torch.Tensor]:
    base, refiner = make_model(0.3), make_model(0.6)
    last = sample(
        base,
        [text(1.0)],
        [text(0.5)],
        "DPM++ 2M",
        refiner=refiner,
        refiner_positive=[text(3.0)],
        refiner_negative=[text(2.0)],
        refiner_switch_at=switch_at,
        refiner_switch_by_steps=by_steps,
    )
    return base, refiner, last


@pytest.mark.parametrize(
    ("switch_at", "by_steps", "base_calls"),
    [(0.0, False, 0), (0.3, False, 2), (0.35, False, 3), (0.4, True, 2), (1.0, False, 5)],
)
def test_refiner_takes_over_in_mid_sampling(
    switch_at: float, by_steps: bool, base_calls: int
) -> None:
    base, refiner, _ = refined(switch_at, by_steps)
    assert {mean for mean, _ in unet(base).seen} <= {1.0, 0.5}
    assert {mean for mean, _ in unet(refiner).seen} <= {3.0, 2.0}
    assert len(unet(base).timesteps) == base_calls
    assert len(unet(refiner).timesteps) == 5 - base_calls


def test_the_sampler_keeps_its_state_over_the_switch() -> None:
    """DPM++ 2M uses the base model's last prediction in the refiner's first step."""
    _, _, switched = refined(0.4, by_steps=True)
    alone = sample(make_model(0.6), [text(3.0)], [text(2.0)], "DPM++ 2M")
    _, _, from_start = refined(0.0)
    assert torch.allclose(from_start, alone, atol=1e-5)
    assert not torch.allclose(switched, alone, atol=1e-3)
    _, _, again = refined(0.4, by_steps=True)
    assert torch.equal(switched, again)


def test_cfgpp_uses_the_negative_prompts_prediction() -> None:
    """One step by hand: guidance cfg/12.5, direction from the negative prompt alone."""
    model = make_model()
    positive, negative, cfg = 1.0, 0.5, 5.0
    last = sample(model, [text(positive)], [text(negative)], "DDIM CFG++", cfg, "[1, 501]")
    (noise,) = nodes.A1111Noise().make("[5]", "[]", 0.0, 0, 0, "CPU", 0, 1.0)
    x = noise.generate_noise({"samples": torch.zeros(1, 4, 8, 8)})
    a, a_prev = scaled_linear_abar()[[501, 1]]
    uncond = 0.3 * x + 0.1 * negative
    eps = uncond + cfg / 12.5 * (0.3 * x + 0.1 * positive - uncond)
    x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
    expected = a_prev.sqrt() * x0 + (1 - a_prev).sqrt() * uncond
    assert torch.allclose(model.model.process_latent_in(last), expected, atol=1e-4)


def test_cfgpp_keeps_the_negative_prompt_where_guidance_becomes_one() -> None:
    model = make_model()
    sample(model, [text(1.0)], [text(0.5)], "DDIM CFG++", 12.5, "[1, 501]")
    assert sorted(mean for mean, _ in unet(model).seen) == [0.5, 1.0]


def test_lcm_table_and_zero_terminal_snr() -> None:
    plain = make_model()
    (lcm,) = nodes.A1111ModelSampling().patch(plain, False, "lcm", False, False)
    (zero,) = nodes.A1111ModelSampling().patch(plain, False, "model", True, False)
    assert len(lcm.get_model_object("model_sampling").sigmas) == 50
    assert float(zero.get_model_object("model_sampling").sigmas[-1]) > 4000
    assert torch.equal(plain.get_model_object("model_sampling").sigmas, TABLE)
    (back,) = nodes.A1111ModelSampling().patch(lcm, False, "model", False, False)
    assert torch.equal(back.get_model_object("model_sampling").sigmas, TABLE)


def test_a_refiner_needs_its_conditioning() -> None:
    with pytest.raises(ValueError, match="refiner_positive and refiner_negative"):
        sample(make_model(), [text(1.0)], [text(0.0)], refiner=make_model())


class NotingControl(comfy.controlnet.ControlBase):
    """A ControlNet without effect, which notes at which calls ComfyUI lets it act."""

    def __init__(self, percents: tuple[float, float]) -> None:
        super().__init__()
        self.timestep_percent_range = percents
        self.acting: list[bool] = []

    def get_control(
        self, x: Any, t: torch.Tensor, cond: Any, batched: int, options: Any = None
    ) -> Any:
        assert self.timestep_range is not None
        self.acting.append(self.timestep_range[1] <= float(t[0]) <= self.timestep_range[0])
        return None

    def copy(self) -> NotingControl:
        return self


COUNTED = 1.5 / 5 / (1 + 1.5 / 5)
"""The percent between counter 1 and 2 of five steps."""


def test_counted_ranges_go_by_the_step_counter() -> None:
    """The counter is a call behind: it says 0, 0, 1, 2, 3."""
    model = make_model()
    early, late = NotingControl((0.0, COUNTED)), NotingControl((COUNTED, 1.0))
    late.set_previous_controlnet(early)
    before = early.get_control
    late_acts = late.get_control

    def both(*args: Any) -> Any:
        before(*args)
        return late_acts(*args)

    late.get_control = both
    positive = [text(1.0, control=late, end_percent=COUNTED), text(2.0, start_percent=COUNTED)]
    sample(model, positive, [text(0.0)], counted_steps=5)
    assert early.acting == [True, True, True]
    assert late.acting == [False, False, False]
    assert [mean for mean, _ in unet(model).seen if mean] == [1.0, 1.0, 1.0, 2.0, 2.0]


def test_counted_ranges_reach_patches_of_the_model() -> None:
    model = make_model()
    levels: list[float] = []

    def note(apply_model: Any, args: Any) -> Any:
        levels.append(float(args["c"]["transformer_options"]["sigmas"][0]))
        return apply_model(args["input"], args["timestep"], **args["c"])

    model.set_model_unet_function_wrapper(note)
    sample(model, [text(1.0)], [text(0.0)], counted_steps=5)
    last = model.get_model_object("model_sampling").percent_to_sigma(COUNTED)
    assert [level > last for level in levels] == [True, True, True, False, False]


class PictureUNet(torch.nn.Module):
    """eps = the mean of what stands beside the latent, plus that of the text; notes the former."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(1.0), requires_grad=False)
        self.dtype = torch.float32
        self.in_channels = in_channels
        self.beside: list[torch.Tensor] = []

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor, **options: Any
    ) -> torch.Tensor:
        beside = x[:, 4:]
        self.beside += list(beside)
        means = beside.mean(dim=(1, 2, 3)) if beside.shape[1] else torch.zeros(x.shape[0])
        eps = means + context.mean(dim=(1, 2))
        return eps.view(-1, 1, 1, 1).expand_as(x[:, :4])


def picture_model(in_channels: int) -> Any:
    model = make_model()
    model.model.diffusion_model = PictureUNet(in_channels)
    return model


IMAGE = {"samples": torch.full((1, 4, 8, 8), 2.0)}
MASKED = {**IMAGE, "noise_mask": torch.ones(1, 1, 8, 8)}


def test_an_inpainting_model_gets_mask_and_scaled_picture_with_both_prompts() -> None:
    model = picture_model(9)
    sample(model, [text(1.0)], [text(0.0)], image_conditioning=MASKED)
    seen = model.model.diffusion_model.beside
    assert len(seen) == 2 * (len(SIGMAS) - 1)
    for beside in seen:
        assert beside.shape[0] == 5
        assert (beside[0] == 1).all()
        assert torch.allclose(beside[1:], torch.full((4, 8, 8), 2.0 * 0.18215))


def test_a_model_without_a_picture_ignores_it() -> None:
    model = picture_model(4)
    sample(model, [text(1.0)], [text(0.0)], image_conditioning=MASKED)
    assert all(beside.shape[0] == 0 for beside in model.model.diffusion_model.beside)


def test_a_picture_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 5 channels beside the latent"):
        sample(picture_model(9), [text(1.0)], [text(0.0)], image_conditioning=IMAGE)


def test_an_editing_model_is_guided_by_text_and_picture() -> None:
    """One Euler step from the top: denoised = x - sigma * eps, linear in what guides it."""
    cfg, scale = 7.0, 1.5
    model = picture_model(8)
    guided = sample(
        model, [text(1.0)], [text(0.25)], image_conditioning=IMAGE, image_cfg_scale=scale, cfg=cfg
    )
    pictures = [float(beside.mean()) for beside in model.model.diffusion_model.beside]
    assert pictures.count(2.0) == 2 * pictures.count(0.0) == 2 * (len(SIGMAS) - 1)
    both, image, neither = 2 + 1.0, 2 + 0.25, 0.25
    eps = neither + cfg * (both - image) + scale * (image - neither)
    (noise,) = nodes.A1111Noise().make("[5]", "[]", 0.0, 0, 0, "CPU", 0, 1.0)
    x = noise.generate_noise({"samples": torch.zeros(1, 4, 8, 8)}) * SIGMAS[0]
    for level, following in itertools.pairwise(SIGMAS):
        x = x + (following - level) * eps
    assert torch.allclose(guided, x / 0.18215, atol=1e-2)


def test_an_editing_model_without_image_guidance_gets_the_picture_with_both_prompts() -> None:
    model = picture_model(8)
    sample(model, [text(1.0)], [text(0.25)], image_conditioning=IMAGE)
    assert {float(beside.mean()) for beside in model.model.diffusion_model.beside} == {2.0}
    assert len(model.model.diffusion_model.beside) == 2 * (len(SIGMAS) - 1)
