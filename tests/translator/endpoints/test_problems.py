"""Problems of a whole request: all at once, with the same words everywhere."""

from __future__ import annotations

from tests.translator.refusals import problems, with_units, without


def test_problems_of_every_stage_are_told_at_once() -> None:
    unit = {"image": "%%%", "module": "canny", "model": "m", "weight": "heavy"}
    payload = with_units(unit, steps="many", width=-1, sampler_name="no such", styles=["s"])
    assert sorted(text.split(":")[0] for text in problems(payload)) == [
        "alwayson_scripts.controlnet.args[0].image",
        "alwayson_scripts.controlnet.args[0].weight",
        "sampler_name",
        "steps",
        "styles[0]",
        "width",
    ]


def test_a_node_that_the_graph_cannot_do_without_is_named() -> None:
    assert problems({"seed": 1}, without("VAEDecode")) == [
        ": this ComfyUI lacks the node VAEDecode; install a current ComfyUI"
    ]


def test_an_unreadable_image_has_the_same_reason_wherever_it_stands() -> None:
    told = problems(with_units(*[{"image": "abc", "module": "canny", "model": "m"}] * 2))
    reasons = {text.split(": ", 1)[1] for text in told}
    assert (len(told), len(reasons)) == (2, 1)
    assert "is not base64" in reasons.pop()
