"""A1111's options: defaults, override_settings on top, and what is said of each key."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from translator.report import Report
from translator.request.a1111_options import A1111Options, option_rows, resolve_a1111_options


def settings(report: Report | None = None, server: Any = None, **overrides: Any) -> A1111Options:
    return resolve_a1111_options(server or {}, overrides, report or Report())


def test_fields_are_the_honoured_rows() -> None:
    honoured = {row.key for row in option_rows().values() if row.state == "honoured"}
    assert {item.name for item in fields(A1111Options)} == honoured | {"given"}


def test_every_row_not_honoured_says_why() -> None:
    rows = option_rows().values()
    assert all(row.why for row in rows if row.state != "honoured")
    assert len(rows) > 300


def test_defaults_are_a1111s() -> None:
    plain = settings()
    rows = option_rows()
    assert all(
        getattr(plain, item.name) == rows[item.name].default
        for item in fields(A1111Options)
        if item.name != "given"
    )
    assert (plain.randn_source, plain.s_noise, plain.jpeg_quality) == ("GPU", 1.0, 80)


def test_overrides_lie_over_the_servers_settings() -> None:
    found = settings(server={"rho": 4.0, "emphasis": "Ignore"}, rho=2)
    assert (found.rho, found.emphasis) == (2, "Ignore")
    assert found.path_of("rho") == "override_settings.rho"
    assert found.path_of("emphasis") == "options.a1111_options.emphasis"


def test_numbers_stay_as_they_were_sent() -> None:
    found = settings(eta_ancestral=0, CLIP_stop_at_last_layers=2.0)
    assert repr(found.eta_ancestral) == "0"
    assert repr(found.CLIP_stop_at_last_layers) == "2"


def test_bounds_are_not_checked() -> None:
    report = Report()
    assert settings(report, CLIP_stop_at_last_layers=40).CLIP_stop_at_last_layers == 40
    assert not report.problems


@pytest.mark.parametrize(
    "key", ["initial_noise_multiplier", "disable_weights_auto_swap", "auto_backcompat"]
)
def test_options_read_before_overrides_count_only_from_the_server(key: str) -> None:
    report = Report()
    default = option_rows()[key].default
    changed = not default if isinstance(default, bool) else 1.25
    assert getattr(settings(report, **{key: changed}), key) == default
    assert "before override_settings are applied" in report.warning_texts[0]
    assert getattr(settings(server={key: changed}), key) == changed


def test_an_override_without_effect_is_told_only_where_it_differs_from_the_default() -> None:
    report = Report()
    settings(report, samples_save=True, gallery_height="200px")
    assert [text.split(":")[0] for text in report.warning_texts] == [
        "override_settings.gallery_height"
    ]


def test_the_servers_own_idle_settings_are_not_told_of() -> None:
    report = Report()
    settings(report, server={"samples_save": False, "live_previews_enable": False})
    assert not report.warning_texts and not report.problems


@pytest.mark.parametrize("unsupported", ["error", "warn"])
def test_unsupported_options_are_refused_or_told_of(unsupported: Any) -> None:
    report = Report(unsupported)
    settings(report, fp8_storage="Enable", pad_cond_uncond=False)
    said = [*map(str, report.problems), *report.warning_texts]
    assert len(said) == 1 and said[0].startswith("override_settings.fp8_storage: ")
    assert bool(report.problems) == (unsupported == "error")


def test_an_unknown_key_names_its_neighbour() -> None:
    report = Report()
    settings(report, CLIP_stop_at_last_layer=2)
    assert "CLIP_stop_at_last_layers" in str(report.problems[0])


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_an_unknown_key_that_asks_for_nothing_is_ignored(nothing: Any) -> None:
    report = Report()
    settings(report, forge_additional_modules=nothing)
    assert not report.problems and len(report.warning_texts) == 1


def test_forges_modules_are_told_as_the_vae_that_they_are() -> None:
    report = Report()
    settings(report, forge_additional_modules=["ae.safetensors"])
    assert 'did you mean "sd_vae"?' in str(report.problems[0])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eta_ancestral", "0.5"),
        ("rho", None),
        ("rho", float("inf")),
        ("uni_pc_order", 2.5),
        ("uni_pc_order", True),
        ("randn_source", 3),
        ("samples_format", "bmp"),
        ("uni_pc_variant", "bh3"),
    ],
)
def test_values_with_which_a1111_fails_are_refused(key: str, value: Any) -> None:
    report = Report()
    found = settings(report, **{key: value})
    assert [problem.path for problem in report.problems] == [f"override_settings.{key}"]
    assert getattr(found, key) == option_rows()[key].default


@pytest.mark.parametrize(
    ("key", "value", "acts_like"),
    [
        ("randn_source", "gpu", "GPU"),
        ("emphasis", "original", "Original"),
        ("hires_fix_refiner_pass", "all", "both passes"),
        ("face_restoration_model", "RestoreFormer", "None"),
    ],
)
def test_other_choices_act_as_in_a1111(key: str, value: str, acts_like: str) -> None:
    report = Report()
    assert getattr(settings(report, **{key: value}), key) == acts_like
    assert len(report.warning_texts) == 1 and not report.problems


@pytest.mark.parametrize(
    ("server", "overrides", "ratio"),
    [
        ({}, {}, 0.0),
        ({"token_merging_ratio": 0.2}, {}, 0.2),
        ({"token_merging_ratio": 0.2, "token_merging_ratio_img2img": 0.5}, {}, 0.5),
        ({"token_merging_ratio_img2img": 0.5}, {"token_merging_ratio": 0.2}, 0.2),
        ({"token_merging_ratio_img2img": 0.5}, {"token_merging_ratio": 0.0}, 0.5),
        ({}, {"token_merging_ratio": 0.2, "token_merging_ratio_img2img": 0.5}, 0.2),
    ],
)
def test_a_requests_own_token_merging_goes_before_img2imgs_option(
    server: dict[str, Any], overrides: dict[str, Any], ratio: float
) -> None:
    assert settings(server=server, **overrides).img2img_token_merging_ratio == ratio


def test_any_text_switches_an_option_on() -> None:
    report = Report()
    assert settings(report, tiling="false").tiling is True
    assert '"false"' in report.warning_texts[0]
    assert settings(tiling=0).tiling is False


def test_networks_of_options_are_appended_unless_named() -> None:
    found = settings(sd_lora="glow", sd_hypernetwork="ink", extra_networks_default_multiplier=0.7)
    assert found.appended_networks("a cat") == "<lora:glow:0.7><hypernet:ink:0.7>"
    assert found.appended_networks("a <lora:glow:1>") == "<hypernet:ink:0.7>"
    assert found.appended_networks("a <lora:glow2>").startswith("<lora:glow:0.7>")
    assert settings().appended_networks("a cat") == ""


def test_controlnets_mask_options_are_taken() -> None:
    settings = resolve_a1111_options(
        {},
        {"control_net_inpaint_blur_sigma": 11, "controlnet_ignore_noninpaint_mask": True},
        report := Report(),
    )
    assert not report.problems and not report.warnings
    assert settings.control_net_inpaint_blur_sigma == 11
    assert settings.controlnet_ignore_noninpaint_mask is True
