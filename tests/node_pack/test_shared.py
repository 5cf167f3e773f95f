"""What the pack shares with the translator is one text: the copy is what its source gives."""

from __future__ import annotations

import pytest

from tools import pack_shared

pytest.importorskip("torch", reason="importing the pack needs torch")


def test_the_copy_is_what_its_source_gives() -> None:
    assert pack_shared.stale() == [], "run python -m tools.pack_shared"


def test_the_copy_names_the_translator_only_where_it_says_its_source() -> None:
    for path, text in pack_shared.copies().items():
        lines = [line for line in text.splitlines() if "import" in line.split("#")[0].split()[:1]]
        assert not any("translator" in line for line in lines), path


def test_both_read_a_prompt_and_lay_out_steps_alike() -> None:
    from custom_nodes.comfyui_a1111.vendor import prompt as copied_prompt
    from custom_nodes.comfyui_a1111.vendor.schedules import written as copied_written
    from translator import prompt
    from translator.schedules import written

    text = "a (cat:1.2) [dog:bird:0.5], [x|y] AND (e:1.1) :0.7 BREAK \\(z\\)"
    assert copied_prompt.written_input(text, 21) == prompt.written_input(text, 21)
    settings = ("Euler a", "Karras", 21, 0.6, "hires fix")
    ours = written.lay_out(*settings, table="SDXL")
    theirs = copied_written.lay_out(*settings, table="SDXL")
    assert (ours.sigmas, ours.timesteps) == (theirs.sigmas, theirs.timesteps)
