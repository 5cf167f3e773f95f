"""What the page is given: every leaf of the request, both ways, all in one file."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.corpus import Case, cases
from translator import TranslationError, translate
from translator.page import html, view
from translator.page.view import fields, shortened


def case(name: str) -> Case:
    return next(item for item in cases() if item.name == name)


def test_every_leaf_has_the_path_that_problems_name() -> None:
    payload = {"a": 1, "b": {"c": [2, {"d": 3}]}, "e": []}
    assert fields(payload) == [("a", 1), ("b.c[0]", 2), ("b.c[1].d", 3), ("e", [])]


def test_a_request_of_any_depth_and_length_is_shown_in_bounds() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    shown = view({"prompt": deep, **{f"f{number}": number for number in range(5000)}})
    assert len(shown["fields"]) == 2000
    assert len(json.dumps(shown["request"]["prompt"])) < 100


def test_pictures_are_cut() -> None:
    assert len(shortened({"images": ["x" * 100_000]})["images"][0]) < 100


def test_problems_are_those_of_the_translation() -> None:
    payload = {"steps": "many", "sampler_name": "Eulr"}
    with pytest.raises(TranslationError) as refused:
        translate(payload)
    shown = view(payload)["targets"]["exact"]["problems"]
    assert [(item["path"], item["message"]) for item in shown] == [
        (item.path, item.message) for item in refused.value.problems
    ]


def test_both_ways_stand_side_by_side() -> None:
    request = case("controlnet-canny-hires-esrgan")
    shown = view(request.payload, options=request.options)
    assert shown["targets"]["exact"]["graph"] == request.translate("exact").graph
    assert shown["targets"]["core"]["graph"] == request.translate("core").graph
    first, hires = shown["targets"]["exact"]["passes"]
    assert (first["role"], hires["role"]) == ("first", "hires")
    assert len(first["sigmas"]) == 21
    (window,) = first["windows"]
    assert (window["first"], window["last"]) == (0, window["calls"] - 1)


def test_a_windows_bar_is_the_units_range() -> None:
    payload = dict(case("controlnet-canny-hires-esrgan").payload)
    payload = json.loads(json.dumps(payload))
    payload["enable_hr"] = False
    payload["sampler_name"] = "Euler"
    payload["alwayson_scripts"]["controlnet"]["args"][0] |= {
        "guidance_start": 0.25,
        "guidance_end": 0.5,
    }
    (shown,) = view(payload)["targets"]["exact"]["passes"]
    (window,) = shown["windows"]
    assert window["calls"] == 20
    # A1111 compares the step before: (i - 1) / 20 within 0.25..0.5 are calls 6 to 11.
    assert (window["first"], window["last"]) == (6, 11)


@pytest.mark.parametrize("request_case", cases(), ids=lambda item: item.name)
def test_every_request_of_the_corpus_can_be_drawn(request_case: Case) -> None:
    shown = view(request_case.payload, options=request_case.options)
    json.dumps(shown)
    for target in shown["targets"].values():
        if target["problems"]:
            continue
        drawing, graph = target["drawing"], target["graph"]
        assert set(drawing["nodes"]) == set(graph)
        grouped = [node for group in drawing["groups"] for node in group["nodes"]]
        assert sorted(grouped) == sorted(graph)


def test_the_page_is_one_file_without_network() -> None:
    shown = view({"prompt": "</script><script>alert(1)</script>"})
    page = html(shown)
    assert "</script><script>alert" not in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert "@import" not in page
    embedded = re.search(r'id="view">(.*?)</script>', page, re.DOTALL)
    assert embedded is not None
    assert json.loads(embedded[1]) == json.loads(json.dumps(shown))


def test_the_page_of_a_server_asks_for_its_view() -> None:
    assert 'id="view">null</script>' in html()
