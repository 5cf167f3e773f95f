"""Plans: A1111's rules for sizes, passes, numbers and models, before any node is spelled."""

from __future__ import annotations

from typing import Any

import pytest

from translator.comfy.catalog import Catalog, ModelFacts
from translator.options import Options
from translator.plan.planner import Planner
from translator.plan.starts import Enlarged, ImageUpscale, LatentUpscale
from translator.plan.values import (
    FaceRestoration,
    Plan,
    SamplingPass,
)
from translator.report import Report, TranslationError
from translator.request.a1111_options import resolve_a1111_options
from translator.request.txt2img import parse
from translator.scope import Scope

SDXL = {"sd_model_checkpoint": "sd_xl_base_1.0"}
HIRES = {"enable_hr": True, "denoising_strength": 0.5, "seed": 1, "steps": 20}


def plan(payload: dict[str, Any], catalog: Catalog | None = None, **options: Any) -> Plan:
    report, settled = Report(), Options(draw_seed=lambda: 99, **options)
    asked = parse(payload, settled.defaults, report)
    settings = resolve_a1111_options(settled.a1111_options, asked.override_settings, report)
    planner = Planner(Scope(settled, settings, catalog or Catalog.bundled(), report))
    planned = planner.plan(asked, ())
    report.raise_if_refused()
    assert planned is not None
    return planned


def hires(payload: dict[str, Any], **options: Any) -> SamplingPass:
    first, second = plan({**HIRES, **payload}, **options).passes
    assert (first.role, second.role) == ("first", "hires")
    return second


def enlarged(payload: dict[str, Any]) -> Enlarged:
    start = hires(payload).start
    assert isinstance(start, Enlarged)
    return start


# --- sizes and batches ----------------------------------------------------------------------------


def test_latent_sides_are_floored_and_the_request_is_kept() -> None:
    planned = plan({"width": 1219, "height": 831})
    assert (planned.first.width, planned.first.height) == (1216, 824)
    assert planned.requested_size == (1219, 831)


def test_firstphase_sizes_replace_the_first_pass() -> None:
    planned = plan(
        {"width": 1024, "height": 1024, "firstphase_width": 512, "firstphase_height": 384}
    )
    assert planned.requested_size == (512, 384)


def test_hires_target_comes_from_the_firstphase_sizes() -> None:
    planned = enlarged({"firstphase_width": 512, "firstphase_height": 384, "hr_scale": 2})
    assert planned.target == (1024, 768)


def test_batches_hold_consecutive_seeds() -> None:
    planned = plan({"seed": 10, "subseed": 5, "batch_size": 2, "n_iter": 2})
    assert planned.batches() == [((10, 11), (5, 6)), ((12, 13), (7, 8))]


def test_core_mode_paints_images_one_by_one() -> None:
    planned = plan({"seed": 10, "batch_size": 2, "subseed": 0}, fidelity="core")
    assert planned.batches() == [((10,), (0,)), ((11,), (1,))]


def test_a_variation_keeps_one_seed() -> None:
    planned = plan({"seed": 10, "subseed": 5, "subseed_strength": 0.2, "batch_size": 2})
    assert (planned.seeds, planned.subseeds) == ((10, 10), (5, 6))


@pytest.mark.parametrize(("width", "height", "pasted"), [(512, 768, (512, 768)), (512, 0, (0, 0))])
def test_seed_resize_needs_both_sides(width: int, height: int, pasted: tuple[int, int]) -> None:
    sides = {"seed_resize_from_w": width, "seed_resize_from_h": height}
    assert plan(sides).noise.resize_from == pasted


# --- hires ----------------------------------------------------------------------------------------


def test_hires_steps_and_sampler_default_to_the_first_pass() -> None:
    planned = hires({"sampler_name": "DPM++ 2M", "scheduler": "Karras"})
    assert planned.steps == 20
    assert planned.sampler.sampler.name == "DPM++ 2M"
    assert planned.schedule.steps_run == 20
    assert hires({"hr_second_pass_steps": 7}).schedule.steps_run == 7


def test_hires_scheduler_falls_back_to_the_new_samplers_own() -> None:
    planned = hires({"sampler_name": "Euler a", "hr_sampler_name": "DPM++ 2M"})
    assert planned.sampler.sampler.name == "DPM++ 2M"
    assert planned.denoise == 0.5


@pytest.mark.parametrize(
    ("name", "upscale"),
    [
        (None, LatentUpscale("bilinear", False)),
        ("Latent (bicubic antialiased)", LatentUpscale("bicubic", True)),
        ("Nearest", ImageUpscale("nearest", None)),
    ],
)
def test_upscalers(name: str | None, upscale: LatentUpscale | ImageUpscale) -> None:
    assert enlarged({"hr_upscaler": name}).upscale == upscale


def test_upscale_models_take_the_options_tiles() -> None:
    overrides = {"ESRGAN_tile": 0, "ESRGAN_tile_overlap": 16}
    planned = enlarged({"hr_upscaler": "R-ESRGAN 4x+", "override_settings": overrides}).upscale
    assert isinstance(planned, ImageUpscale)
    assert (planned.tile, planned.tile_overlap) == (0, 16)


@pytest.mark.parametrize("same", [None, "", "Use same checkpoint"])
def test_hires_checkpoint_that_is_the_same(same: str | None) -> None:
    planned = plan({**HIRES, "hr_checkpoint_name": same})
    assert planned.passes[1].checkpoint == planned.first.checkpoint


def test_hires_prompts_default_to_the_first_pass_each_on_its_own() -> None:
    planned = hires({"prompt": "a", "negative_prompt": "b", "hr_negative_prompt": "c"})
    assert (planned.prompt.text, planned.prompt.negative_text) == ("a", "c")


def test_networks_belong_to_the_prompt_of_their_pass() -> None:
    planned = plan({**HIRES, "prompt": "a <lora:x:0.5>", "hr_prompt": "a <lora:y>"})
    first, second = (item.prompt.networks for item in planned.passes)
    assert [(item.name, item.unet, item.te) for item in first] == [("x", 0.5, 0.5)]
    assert [(item.name, item.unet) for item in second] == [("y", 1.0)]


def test_hires_without_a_strength_is_refused_as_it_fails_in_a1111() -> None:
    with pytest.raises(TranslationError, match="needs a strength"):
        hires({"denoising_strength": None})


# --- refiner --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "refined"),
    [("first pass", (True, False)), ("second pass", (False, True)), ("both passes", (True, True))],
)
def test_refiner_takes_part_in_the_passes_of_the_option(option: str, refined: Any) -> None:
    overrides = {**SDXL, "hires_fix_refiner_pass": option}
    payload = {**HIRES, "refiner_checkpoint": "sd_xl_refiner_1.0", "override_settings": overrides}
    planned = plan(payload)
    assert tuple(item.refiner is not None for item in planned.passes) == refined


@pytest.mark.parametrize("name", [None, "", "None", "none"])
def test_no_refiner(name: str | None) -> None:
    assert plan({"refiner_checkpoint": name}).first.refiner is None


def test_a_checkpoint_does_not_refine_itself() -> None:
    payload = {"refiner_checkpoint": "sd_xl_base_1.0", "override_settings": SDXL}
    assert plan(payload).first.refiner is None
    assert plan({**payload, "refiner_checkpoint": "sd_xl_refiner_1.0"}).first.refiner is not None


def test_refiner_switches_by_timestep_or_by_step() -> None:
    payload = {"steps": 20, "refiner_checkpoint": "r", "refiner_switch_at": 0.8}
    by_time = plan(payload).first.refiner
    by_step = plan(
        {**payload, "override_settings": {"refiner_switch_by_sample_steps": True}}
    ).first.refiner
    assert by_time is not None
    assert by_step is not None
    assert by_step.step == 16
    assert not by_time.by_steps
    assert by_time.step == 16  # uniform timesteps: the same place


# --- numbers of samplers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "fields", "overrides", "eta"),
    [
        ("Euler a", {}, {}, 1.0),
        ("Euler a", {"eta": 0.5}, {}, 0.5),
        ("Euler a", {}, {"eta_ancestral": 0.7}, 0.7),
        ("DDIM", {}, {}, 0.0),
        ("DDIM", {}, {"eta_ddim": 0.3}, 0.3),
        ("Euler", {}, {"eta_ancestral": 0.7}, 0.0),
    ],
)
def test_eta(sampler: str, fields: Any, overrides: Any, eta: float) -> None:
    planned = plan({"sampler_name": sampler, **fields, "override_settings": overrides})
    assert planned.first.numbers.eta == eta


@pytest.mark.parametrize(
    ("sampler", "fields", "overrides", "churn", "noise"),
    [
        ("Euler", {"s_churn": 5, "s_noise": 1.1}, {}, 5.0, 1.1),
        ("Euler", {"s_churn": 5}, {"s_churn": 3}, 3, 1.0),
        ("Euler", {}, {"s_noise": 1.2}, 0.0, 1.2),
        ("DPM++ 2M", {"s_churn": 5, "s_noise": 1.1}, {}, 0.0, 1.0),
        ("DPM++ SDE", {"s_churn": 5, "s_noise": 1.1}, {}, 0.0, 1.1),
    ],
)
def test_churn_goes_to_the_samplers_that_take_it_and_options_before_fields(
    sampler: str, fields: Any, overrides: Any, churn: float, noise: float
) -> None:
    settings = plan(
        {"sampler_name": sampler, **fields, "override_settings": overrides}
    ).first.numbers
    assert (settings.s_churn, settings.s_noise) == (churn, noise)


def test_rare_options_of_samplers() -> None:
    unipc = plan({"sampler_name": "UniPC", "override_settings": {"uni_pc_order": 2}}).first.numbers
    assert unipc.extra["uni_pc_order"] == 2
    overrides = {"no_dpmpp_sde_batch_determinism": True}
    sde = plan({"sampler_name": "DPM++ SDE", "override_settings": overrides}).first.numbers
    assert sde.extra == {"no_batch_determinism": True}
    assert plan({"sampler_name": "Euler", "override_settings": overrides}).first.numbers.extra == {}


def test_s_min_uncond_of_the_request_or_of_the_server() -> None:
    assert plan({"s_min_uncond": 2}).guidance.s_min_uncond == 2
    assert plan({}, a1111_options={"s_min_uncond": 1.5}).guidance.s_min_uncond == 1.5


# --- prompts and models ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checkpoint", "overrides", "skip"),
    [
        ("v1-5-pruned-emaonly", {"CLIP_stop_at_last_layers": 2}, 2),
        ("v2-1_768-ema-pruned", {"CLIP_stop_at_last_layers": 2}, 1),
        ("sd_xl_base_1.0", {"CLIP_stop_at_last_layers": 2}, 1),
        ("sd_xl_base_1.0", {"CLIP_stop_at_last_layers": 2, "sdxl_clip_l_skip": True}, 2),
    ],
)
def test_clip_skip_acts_where_a1111_has_it(checkpoint: str, overrides: Any, skip: int) -> None:
    overrides = {"sd_model_checkpoint": checkpoint, **overrides}
    assert plan({"override_settings": overrides}).first.encoding.clip_skip == skip


@pytest.mark.parametrize(
    ("negative", "checkpoint", "zeroed"),
    [
        ("", "sd_xl_base_1.0", True),
        (" ", "sd_xl_base_1.0", False),
        ("x", "sd_xl_base_1.0", False),
        ("", "v1-5-pruned-emaonly", False),
    ],
)
def test_an_empty_negative_prompt_is_zeroed_for_sdxl(
    negative: str, checkpoint: str, zeroed: bool
) -> None:
    overrides = {"sd_model_checkpoint": checkpoint}
    payload = {"negative_prompt": negative, "override_settings": overrides}
    assert plan(payload).first.prompt.zero_negative is zeroed


def test_sdxl_is_told_the_size_that_was_asked_for() -> None:
    planned = plan({**HIRES, "width": 1030, "height": 1030, "hr_scale": 1.5})
    assert [item.encoding.size for item in planned.passes] == [(1030, 1030), (1545, 1545)]


def test_prompt_edits_are_laid_out_over_model_calls() -> None:
    heun = plan({"prompt": "[a:b:0.5]", "sampler_name": "Heun", "steps": 10}).first.prompt
    euler = plan({"prompt": "[a:b:0.5]", "sampler_name": "Euler", "steps": 10}).first.prompt
    ends = [[entry.end for entry in item.positive.parts[0].schedule] for item in (heun, euler)]
    assert ends == [[10, 20], [5, 10]]


def test_separate_vae_serves_both_passes_unless_the_checkpoint_changes() -> None:
    payload = {**HIRES, "override_settings": {"sd_vae": "mine.pt"}}
    planned = plan(payload)
    assert [item.vae.name for item in planned.passes if item.vae] == ["mine.pt", "mine.pt"]


def test_architecture_of_a_file_that_was_read_needs_no_guess() -> None:
    facts = {("checkpoints", "odd.safetensors"): ModelFacts(architecture="SDXL")}
    catalog = Catalog(
        nodes=Catalog.bundled().nodes, folders={"checkpoints": ("odd.safetensors",)}, facts=facts
    )
    planned = plan({"override_settings": {"sd_model_checkpoint": "odd"}}, catalog)
    assert planned.first.checkpoint.architecture == "SDXL"


def test_token_merging_of_the_second_pass_falls_back_to_the_firsts() -> None:
    both = plan({**HIRES, "override_settings": {"token_merging_ratio": 0.3}})
    assert [item.token_merging_ratio for item in both.passes] == [0.3, 0.3]


@pytest.mark.parametrize(
    ("fields", "overrides", "restorer"),
    [
        ({}, {}, None),
        ({"restore_faces": True}, {}, "CodeFormer"),
        ({}, {"face_restoration": True, "face_restoration_model": "GFPGAN"}, "GFPGAN"),
        ({"restore_faces": False}, {"face_restoration": True}, None),
        ({"tiling": True}, {}, None),
    ],
)
def test_faces(fields: Any, overrides: Any, restorer: str | None) -> None:
    planned = plan({**fields, "override_settings": overrides})
    models = [step.model for step in planned.finish if isinstance(step, FaceRestoration)]
    assert models == ([restorer] if restorer else [])
    assert planned.tiling is bool(fields.get("tiling"))


def test_face_restoration_without_our_node_pack_is_refused() -> None:
    with pytest.raises(
        TranslationError, match="restore_faces: restoring faces needs our node pack"
    ):
        plan({"restore_faces": True}, fidelity="core")
