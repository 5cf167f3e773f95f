"""What the page shows of a request: both ways of translating it, as one JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from translator import TXT2IMG, Catalog, Options, Translation, TranslationError, translate
from translator.comfy.editor import layout, workflow
from translator.comfy.groups import links
from translator.comfy.text import graph_text, value_text
from translator.control.plan import ControlPlan
from translator.control.windows import percents_of_calls
from translator.editable import editable
from translator.plan.values import Plan, SamplingPass
from translator.report import Warning, show
from translator.schedules.samplers import AUTOMATIC, ResolvedSampler

TARGETS = ("exact", "core")
"""The two ways: with our node pack, and with core nodes."""

_SHOWN_TEXT = 4000
"""Characters of a text of the request that are shown; pictures in base64 are longer."""

_DEEPEST, _MOST_FIELDS = 12, 2000


def view(
    payload: object,
    endpoint: str = TXT2IMG,
    catalog: Catalog | None = None,
    options: Options | None = None,
) -> dict[str, Any]:
    """A request translated both ways.

    Args:
        payload: the request, whatever it is.
        options: how to translate, but for the fidelity.

    Returns:
        ``endpoint``, ``request`` (long texts cut), ``fields`` (path and value of each of its
        leaves), and per target of `TARGETS` either ``problems`` or what became of it.
    """
    options = options or Options()
    catalog = catalog or Catalog.bundled()
    return {
        "endpoint": f"/{endpoint.strip('/')}",
        "request": shortened(payload),
        "fields": [[path, show(value)] for path, value in fields(payload)],
        "targets": {name: _target(payload, endpoint, catalog, options, name) for name in TARGETS},
    }


def fields(value: object) -> list[tuple[str, Any]]:
    """Path and value of every leaf of a request, in its order, paths as problems write them.

    What lies deeper than any field of the API is one value; the list ends at `_MOST_FIELDS`.
    """
    return list(islice(_leaves(value, "", _DEEPEST), _MOST_FIELDS))


def _leaves(value: object, path: str, deeper: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value and deeper:
        for name, member in value.items():
            yield from _leaves(member, f"{path}.{name}" if path else str(name), deeper - 1)
    elif isinstance(value, list | tuple) and value and deeper:
        for index, member in enumerate(value):
            yield from _leaves(member, f"{path}[{index}]", deeper - 1)
    else:
        yield path, value if deeper or not isinstance(value, Mapping | list | tuple) else "..."


def shortened(value: Any, deeper: int = _DEEPEST) -> Any:
    """A request with its long texts (pictures) cut, and what lies too deep left out."""
    if isinstance(value, str) and len(value) > _SHOWN_TEXT:
        return f"{value[:60]}... ({len(value)} characters)"
    if not deeper:
        return value if value is None or isinstance(value, str | int | float) else "..."
    if isinstance(value, Mapping):
        return {str(name): shortened(item, deeper - 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(item, deeper - 1) for item in value]
    return value


def _target(
    payload: object, endpoint: str, catalog: Catalog, options: Options, fidelity: str
) -> dict[str, Any]:
    """One way: what is wrong, or the graph and all that goes with it."""
    unsupported = "warn" if fidelity == "core" else options.unsupported
    settled = replace(options, fidelity=fidelity, unsupported=unsupported)  # type: ignore[arg-type]
    try:
        made = translate(payload, endpoint, catalog, options=settled)
    except TranslationError as error:
        return {
            "problems": [
                {"path": item.path, "message": item.message, "kind": item.kind}
                for item in error.problems
            ],
            "warnings": _warnings(error.warnings),
        }
    return {"problems": [], **_made(made, catalog)}


def _warnings(warnings: Iterable[Warning]) -> list[dict[str, str]]:
    return [{"path": item.path, "message": item.message} for item in warnings]


def _made(made: Translation, catalog: Catalog) -> dict[str, Any]:
    info = made.info if isinstance(made.info, Mapping) else {}
    return {
        "warnings": _warnings(made.warnings),
        "graph": made.graph,
        "workflow": workflow(editable(made.graph, made.plans, catalog), catalog.nodes),
        "drawing": drawing(made.graph, catalog),
        "text": graph_text(made.graph, catalog.nodes),
        "outputs": [output.to_json() for output in made.outputs],
        "infotexts": list(info.get("infotexts", ())),
        "passes": [_pass(plan, index) for plan in made.plans for index in range(len(plan.passes))],
    }


def drawing(graph: Mapping[str, Mapping[str, Any]], catalog: Catalog) -> dict[str, Any]:
    """A graph as boxes and lines: groups, nodes with their values, links."""
    placed = layout(graph, catalog.nodes)
    return {
        "groups": [
            {
                "title": group.title,
                "nodes": list(group.nodes),
                "box": [box.x, box.y, box.width, box.height],
            }
            for group, box in zip(placed.groups, placed.group_boxes, strict=True)
        ],
        "nodes": {
            node: {
                "title": placed.titles[node],
                "class": graph[node]["class_type"],
                "box": [box.x, box.y, box.width, box.height],
                "values": _values(graph, node, catalog),
            }
            for node, box in placed.nodes.items()
        },
        "links": [
            [source, output, node, name, _type(graph, source, output, catalog)]
            for node in graph
            for name, source, output in links(graph, node)
        ],
    }


def _values(graph: Mapping[str, Mapping[str, Any]], node: str, catalog: Catalog) -> list[list[str]]:
    linked = {name for name, _, _ in links(graph, node)}
    return [
        [name, value_text(name, value, graph, catalog.nodes)]
        for name, value in graph[node]["inputs"].items()
        if name not in linked
    ]


def _type(graph: Mapping[str, Mapping[str, Any]], node: str, output: int, catalog: Catalog) -> str:
    signature = catalog.nodes.get(graph[node]["class_type"])
    return signature.outputs[output] if signature and output < len(signature.outputs) else "*"


def _pass(plan: Plan, index: int) -> dict[str, Any]:
    item = plan.passes[index]
    return {
        "role": item.role,
        "width": item.width,
        "height": item.height,
        "steps": item.steps,
        "denoise": item.denoise,
        "checkpoint": item.checkpoint.name,
        "architecture": item.checkpoint.architecture,
        "sampler": item.sampler.sampler.name,
        "scheduler": _scheduler(item.sampler),
        "prompt": item.prompt.text,
        "negative_prompt": item.prompt.negative_text,
        "sigmas": list(item.schedule.sigmas),
        "windows": _windows(plan.control, item, index),
    }


def _scheduler(sampler: ResolvedSampler) -> str:
    return sampler.scheduler.label if sampler.scheduler else AUTOMATIC


def _windows(control: ControlPlan, item: SamplingPass, index: int) -> list[dict[str, Any]]:
    """When each unit acts in a pass, as shares of its model calls."""
    percents = percents_of_calls(item.schedule, counted=control.exact)
    found = []
    for unit in control.units:
        window = unit.passes[index].window
        acting: list[int] = []
        if window is not None:
            acting = [
                number
                for number, percent in enumerate(percents)
                if window.start <= percent <= window.end
            ]
        found.append(
            {
                "title": f"unit {unit.unit.index}: {unit.module.name}",
                "calls": len(percents),
                "first": acting[0] if acting else None,
                "last": acting[-1] if acting else None,
            }
        )
    return found
