"""What a job may ask for: checked before anything is uploaded or run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from translator import Work
from worker.errors import LimitError
from worker.settings import Settings

_CANVASES = ("A1111JoinTiles", "EmptyImage")
"""Nodes on which a script puts pictures together; what it enlarges has the size of its tiles."""

_STEPS_FIELD: Mapping[str, str] = {"first": "steps", "hires": "hr_second_pass_steps"}


def check_work(work: Work, settings: Settings) -> None:
    """Check what a translated request makes ComfyUI do: steps, sizes and number of images.

    Raises:
        LimitError: naming what is too much, its value, the limit and its variable.
    """
    for item in work.passes:
        _at_most(
            _STEPS_FIELD.get(item.role, item.role), item.steps, settings.max_steps, "MAX_STEPS"
        )
        what = "width x height" if item.role == "first" else f"the size of pass {item.role}"
        _check_pixels(what, item.width, item.height, settings.max_pixels)
    _at_most("images in all", work.images, settings.max_images, "MAX_IMAGES")
    for width, height in work.grids:
        _check_pixels("the grid", width, height, settings.max_grid_pixels, "MAX_GRID_PIXELS")


def check_graph(graph: Mapping[str, Any], settings: Settings) -> None:
    """Check a directly submitted graph: number and classes of nodes, sizes, steps, batches.

    Raises:
        LimitError: naming the node and input, the limit and its variable.
    """
    _at_most("workflow: nodes", len(graph), settings.max_nodes, "MAX_NODES")
    for node_id, node in graph.items():
        if not isinstance(node, Mapping):
            continue
        kind = node.get("class_type")
        if settings.node_allow_list and kind not in settings.node_allow_list:
            raise LimitError(
                f"workflow.{node_id}: the node class {kind} is not allowed here",
                "use nodes of the operator's list (NODE_ALLOW_LIST)",
            )
        inputs = node.get("inputs")
        if isinstance(inputs, Mapping):
            numbers = {name: _number(value, graph) for name, value in inputs.items()}
            _check_inputs(f"workflow.{node_id} ({kind})", numbers, settings)


def check_enlarged(graph: Mapping[str, Any], settings: Settings) -> None:
    """Check the sizes to which nodes of a translated graph scale pictures, and of its canvases.

    Raises:
        LimitError: naming the size, the limit and its variable.
    """
    for node in graph.values():
        width, height = (node["inputs"].get(side) for side in ("width", "height"))
        kind = node["class_type"]
        makes = kind in _CANVASES or "Scale" in kind or "Upscale" in kind
        if makes and isinstance(width, int) and isinstance(height, int):
            _check_pixels("the enlarged picture", width, height, settings.max_pixels)


def check_canvases(sizes: Sequence[tuple[int, int]], settings: Settings) -> None:
    """Check the width and height of pictures that the worker itself draws.

    Raises:
        LimitError: naming the size, the limit and its variable.
    """
    _at_most("images in all", len(sizes), settings.max_images, "MAX_IMAGES")
    for width, height in sizes:
        _check_pixels("canvas_width x canvas_height", width, height, settings.max_pixels)


def _number(value: Any, graph: Mapping[str, Any]) -> float | None:
    """An input as the number that ComfyUI makes of it; None where it is none, or made by a run.

    ComfyUI takes numbers sent as text. A link to a node that only holds a number counts as it.
    """
    if isinstance(value, list) and value and isinstance(value[0], str):
        source = graph.get(value[0])
        held = source.get("inputs") if isinstance(source, Mapping) else None
        value = held.get("value") if isinstance(held, Mapping) and len(held) == 1 else None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _check_inputs(where: str, inputs: Mapping[str, float | None], settings: Settings) -> None:
    width, height = inputs.get("width"), inputs.get("height")
    if width is not None and height is not None:
        _check_pixels(f"{where}: width x height", width, height, settings.max_pixels)
    for name, limit, variable in (
        ("steps", settings.max_steps, "MAX_STEPS"),
        ("batch_size", settings.max_images, "MAX_IMAGES"),
    ):
        value = inputs.get(name)
        if value is not None:
            _at_most(f"{where}: {name}", value, limit, variable)


def _check_pixels(
    what: str, width: float, height: float, most: int, variable: str = "MAX_PIXELS"
) -> None:
    if width * height > most:
        raise LimitError(
            f"{what}: {width:g}x{height:g} is {width * height:g} pixels; at most {most} are made "
            "here",
            f"ask for a smaller image (limit: {variable})",
        )


def _at_most(what: str, value: float, limit: int, variable: str) -> None:
    if value > limit:
        raise LimitError(
            f"{what}: {value:g} is more than the {limit} allowed here",
            f"ask for less (limit: {variable})",
        )
