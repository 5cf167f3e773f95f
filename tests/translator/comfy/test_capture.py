"""What a signature file keeps of a server's lists."""

from __future__ import annotations

import pytest

from translator.comfy.capture import signature


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"type": "COMBO", "folders": ["checkpoints"], "options": []}),
        (
            {"default": "b.pth"},
            {"type": "COMBO", "options": ["a.pth", "b.pth"], "default": "b.pth"},
        ),
    ],
)
def test_a_list_of_files_is_emptied_and_a_list_with_a_default_is_the_nodes_own(
    settings: dict[str, str], expected: dict[str, object]
) -> None:
    info = {"input": {"required": {"ckpt_name": [["a.pth", "b.pth"], settings]}}, "output": []}
    assert signature(info, "SomeNode")["inputs"]["required"]["ckpt_name"] == expected
