"""FreeU and perturbed-attention guidance on tensors, against the extensions' rules in words."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.free_u import (  # noqa: E402
    FreeU,
    Schedule,
    channel_range,
    filtered,
)
from custom_nodes.comfyui_a1111.maths.perturbed import Perturbed, guided  # noqa: E402
from custom_nodes.comfyui_a1111.maths.reference import BATCH, WholeBatch  # noqa: E402
from custom_nodes.comfyui_a1111.vendor.plan.free_u import Stage  # noqa: E402

pytestmark = pytest.mark.torch

ALWAYS = Schedule(0.0, 1.0, 0.0, 10, 0, "calls")


def call(number: int, step: int = 0) -> dict[str, Any]:
    return {BATCH: WholeBatch(call=number, step=step)}


def features() -> tuple[Any, Any]:
    torch.manual_seed(6)
    return torch.randn(2, 320, 4, 6), torch.randn(2, 320, 4, 6)


def test_the_first_version_scales_a_share_of_the_channels() -> None:
    """Of 320 channels from 0.25 over half of them: 80 to 240, both included."""
    h, skip = features()
    stages = (Stage(), Stage(), Stage(backbone=1.5, offset=0.25))
    out, same = FreeU(stages, False, False, ALWAYS)(h, skip, call(0))
    wanted = h.clone()
    wanted[:, 80:241] *= 1.5
    assert torch.allclose(out, wanted) and same is skip


def test_the_second_version_follows_the_mean() -> None:
    h, skip = features()
    stages = (Stage(), Stage(), Stage(backbone=1.4))
    out, _ = FreeU(stages, True, True, ALWAYS)(h, skip, call(0))
    for picture in range(2):
        mean = h[picture].mean(dim=0)
        share = (mean - mean.min()) / (mean.max() - mean.min())
        wanted = h[picture, :160] * (1 + 0.4 * share)
        assert torch.allclose(out[picture, :160], wanted, atol=1e-6)
    assert torch.equal(out[:, 160:], h[:, 160:])


@pytest.mark.parametrize(
    ("width", "offset", "found"),
    [
        (0.5, 0.0, (0, 50, False)),
        (0.5, 0.75, (25, 75, True)),
        (-0.25, 0.5, (25, 50, False)),
        (2.0, 0.0, (0, 100, False)),
        (0.25, -0.25, (75, 100, False)),
    ],
)
def test_shares_of_channels_wrap_around(
    width: float, offset: float, found: tuple[int, int, bool]
) -> None:
    assert channel_range(width, offset, 100) == found


@pytest.mark.parametrize(("cutoff", "reach"), [(0.0, (1, 1)), (0.8, (3, 2)), (1.0, (4, 3))])
def test_low_frequencies_are_those_around_the_middle(cutoff: float, reach: tuple[int, int]) -> None:
    """Each frequency by its own wave: row u and column v of an 8 x 6 spectrum."""
    for u in range(8):
        for v in range(6):
            y, x = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
            wave = torch.cos(2 * math.pi * (u * y / 8 + v * x / 6)).view(1, 1, 8, 6)
            row, column = (u + 4) % 8 - 4, (v + 3) % 6 - 3
            mirror = ((-u + 4) % 8 - 4, (-v + 3) % 6 - 3)
            factors = [
                0.25 if -reach[0] <= a < reach[0] and -reach[1] <= b < reach[1] else 2.0
                for a, b in ((row, column), mirror)
            ]
            got = filtered(wave, cutoff, 0.25, 2.0)
            assert torch.allclose(got, wave * sum(factors) / 2, atol=1e-5)


def test_nothing_is_filtered_where_nothing_is_scaled() -> None:
    _, skip = features()
    assert filtered(skip, 0.3, 1.0, 1.0) is skip


@pytest.mark.parametrize(
    ("schedule", "ratios"),
    [
        (Schedule(0.0, 1.0, 0.0, 4, 0, "calls"), [1, 1, 1, 1, 0]),
        (Schedule(0.25, 0.75, 0.0, 4, 0, "calls"), [0, 1, 1, 0, 0]),
        (Schedule(1, 3, 0.0, 8, 0, "calls"), [0, 1, 1, 0, 0]),
        (Schedule(0.5, 1.0, 1.0, 4, 0, "calls"), [0, 0.5, 1, 0.5, 0]),
        (Schedule(0.5, 1.0, 0.5, 4, 0, "calls"), [0, 0.25, 1, 0.75, 0]),
        (Schedule(0.5, 0.5, 1.0, 4, 0, "calls"), [0, 0, 0, 0, 0]),
        (Schedule(0.0, 1.0, 0.0, 4, 4, "calls"), [0, 0, 0, 0, 0]),
    ],
)
def test_shares_of_the_factors_by_call(schedule: Schedule, ratios: list[float]) -> None:
    assert [schedule.ratio(WholeBatch(call=n)) for n in range(5)] == ratios


def test_forge_counts_steps_and_both_bounds_belong() -> None:
    """Of five steps the third lies at one half; A1111's counter is a step behind."""
    schedule = Schedule(0.25, 0.5, 0.0, 5, 0, "steps")
    found = [schedule.ratio(WholeBatch(call=step + 1, step=step)) for step in range(5)]
    assert found == [0, 1, 1, 0, 0]
    assert Schedule(0.0, 1.0, 0.0, 1, 0, "steps").ratio(WholeBatch(call=0)) == 1


def test_half_of_the_factors_is_half_way_from_one() -> None:
    h, skip = features()
    stages = (Stage(), Stage(), Stage(backbone=2.0, skip=0.5))
    half = FreeU(stages, False, True, Schedule(0.5, 1.0, 1.0, 4, 0, "calls"))
    out, low = half(h, skip, call(1))
    assert torch.allclose(out[:, :160], h[:, :160] * 1.5)
    assert torch.allclose(low, filtered(skip, 0.0, 0.75, 1.0))


def test_other_layers_are_left_alone() -> None:
    h, skip = torch.randn(1, 96, 4, 4), torch.randn(1, 96, 4, 4)
    assert FreeU((Stage(2.0),), False, True, ALWAYS)(h, skip, call(0)) == (h, skip)


def test_perturbed_attention_weakens_and_begins_anew_with_a_pass() -> None:
    perturbed = Perturbed(scale=2.0, attenuation=30.0, start=0.25, end=1.0, steps=5)
    for _ in range(2):
        scales = [perturbed.scale_at(WholeBatch(call=n, step=max(n - 1, 0))) for n in range(6)]
        assert scales == pytest.approx([0, 0, 2.0, 1.4, 0.8, 0.2])
    strong = Perturbed(scale=2.0, attenuation=60.0, start=0.0, end=1.0, steps=5)
    assert [strong.scale_at(WholeBatch(call=n)) for n in range(3)] == pytest.approx([2.0, 0.8, 0])


def test_guidance_leads_away() -> None:
    one, two, three = (torch.full((1, 4, 2, 2), value) for value in (1.0, 2.0, 0.5))
    assert guided(one, two, three, 3.0).unique().tolist() == [5.5]
