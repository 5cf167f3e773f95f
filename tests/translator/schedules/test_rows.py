"""What a new row of samplers.json or schedulers.json still lacks, see docs/adding.md."""

from __future__ import annotations

from dataclasses import replace

import pytest

from translator import Options, TranslationError, translate
from translator.comfy.catalog import VERSIONS, Catalog
from translator.schedules.samplers import samplers, schedulers
from translator.schedules.sigmas import SCHEDULER_NAMES

BEYOND = [row.name for row in samplers() if row.beyond_a1111]


def test_every_sampler_of_a1111_is_one_of_our_node() -> None:
    """Else it is translated, and then refused by the graph in exact mode."""
    known = Catalog.bundled().options("A1111Sampler", "sampler")
    lacking = [row.name for row in samplers() if row.name not in known and not row.beyond_a1111]
    assert not lacking, (
        f"{lacking}: where A1111 has it, add it to SIGMA_SAMPLERS or TIMESTEP_SAMPLERS of "
        "custom_nodes/comfyui_a1111/maths/sampler_object.py, with its function, and run "
        "python -m tools.pack_signatures; where only ComfyUI has it, mark the row beyond_a1111"
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_every_sampler_is_one_of_core(version: str) -> None:
    known = Catalog.bundled(version).options("KSampler", "sampler_name")
    lacking = [row.name for row in samplers() if row.comfy.sampler_name not in known]
    assert not lacking, f"{lacking}: ComfyUI {version} has no such comfy.sampler_name: {known}"


def test_every_scheduler_can_be_laid_out() -> None:
    lacking = [row.name for row in schedulers() if row.name not in SCHEDULER_NAMES]
    assert not lacking, f"{lacking}: add its function to _SCHEDULERS in schedules/sigmas.py"


def test_rows_beyond_a1111_stand_behind_its_own() -> None:
    """A1111 cuts a scheduler off a sampler's name in the order of its own list."""
    for rows in (samplers(), schedulers()):
        marks = [row.beyond_a1111 for row in rows]
        assert marks == sorted(marks), "move the rows that are marked beyond_a1111 to the end"


def test_a_sampler_that_an_older_pack_lacks_is_refused_with_the_way_out() -> None:
    """As a new row is, until the pack has it too."""
    bundled = Catalog.bundled()
    node = bundled.nodes["A1111Sampler"]
    known = replace(node.inputs["sampler"], options=("Euler",))
    older = replace(node, inputs={**node.inputs, "sampler": known})
    catalog = replace(bundled, nodes={**bundled.nodes, "A1111Sampler": older})
    payload = {"seed": 1, "sampler_name": "Heun"}
    with pytest.raises(TranslationError) as refused:
        translate(payload, catalog=catalog)
    (problem,) = refused.value.problems
    assert (problem.path, problem.kind) == ("sampler_name", "missing")
    assert "update its custom_nodes/comfyui_a1111" in problem.message
    made = translate(payload, catalog=catalog, options=Options(unsupported="warn"))
    assert "KSamplerSelect" in {node["class_type"] for node in made.graph.values()}


@pytest.mark.parametrize("fidelity", ["exact", "core"])
@pytest.mark.parametrize("name", BEYOND)
def test_a_sampler_beyond_a1111_is_comfyuis_own_and_said(name: str, fidelity: str) -> None:
    made = translate(
        {"seed": 1, "sampler_name": f"{name} Karras", "enable_hr": True, "denoising_strength": 0.5},
        options=Options(fidelity=fidelity),  # type: ignore[arg-type]
    )
    told = [str(item) for item in made.warnings if "ComfyUI's own sampler" in item.message]
    assert [text.partition(":")[0] for text in told] == ["sampler_name", "hr_sampler_name"]
    assert f"Sampler: {name}, Schedule type: Karras" in made.info["infotexts"][0]
    kinds = {node["class_type"] for node in made.graph.values()}
    assert ("KSamplerSelect" in kinds) == (fidelity == "exact")
    assert "A1111Sampler" not in kinds
