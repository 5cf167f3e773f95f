"""The weight series, against the facts' numbers and the extension's own expression."""

from __future__ import annotations

import pytest

from translator.control.weights import (
    T2I_SOFT,
    Weighting,
    soft_strength,
    weighting,
)
from translator.models import families

BALANCED, PROMPT, CONTROL = (
    "Balanced",
    "My prompt is more important",
    "ControlNet is more important",
)


def extension_series(weight: float, is_sdxl: bool) -> list[float]:
    scales = [weight * (0.825 ** float(12 - i)) for i in range(13)]
    return scales[:10] if is_sdxl else scales


def node_series(strength: float, blocks: int) -> list[float]:
    """What ACN_ScaledSoftControlNetWeights(0.825) gives: encoder block i 0.825 ** (n - i)."""
    encoder = blocks - 1
    return [strength * 0.825 ** (encoder - i) for i in range(encoder)] + [strength]


@pytest.mark.parametrize("weight", [0.0, 0.35, 1.0, 2.0])
@pytest.mark.parametrize("architecture", ["SD1", "SD2", "SDXL"])
def test_the_nodes_weights_are_the_extensions(architecture: str, weight: float) -> None:
    wanted = extension_series(weight, architecture == "SDXL")
    strength = soft_strength(weight, architecture)
    assert node_series(strength, families.of(architecture).control_blocks) == pytest.approx(wanted)


def test_the_numbers_of_the_facts() -> None:
    sdxl = node_series(soft_strength(1.0, "SDXL"), families.of("SDXL").control_blocks)
    assert len(sdxl) == 10
    assert sdxl[0] == pytest.approx(0.0994, abs=5e-5)
    assert sdxl[-1] == pytest.approx(0.5615, abs=5e-5)
    assert soft_strength(1.0, "SDXL") == pytest.approx(0.561515625)
    sd1 = node_series(soft_strength(1.0, "SD1"), families.of("SD1").control_blocks)
    assert (len(sd1), sd1[-1]) == (13, 1.0)
    assert sd1[0] == pytest.approx(0.09941396206337118)
    assert T2I_SOFT == (0.25, 0.62, 0.825, 1.0)


@pytest.mark.parametrize(
    ("mode", "soft", "prompt_only"),
    [(BALANCED, False, False), (PROMPT, True, False), (CONTROL, True, True)],
)
def test_without_marks_nothing_steers_the_prompt_only(
    mode: str, soft: bool, prompt_only: bool
) -> None:
    found = weighting(0.8, mode, "SD1", pools_globally=prompt_only, tells_negative=False)
    assert found == Weighting(0.8, soft=soft, prompt_only=False)


@pytest.mark.parametrize(
    ("mode", "soft", "prompt_only"),
    [(BALANCED, False, False), (PROMPT, True, False), (CONTROL, True, True)],
)
def test_control_modes(mode: str, soft: bool, prompt_only: bool) -> None:
    assert weighting(0.8, mode, "SD1") == Weighting(0.8, soft=soft, prompt_only=prompt_only)


def test_soft_weights_are_forced_without_the_mode() -> None:
    assert weighting(0.8, BALANCED, "SDXL", forced_soft=True) == Weighting(
        pytest.approx(0.8 * 0.825**3), soft=True
    )


def test_t2i_adapters_have_a_series_of_their_own_and_no_scaling() -> None:
    assert weighting(0.8, PROMPT, "SDXL", t2i=True) == Weighting(0.8, soft=True)


def test_shuffle_models_steer_the_prompt_only() -> None:
    assert weighting(0.8, BALANCED, "SD1", pools_globally=True) == Weighting(0.8, prompt_only=True)


def test_weights_per_block_replace_everything_but_the_prompt_only() -> None:
    given = (0.5,) * 13
    assert weighting(0.8, CONTROL, "SD1", advanced=given) == Weighting(
        1.0, blocks=given, prompt_only=True
    )
