"""What a job may ask for: checked before anything is translated, uploaded or run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.errors import LimitError
from worker.settings import Settings

_DEFAULTS: Mapping[str, float] = {
    "width": 512,
    "height": 512,
    "batch_size": 1,
    "n_iter": 1,
    "hr_scale": 2.0,
}
"""A1111's own defaults of the fields that limits are computed from."""

_STEP_FIELDS = ("steps", "hr_second_pass_steps")


def check_request(payload: Mapping[str, Any], settings: Settings) -> None:
    """Check an A1111 payload's steps, sizes and number of images.

    Only numbers are judged here; what is wrong in another way is the translator's to say.

    Raises:
        LimitError: naming the field, its value, the limit and its variable.
    """
    for name in _STEP_FIELDS:
        _at_most(name, _number(payload, name), settings.max_steps, "MAX_STEPS")
    width, height = _number(payload, "width"), _number(payload, "height")
    _check_pixels("width x height", width, height, settings)
    if payload.get("enable_hr") in (True, "true", 1):
        across, down = _second_pass_size(payload, width, height)
        _check_pixels("the size after hires fix", across, down, settings)
    images = _number(payload, "batch_size") * _number(payload, "n_iter")
    _at_most("batch_size x n_iter", images, settings.max_images, "MAX_IMAGES")


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
            _check_inputs(f"workflow.{node_id} ({kind})", inputs, settings)


def check_enlarged(graph: Mapping[str, Any], settings: Settings) -> None:
    """Check the sizes to which nodes of a translated graph scale pictures.

    Raises:
        LimitError: naming the size, the limit and its variable.
    """
    for node in graph.values():
        width, height = (node["inputs"].get(side) for side in ("width", "height"))
        scales = "Scale" in node["class_type"] or "Upscale" in node["class_type"]
        if scales and isinstance(width, int) and isinstance(height, int):
            _check_pixels("the enlarged picture", width, height, settings)


def _check_inputs(where: str, inputs: Mapping[str, Any], settings: Settings) -> None:
    width, height = inputs.get("width"), inputs.get("height")
    if isinstance(width, int | float) and isinstance(height, int | float):
        _check_pixels(f"{where}: width x height", width, height, settings)
    for name, limit, variable in (
        ("steps", settings.max_steps, "MAX_STEPS"),
        ("batch_size", settings.max_images, "MAX_IMAGES"),
    ):
        value = inputs.get(name)
        if isinstance(value, int | float):
            _at_most(f"{where}: {name}", value, limit, variable)


def _second_pass_size(
    payload: Mapping[str, Any], width: float, height: float
) -> tuple[float, float]:
    """Upper bounds of hires fix's target; A1111's own arithmetic only makes it smaller."""
    across, down = _number(payload, "hr_resize_x"), _number(payload, "hr_resize_y")
    if not across and not down:
        scale = _number(payload, "hr_scale")
        return width * scale, height * scale
    return across or down * width / max(1.0, height), down or across * height / max(1.0, width)


def _check_pixels(what: str, width: float, height: float, settings: Settings) -> None:
    if width * height > settings.max_pixels:
        raise LimitError(
            f"{what}: {width:g}x{height:g} is {width * height:g} pixels; at most "
            f"{settings.max_pixels} are made here",
            "ask for a smaller image (limit: MAX_PIXELS)",
        )


def _at_most(what: str, value: float, limit: int, variable: str) -> None:
    if value > limit:
        raise LimitError(
            f"{what}: {value:g} is more than the {limit} allowed here",
            f"ask for less (limit: {variable})",
        )


def _number(payload: Mapping[str, Any], name: str) -> float:
    """A field as a number: A1111 takes numbers sent as strings; else its default, else 0."""
    try:
        return float(payload[name])
    except (KeyError, TypeError, ValueError):
        return float(_DEFAULTS.get(name, 0))
