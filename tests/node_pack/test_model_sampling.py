"""The table of noise levels: A1111's numbers, and the way from sigma to timestep and back."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import model_sampling as ms  # noqa: E402

pytestmark = pytest.mark.torch

SIGMAS = ms.sigmas_of_abar(ms.scaled_linear_abar())
LOG_SIGMAS = SIGMAS.log()


def test_ends_of_the_table() -> None:
    assert float(SIGMAS[0]) == pytest.approx(0.0291672, abs=1e-6)
    assert float(SIGMAS[-1]) == pytest.approx(14.614641, abs=1e-5)


def test_karras_timesteps_are_fractional() -> None:
    """The first steps of Karras with 20 steps, as A1111 feeds them to the model."""
    from custom_nodes.comfyui_a1111.maths.samplers import karras_sigmas

    karras = karras_sigmas(20, float(SIGMAS[0]), float(SIGMAS[-1]), SIGMAS)
    timesteps = ms.fractional_timestep(karras, LOG_SIGMAS)
    assert timesteps[:4].tolist() == pytest.approx([999.0, 961.73, 921.04, 876.31], abs=0.01)


def test_table_entries_are_whole_timesteps() -> None:
    assert torch.equal(ms.fractional_timestep(SIGMAS, LOG_SIGMAS), torch.arange(1000.0))


def test_sigma_and_timestep_are_inverse() -> None:
    t = torch.tensor([0.25, 17.5, 541.125, 998.75])
    back = ms.fractional_timestep(ms.interpolated_sigma(t, LOG_SIGMAS), LOG_SIGMAS)
    assert torch.allclose(back, t, atol=1e-3)


def test_sigmas_beyond_the_table_are_clamped() -> None:
    t = ms.fractional_timestep(torch.tensor([0.001, 100.0]), LOG_SIGMAS)
    assert t.tolist() == [0.0, 999.0]


def test_zero_terminal_snr() -> None:
    abar = ms.zero_terminal_snr(ms.scaled_linear_abar())
    assert float(abar[-1]) == pytest.approx(ms.ZERO_SNR_LAST_ABAR)
    assert float(abar[0]) == pytest.approx(float(ms.scaled_linear_abar()[0]), rel=1e-5)
    assert bool((abar[1:] < abar[:-1]).all())


def test_lcm_table_has_every_20th_level() -> None:
    table = ms.SamplingSettings(lcm=True).table(SIGMAS)
    assert len(table) == 50
    assert float(table[0]) == pytest.approx(0.1344507, abs=1e-6)
    assert float(table[-1]) == pytest.approx(14.614641, abs=1e-5)
    assert ms.lcm_timestep(table, table.log()).tolist() == list(range(19, 1000, 20))


def test_lcm_timestep_is_the_nearest_entry() -> None:
    table = ms.SamplingSettings(lcm=True).table(SIGMAS)
    near = torch.tensor([float(table[3]) * 1.001, 100.0])
    assert ms.lcm_timestep(near, table.log()).tolist() == [79, 999]


def test_lcm_scaling_keeps_x_at_the_clean_end() -> None:
    x, eps = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    sigma = torch.tensor(3.0)
    assert torch.allclose(ms.lcm_denoised(x, eps, sigma, torch.tensor(0.0)), x)
    far = ms.lcm_denoised(x, eps, sigma, torch.tensor(999.0))
    assert torch.allclose(far, x - eps * sigma, atol=1e-3)


def test_downcast_table_stays_in_half_precision() -> None:
    settings = ms.SamplingSettings(downcast_alphas=True)
    assert settings.table(SIGMAS).dtype == torch.float16
    assert float(settings.table(SIGMAS)[-1]) == pytest.approx(14.6146, rel=2e-3)


def test_foreign_tables_are_kept() -> None:
    sigmas = torch.linspace(0.1, 20, 1000)
    back = ms.sigmas_of_abar(ms.abar_of_sigmas(sigmas))
    assert torch.allclose(back, sigmas, rtol=1e-4)
    assert torch.equal(ms.abar_of_sigmas(SIGMAS * (1 + 1e-7)), ms.scaled_linear_abar())


def test_quantized_timesteps_are_the_nearest_by_log_sigma() -> None:
    t = torch.tensor([0.25, 17.75, 541.4, 998.75])
    found = ms.whole_timestep(ms.interpolated_sigma(t, LOG_SIGMAS), LOG_SIGMAS)
    assert found.tolist() == [0, 18, 541, 999]
