"""Whatever a unit holds, the translation gives a valid graph or names the field at fault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.translator.control_requests import Outcome, context, mask, picture, translated
from translator.control import modules
from translator.control.units import (
    CONTROL_MODES,
    HR_OPTIONS,
    NO_EFFECT,
    POSITIONAL,
    RESIZE_MODES,
    UNION_TYPES,
)
from translator.schemas import read_schema

pytestmark = pytest.mark.slow

FIELDS = tuple(read_schema("controlnet_unit")["properties"])
NAMES = sorted({name for row in modules.table().values() for name in (row.name, *row.names)})
MODELS = (
    "None",
    "control_v11p_sd15_canny [d14c016b]",
    "diffusers_xl_canny",
    "controlnet-union-sdxl",
    "t2iadapter_canny_sd15v2",
    "t2iadapter_style_sd14v1",
    "kohya_controllllite_xl_canny",
    "ip-adapter_sd15",
    "ip-adapter-faceid-plusv2_sdxl",
    "ip-adapter_instant_id_sdxl [eb2d3ec0]",
    "control_instant_id_sdxl [c5c25a50]",
    "control_v11e_sd15_shuffle",
)

numbers = st.one_of(
    st.integers(-5, 4096),
    st.floats(-5, 5000, allow_nan=False),
    st.sampled_from(["0.5", "1", "x", ""]),
)
fractions = st.one_of(st.floats(0, 1), st.integers(0, 1), st.sampled_from([0.25, 0.5, 1.0]))
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


def images() -> st.SearchStrategy[Any]:
    drawn = st.sampled_from(
        [picture(), picture(64, 300), picture(mode="RGBA", colour=(1, 2, 3, 4))]
    )
    return st.one_of(
        drawn,
        st.builds(lambda: {"image": picture(), "mask": mask()}),
        st.builds(lambda: [picture(), mask()]),
        st.lists(st.builds(lambda image: {"image": image}, drawn), max_size=3),
        st.just("broken"),
        st.none(),
    )


def some_of(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(names), st.integers(0, len(names)))


SENSIBLE = {
    "module": st.sampled_from(NAMES),
    "model": st.sampled_from(MODELS),
    "image": images(),
    "mask": st.one_of(st.none(), st.builds(mask)),
    "weight": st.floats(0, 2),
    "resize_mode": some_of(RESIZE_MODES),
    "control_mode": some_of(CONTROL_MODES),
    "hr_option": some_of(HR_OPTIONS),
    "union_control_type": st.sampled_from(UNION_TYPES),
    "processor_res": numbers,
    "threshold_a": numbers,
    "threshold_b": numbers,
    "guidance_start": fractions,
    "guidance_end": fractions,
    "pixel_perfect": st.booleans(),
    "save_detected_map": st.booleans(),
    "effective_region_mask": st.one_of(st.none(), st.builds(mask)),
    "advanced_weighting": st.one_of(st.none(), st.lists(st.floats(0, 2), min_size=10, max_size=16)),
}

units = st.fixed_dictionaries({}, optional=SENSIBLE)
odd_units = st.dictionaries(
    st.one_of(st.sampled_from([*FIELDS, *sorted(NO_EFFECT), "guidance", "lowvram"]), st.text()),
    junk,
    max_size=8,
)
args = st.lists(
    st.one_of(units, odd_units, st.none(), st.lists(junk, max_size=len(POSITIONAL) + 1)),
    max_size=4,
)


def accounted_for(outcome: Outcome) -> None:
    """Every enabled unit is in the graph, or the report says why it is not."""
    report = outcome.report
    for problem in report.problems:
        assert problem.path.startswith("alwayson_scripts.controlnet.args[")
        assert problem.message
        assert len(str(problem)) < 600
    planned = {plan.unit.index for plan in outcome.plan.units}
    for item in outcome.units:
        told = [problem.path for problem in report.problems] + report.warning_texts
        # A keypoints unit is refused without a word where the unit of its face is.
        paths = item.path, f"alwayson_scripts.controlnet.args[{item.index - 1}]"
        assert item.index in planned or any(text.startswith(paths) for text in told)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.lists(units, min_size=1, max_size=3), sdxl=st.booleans(), hires=st.booleans())
def test_sensible_units_give_a_graph_or_a_reason(
    raw: list[dict[str, Any]], sdxl: bool, hires: bool
) -> None:
    accounted_for(translated(raw, context("SDXL" if sdxl else "SD1", hires=hires)))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.lists(units, min_size=1, max_size=3), sdxl=st.booleans())
def test_leaving_units_out_never_fails_for_want_of_anything(
    raw: list[dict[str, Any]], sdxl: bool
) -> None:
    outcome = translated(raw, context("SDXL" if sdxl else "SD1"), options={"unsupported": "warn"})
    assert {problem.kind for problem in outcome.report.problems} <= {"invalid"}
    accounted_for(outcome)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.lists(units, min_size=1, max_size=2))
def test_core_nodes_alone_give_a_graph_or_a_reason(raw: list[dict[str, Any]]) -> None:
    outcome = translated(raw, options={"fidelity": "core"})
    assert not any(name.startswith("A1111") for name in outcome.classes())
    accounted_for(outcome)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=args)
def test_odd_units_are_never_more_than_refused(raw: list[Any]) -> None:
    accounted_for(translated(raw))
