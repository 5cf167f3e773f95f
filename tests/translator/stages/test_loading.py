"""What loading another checkpoint changes: who decodes, where tiling ends, who merges tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.corpus import picture
from translator import Catalog, ModelFacts, Translation, translate

SD1 = ModelFacts(architecture="SD1")
OWN_CONFIG = replace(SD1, has_config=True)
REFINED = {"refiner_checkpoint": "other", "refiner_switch_at": 0.5}
HIRES = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "Lanczos"}


def made(facts: ModelFacts = SD1, **fields: Any) -> Translation:
    """A request on two checkpoints of the same facts, "base" (in force) and "other"."""
    names = ("base.safetensors", "other.safetensors")
    catalog = replace(
        Catalog.bundled(),
        folders={"checkpoints": names},
        facts={("checkpoints", name): facts for name in names},
    )
    overrides = {"sd_model_checkpoint": "base", **fields.pop("override_settings", {})}
    payload = {"prompt": "a", "seed": 1, "steps": 6, **fields, "override_settings": overrides}
    return translate(payload, catalog=catalog)


def nodes(translation: Translation, *class_types: str) -> list[tuple[str, Mapping[str, Any]]]:
    graph = translation.graph.items()
    return [(key, node["inputs"]) for key, node in graph if node["class_type"] in class_types]


def loader(translation: Translation, checkpoint: str) -> str:
    loaders = nodes(translation, "CheckpointLoaderSimple")
    return next(key for key, inputs in loaders if inputs["ckpt_name"].startswith(checkpoint))


def decoders(translation: Translation) -> list[str]:
    """The node whose VAE decodes, for each decoding in order."""
    return [inputs["vae"][0] for _, inputs in nodes(translation, "VAEDecode")]


def test_a_refiner_that_took_over_decodes() -> None:
    translation = made(**REFINED)
    assert decoders(translation) == [loader(translation, "other")]


def test_a_refiner_that_comes_too_late_does_not_decode() -> None:
    late = {**REFINED, "refiner_switch_at": 1.0}
    translation = made(**late)
    assert decoders(translation) == [loader(translation, "base")]


@pytest.mark.parametrize(
    ("refined", "expected"),
    [
        ("first pass", ["other", "base"]),
        ("second pass", ["base", "other"]),
        ("both passes", ["other", "other"]),
    ],
)
def test_what_is_refined_is_decoded_by_the_refiner(refined: str, expected: list[str]) -> None:
    translation = made(**REFINED, **HIRES, override_settings={"hires_fix_refiner_pass": refined})
    assert decoders(translation) == [loader(translation, name) for name in expected]


def test_a_vae_that_is_asked_for_decodes_for_the_refiner_too() -> None:
    translation = made(**REFINED, override_settings={"sd_vae": "some.safetensors"})
    ((vae, _),) = nodes(translation, "VAELoader")
    assert decoders(translation) == [vae]


def test_tiling_ends_with_another_checkpoint() -> None:
    translation = made(tiling=True, hr_checkpoint_name="other", **HIRES)
    ((tiled, inputs),) = nodes(translation, "A1111Tiling")
    assert inputs["model"][0] == loader(translation, "base")
    assert decoders(translation) == [tiled, loader(translation, "other")]


def test_a_refiner_does_not_tile_and_later_batches_do_not() -> None:
    translation = made(tiling=True, n_iter=2, **REFINED)
    tiled = {key for key, _ in nodes(translation, "A1111Tiling")}
    assert tiled
    assert tiled.isdisjoint(decoders(translation))
    samplings = nodes(translation, "A1111ModelSampling")
    models = sorted(inputs["model"][0] for _, inputs in samplings)
    plain = [loader(translation, "base"), loader(translation, "other")]
    assert models == sorted([*tiled, *plain])


def test_all_batches_of_one_checkpoint_tile() -> None:
    translation = made(tiling=True, n_iter=2, **HIRES)
    ((tiled, _),) = nodes(translation, "A1111Tiling")
    assert decoders(translation) == [tiled] * 4


@pytest.mark.parametrize(("facts", "merging"), [(SD1, 2), (OWN_CONFIG, 1)])
def test_a_refiner_that_is_built_anew_merges_no_tokens(facts: ModelFacts, merging: int) -> None:
    translation = made(facts, override_settings={"token_merging_ratio": 0.5}, **REFINED)
    assert len(nodes(translation, "A1111TokenMerging")) == merging


@pytest.mark.parametrize(
    ("facts", "fields", "first_pass"),
    [(SD1, {}, 1), (OWN_CONFIG, {}, 2), (OWN_CONFIG, HIRES, 2)],
)
def test_a_checkpoint_that_is_built_anew_for_the_next_batch_merges_no_tokens(
    facts: ModelFacts, fields: dict[str, Any], first_pass: int
) -> None:
    """Equal models are shared, so a first pass without merging is a second model."""
    payload = {**fields, **REFINED, "n_iter": 2}
    translation = made(facts, override_settings={"token_merging_ratio": 0.5}, **payload)
    base = loader(translation, "base")
    merged = {
        key for key, inputs in nodes(translation, "A1111TokenMerging") if inputs["model"][0] == base
    }
    seen = {inputs["model"][0] for _, inputs in nodes(translation, "A1111ModelSampling")}
    assert len(seen & {base, *merged}) == first_pass


def test_a_reference_unit_takes_the_place_of_token_merging() -> None:
    unit = {"module": "reference_only", "image": picture("photo.jpg")}
    scripts = {"controlnet": {"args": [unit]}}
    translation = made(override_settings={"token_merging_ratio": 0.5}, alwayson_scripts=scripts)
    assert not nodes(translation, "A1111TokenMerging")
    assert nodes(translation, "A1111ControlNetReference")
