"""Names of samplers and schedulers, read as A1111 reads them."""

from __future__ import annotations

import pytest

from tests.translator import goldens
from translator.comfy.catalog import Catalog
from translator.schedules import samplers
from translator.schedules.samplers import resolve, resolve_hires

PASSES = goldens.passes()


@pytest.mark.parametrize("case", PASSES)
def test_names_settle_as_in_a1111(case: str) -> None:
    golden = PASSES[case]
    payload = golden["payload"]
    resolved = resolve(
        payload.get("sampler_name"),
        payload.get("scheduler"),
        payload.get("sampler_index", "Euler"),
    )
    assert resolved.sampler.name == golden["sampler"]
    assert resolved.schedule_type == golden["schedule_type"]


@pytest.mark.parametrize(
    ("sampler_name", "scheduler", "expected"),
    [
        ("DPM++ SDE Karras", None, ("DPM++ SDE", "Automatic", "Karras")),
        ("Euler Karras", None, ("Euler", "Karras", "Karras")),
        ("Euler a karras", None, ("Euler a", "Karras", "Karras")),
        ("Euler Karras", "Automatic", ("Euler", "Automatic", "Automatic")),
        ("Euler Karras", "turbo", ("Euler", "Automatic", "Automatic")),
        ("Euler Karras", "exponential", ("Euler", "Exponential", "Exponential")),
        ("DPM++ 2M SGM Uniform", None, ("DPM++ 2M", "Uniform", "Uniform")),
        ("DPM++ 2M SGMUniform", None, ("DPM++ 2M", "SGM Uniform", "SGM Uniform")),
        ("DPM++ 2M sgm_uniform", None, ("DPM++ 2M", "SGM Uniform", "SGM Uniform")),
        ("Euler Polyexponential", None, ("Euler", "Polyexponential", "Polyexponential")),
        ("k_euler_a", None, ("DPM++ 2M", "Automatic", "Karras")),
        ("euler a", None, ("DPM++ 2M", "Automatic", "Karras")),
        ("", None, ("DPM++ 2M", "Automatic", "Karras")),
        (None, "karras", ("DPM++ 2M", "Karras", "Karras")),
        ("Heun", "Align Your Steps", ("Heun", "Align Your Steps", "Align Your Steps")),
        ("DDIM Karras", None, ("DDIM", "Karras", "Karras")),
        ("LCM", None, ("LCM", "Automatic", "Automatic")),
    ],
)
def test_resolve(
    sampler_name: str | None, scheduler: str | None, expected: tuple[str, str, str]
) -> None:
    resolved = resolve(sampler_name, scheduler)
    assert (resolved.sampler.name, resolved.label, resolved.schedule_type) == expected


def test_sampler_index_stands_in_for_an_empty_name() -> None:
    assert resolve("", None, "Heun").sampler.name == "Heun"
    assert resolve("LMS", None, "Heun").sampler.name == "LMS"


def test_timestep_samplers_draw_no_sigmas() -> None:
    assert resolve("DDIM", "Karras").scheduler is None


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("k_dpmpp_sde_ka", "DPM++ SDE Karras"),
        ("k_dpmpp_2m_sde_exp", "DPM++ 2M SDE Exponential"),
        ("k_euler_ancestral", "Euler a"),
        ("dpm++ 2m sde", "DPM++ 2M SDE"),
        ("DPM++ 2M SGM Uniform", "DPM++ 2M SGMUniform"),
        ("Eular a", "Euler a"),
        ("dpmpp_2m_sde_gpu", "DPM++ 2M SDE"),
        ("euler_ancestral", "Euler a"),
        ("heun", "Heun"),
        ("dpm++ 2m karras", "DPM++ 2M Karras"),
        ("dpmpp_2m_sgm_uniform", "DPM++ 2M SGMUniform"),
        ("K_DPMPP_2S_ANCESTRAL", "DPM++ 2S a"),
        ("EulerAncestralDiscreteScheduler", "Euler a"),
        ("KLMS", "LMS"),
    ],
)
def test_unknown_samplers_are_told_with_what_may_be_meant(name: str, suggestion: str) -> None:
    resolved = resolve(name)
    assert resolved.unknown_sampler == name
    assert resolved.suggestions[0] == suggestion


def test_a_suggestion_is_a_name_that_resolves() -> None:
    for sampler in samplers.samplers():
        for alias in (*sampler.aliases, *sampler.legacy_aliases, *sampler.elsewhere):
            meant = resolve(samplers.sampler_suggestions(alias)[0])
            assert (meant.sampler, meant.unknown_sampler) == (sampler, None)
    for scheduler in samplers.schedulers():
        (meant,) = samplers.sampler_suggestions(f"euler_a_{scheduler.label.upper()}")
        assert resolve(meant) == resolve("Euler a", scheduler.label)


def test_unknown_schedulers_are_told() -> None:
    resolved = resolve("Euler", "KARRAS")
    assert (resolved.unknown_scheduler, resolved.suggestions) == ("KARRAS", ("Karras",))
    assert resolve("Euler", "sgmuniform").suggestions[0] == "SGM Uniform"
    assert resolve("Euler", "DDIM Uniform").suggestions == ("DDIM",)
    assert resolve("Euler", "ays").suggestions == ("Align Your Steps",)


def test_a_suffix_that_loses_is_told() -> None:
    assert resolve("Euler Karras", "Automatic").ignored_suffix == "Karras"
    assert resolve("Euler Karras", "Karras").ignored_suffix is None
    assert resolve("Euler Karras").ignored_suffix is None


def test_hires_inherits_automatic_for_its_own_sampler() -> None:
    hires = resolve_hires(resolve("Euler"), "DPM++ 2M SDE", None)
    assert (hires.label, hires.schedule_type) == ("Automatic", "Exponential")
    hires = resolve_hires(resolve("Euler", "Karras"), None, None)
    assert (hires.sampler.name, hires.schedule_type) == ("Euler", "Karras")
    assert resolve_hires(resolve("Euler", "Karras"), "", "").schedule_type == "Automatic"


def test_an_unknown_hires_scheduler_is_the_uniform_schedule() -> None:
    hires = resolve_hires(resolve("DPM++ 2M"), None, "Use same scheduler")
    assert (hires.scheduler, hires.unknown_scheduler) == (None, "Use same scheduler")


@pytest.mark.parametrize("name", ["DPM++ SDE Karras", "Use same sampler", "k_euler"])
def test_a_hires_sampler_must_be_exact(name: str) -> None:
    with pytest.raises(samplers.UnknownSamplerError) as caught:
        resolve_hires(resolve("Euler"), name, None)
    assert caught.value.name == name


def test_every_row_stands_for_something_comfyui_has() -> None:
    catalog = Catalog.bundled()
    known_samplers = catalog.options("KSampler", "sampler_name")
    known_schedulers = catalog.options("KSampler", "scheduler")
    for sampler in samplers.samplers():
        comfy = sampler.comfy
        assert comfy.sampler_name in known_samplers
        assert comfy.scheduler is None or comfy.scheduler in known_schedulers
        assert bool(comfy.note) == (comfy.match != "same")
        if comfy.node is not None:
            inputs = set(catalog.nodes[comfy.node].inputs)
            assert inputs == {*comfy.node_inputs.values(), *comfy.node_constants}
    for scheduler in samplers.schedulers():
        assert (scheduler.comfy.scheduler in known_schedulers) == (scheduler.name != "automatic")
        assert scheduler.comfy.node is None or catalog.has(scheduler.comfy.node)
