"""A1111Prompt and A1111Schedule come to what A1111TextEncode, A1111Sampler, A1111Sigmas are given.

Held for every request of the corpus: the nodes of its workflow for the editor against those of its
graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.nodes.sampling import A1111Sampler, A1111Sigmas  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.text import A1111TextEncode  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.written import A1111Prompt, A1111Schedule  # noqa: E402
from tests.corpus import Case, cases  # noqa: E402
from translator import Catalog  # noqa: E402
from translator.editable import editable  # noqa: E402

pytestmark = pytest.mark.torch

CATALOG = Catalog.bundled()


def values(node: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in node["inputs"].items()
        if not isinstance(value, list) and name != "clip"
    }


def schedules(graph: Mapping[str, Any]) -> dict[str, tuple[Any, Any, int, int]]:
    return {
        name: A1111Schedule().lay_out(**values(node))
        for name, node in graph.items()
        if node["class_type"] == "A1111Schedule"
    }


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_both_forms_of_a_request_are_given_the_same(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = case.translate()
    graph, written = made.graph, editable(made.graph, made.plans, CATALOG)
    laid = schedules(written)
    encoded: list[dict[str, Any]] = []
    monkeypatch.setattr(
        A1111TextEncode, "encode", lambda self, **inputs: encoded.append(inputs) or ([],)
    )
    for name, node in written.items():
        before = graph.get(name, {"class_type": "", "inputs": {}})
        kinds = (before["class_type"], node["class_type"])
        if kinds == ("A1111TextEncode", "A1111Prompt"):
            linked = {
                key: laid[value[0]][value[1]]
                for key, value in node["inputs"].items()
                if isinstance(value, list) and key != "clip"
            }
            A1111Prompt().encode_text(clip=None, **values(node), **linked)
            given, wanted = encoded.pop(), values(before)
            assert json.loads(given.pop("prompt")) == json.loads(wanted.pop("prompt"))
            zeroed, wanted_zeroed = given.pop("zero_empty"), wanted.pop("zero_empty")
            assert zeroed == wanted_zeroed or (zeroed and node["inputs"]["text"])
            del given["clip"]
            assert given == wanted
        elif kinds[1] != "A1111Schedule" and kinds[0]:
            _same_sampling(before["inputs"], node["inputs"], graph, laid)


def _same_sampling(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    graph: Mapping[str, Any],
    laid: Mapping[str, Any],
) -> None:
    """Every input that A1111Schedule feeds is what stood in the graph; all others are unchanged."""
    for name, value in after.items():
        if not isinstance(value, list) or value[0] not in laid or value == before[name]:
            assert value == before[name]
            continue
        output = laid[value[0]][value[1]]
        if name == "sampler":
            (sampler,) = A1111Sampler().make(**values(graph[before[name][0]]))
            assert replace(output, ends=sampler.ends) == sampler
        elif name == "sigmas":
            (sigmas,) = A1111Sigmas().make(**values(graph[before[name][0]]))
            assert torch.equal(output, sigmas)
        else:
            assert output == before[name]


def test_steps_change_sigmas_prompt_and_calls_together() -> None:
    few = A1111Schedule().lay_out(**defaults(sampler="Heun", steps=10))
    many = A1111Schedule().lay_out(**defaults(sampler="Heun", steps=20))
    assert (len(few[1]), few[2:]) == (11, (20, 20))
    assert (len(many[1]), many[2:]) == (21, (40, 40))
    part = A1111Schedule().lay_out(**defaults(steps=20, start="img2img", denoise=0.5))
    assert (len(part[1]), part[2:]) == (12, (11, 20))


def test_what_is_wrong_is_said() -> None:
    for wrong, said in (
        ({"options": "[]"}, "JSON object"),
        ({"sampler": "UniPC", "steps": 2}, "UniPC of order 3"),
    ):
        with pytest.raises(ValueError, match=said):
            A1111Schedule().lay_out(**defaults(**wrong))


def defaults(**changes: Any) -> dict[str, Any]:
    return {
        "sampler": "Euler",
        "scheduler": "Automatic",
        "steps": 20,
        "start": "noise",
        "denoise": 1.0,
        "table": "SD1",
        "eta": 1.0,
        "s_churn": 0.0,
        "s_tmin": 0.0,
        "s_tmax": 0.0,
        "s_noise": 1.0,
        "options": "",
        "extra": "",
        **changes,
    }
