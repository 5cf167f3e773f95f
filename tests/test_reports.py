"""The pages that parity and bench leave."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import plot
from tests.comfyui.goldens import Golden, Verdict, rule_of
from tests.comfyui.parity_page import Shown, difference, write_page


def shown(name: str, level: int, verdict: Verdict) -> Shown:
    golden = np.full((8, 8, 3), 100, np.int16)
    out = io.BytesIO()
    Image.fromarray((golden + level).astype(np.uint8)).save(out, "PNG")
    answer: dict[str, Any] = {"images": [base64.b64encode(out.getvalue()).decode()]}
    payload = {"prompt": "<b>a cat</b>", "init_images": ["x" * 5000]}
    case = Golden("family", name, "/sdapi/v1/txt2img", payload, 200, None, None, [golden])
    return Shown(case, answer, verdict, "a reason")


def test_the_worst_stand_first_with_their_differences(tmp_path: Path) -> None:
    cases = [
        shown("same", 0, Verdict("exact", float("inf"), 0)),
        shown("worse", 40, Verdict("other", 16.1, 40, ["image 0"])),
        shown("near", 1, Verdict("near", 48.1, 1)),
        shown("bad", 20, Verdict("other", 22.1, 20)),
    ]
    page = write_page(tmp_path, "exact", cases)
    text = page.read_text("utf-8")
    assert re.findall(r"<h2>family/(\w+)", text) == ["worse", "bad", "near", "same"]
    assert "2 other, 1 near, 1 exact" in text
    assert "<b>a cat" not in text
    sources = re.findall(r'src="([^"]+)"', text)
    assert len(sources) == 12
    assert all((tmp_path / source).is_file() for source in sources)
    with Image.open(tmp_path / "pictures/exact/family/near/0-difference.png") as picture:
        assert picture.getpixel((0, 0)) == (20, 20, 20)


def flat(level: int) -> str:
    out = io.BytesIO()
    Image.new("L", (8, 8), level).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "posterior"),
        ({"denoising_strength": 0.9}, "posterior"),
        ({"denoising_strength": 1}, ""),
        ({"denoising_strength": 1, "script_name": "Loopback"}, "posterior"),
        ({"denoising_strength": 1, "alwayson_scripts": {"Soft Inpainting": {}}}, "posterior"),
        ({"mask": flat(255), "inpainting_fill": 2}, ""),
        ({"mask": flat(255), "inpainting_fill": 1}, "posterior"),
        ({"mask": flat(254), "inpainting_fill": 2}, "posterior"),
        ({"mask": flat(255), "inpainting_fill": 3, "inpainting_mask_invert": 1}, "posterior"),
        (
            {
                "denoising_strength": 1,
                "override_settings": {"sd_model_checkpoint": "synth15_inpainting"},
            },
            "posterior",
        ),
    ],
)
def test_which_rule_a_case_is_held_to(fields: dict[str, Any], rule: str) -> None:
    for endpoint, expected in (("img2img", rule), ("txt2img", "")):
        golden = Golden("family", "name", f"/sdapi/v1/{endpoint}", fields, 200, None, None, [])
        assert rule_of(golden).name == expected


def test_a_picture_that_is_missing_is_told(tmp_path: Path) -> None:
    case = shown("gone", 0, Verdict("other", None, None, ["0 images, not 1"]))
    lost = Shown(case.golden, {"images": []}, case.verdict, "")
    assert "ours: none" in write_page(tmp_path, "core", [lost]).read_text("utf-8")


def test_differences_are_amplified_and_end_at_white() -> None:
    one = np.zeros((1, 2, 3), np.int16)
    other = np.array([[[1, 0, 0], [200, 0, 0]]], np.int16)
    assert list(np.asarray(difference(one, other))[0, :, 0]) == [20, 255]


@pytest.mark.parametrize(
    ("row", "ratio"),
    [
        ("translating: 1.50 ms at the median (wanted: under 3); 2 times parsing", 0.5),
        (
            "idle between jobs of 1.3 s, ours: median 4.0 ms, longest 9 ms (wanted: at most 8 ms)",
            0.5,
        ),
        ("ours takes 1.25 times what worker-comfyui takes", 1.25),
        ("parsing: 3.00 ms", None),
    ],
)
def test_the_ratio_of_a_figure(row: str, ratio: float | None) -> None:
    assert plot.ratio(row) == ratio


def test_a_figure_beyond_what_is_wanted_stands_out() -> None:
    text = plot.page({"x": ["a: 4.0 ms (wanted: under 2)", "b: 1.0 ms (wanted: under 2)"]})
    assert text.count('class="bar over"') == 1
    assert text.count('class="bar"') == 1


def test_growth_is_drawn_beside_growth_in_proportion() -> None:
    text = plot.page({"growth": []}, [("words <b>", [(10, 1.0), (20, 3.0), (40, 2.0)])])
    assert "words &lt;b&gt;: 40 in 2.0 ms" in text
    points = re.search(r'<polyline points="([^"]+)"', text)
    assert points is not None
    assert points[1].split() == ["0.0,200.0", "120.0,133.3", "240.0,0.0", "480.0,66.7"]
    assert 'x2="480" y2="66.7" class="proportion"' in text
    assert text.count("<circle") == 3
