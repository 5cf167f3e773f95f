"""What a new row of samplers.json still lacks."""

from __future__ import annotations

from translator.comfy.catalog import Catalog
from translator.schedules.samplers import samplers


def test_every_sampler_is_one_of_our_node() -> None:
    """Else it is translated, and then refused by the graph in exact mode."""
    known = Catalog.bundled().options("A1111Sampler", "sampler")
    lacking = [row.name for row in samplers() if row.name not in known]
    assert not lacking, (
        f"{lacking}: add them to A1111Sampler in custom_nodes/comfyui_a1111/nodes/sampling.py, "
        "with their function in maths/, and run python -m tools.pack_signatures"
    )
