"""The nodes of a unit's preprocessor: whose, with which values, and at which sizes they look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from translator.comfy.catalog import InputSignature
from translator.control import models
from translator.control.checks import Refusals, Refused
from translator.control.context import ControlContext
from translator.control.modules import Module, NodeRecipe
from translator.control.sizes import RESOLUTION_UNSEEN, Size, tile_size
from translator.control.units import ControlUnit
from translator.models.names import ModelFile
from translator.scope import Scope

_SHORT_SIDES: Mapping[str, int] = {
    "inpaint_only+lama": 256,
    "ip-adapter_pulid": RESOLUTION_UNSEEN,
}
"""Module without a slider -> pixels of the short side that its networks look at."""


class Recipes:
    """Chooses and fills the nodes of preprocessors for one request.

    Args:
        exact: whether our node pack's nodes are taken where they come nearer.
    """

    def __init__(
        self, context: ControlContext, scope: Scope, refusals: Refusals, *, exact: bool
    ) -> None:
        self._context = context
        self._catalog = scope.catalog
        self._report = scope.report
        self._refusals = refusals
        self._exact = exact

    def weights(self, unit: ControlUnit, module: Module) -> ModelFile | None:
        """The file that our nodes load; None where others do the work."""
        if module.weights is None or not self._exact:
            return None
        path = f"{unit.path}.module"
        found = models.weights_file(module.weights, self._catalog)
        if found is None and not module.nodes:
            file, place = module.weights.file, module.weights.place
            self._report.missing(
                path,
                f'"{module.name}" needs {file}, which this ComfyUI lacks; put it into {place}',
                instead="the unit is left out",
            )
            raise Refused
        return found

    def filled(
        self,
        unit: ControlUnit,
        module: Module,
        source: Size,
        processor_res: int,
        weights: ModelFile | None,
    ) -> tuple[NodeRecipe, ...]:
        """The preprocessor's nodes with the unit's values in place, within the nodes' bounds."""
        tile = tile_size(source, float(unit.threshold_a))
        scaled = source.with_short_side(processor_res)
        values = {
            "$processor_res": processor_res,
            "$threshold_a": unit.threshold_a,
            "$threshold_b": unit.threshold_b,
            "$short_side": source.short,
            "$tile_width": tile.width,
            "$tile_height": tile.height,
            "$scaled_width": scaled.width,
            "$scaled_height": scaled.height,
            "$seed": self._context.preprocessor_seed,
        }
        own = module.own_nodes
        if own and self._exact and self._takes_own(module, values, weights):
            own = tuple(_with_weights(recipe, weights) for recipe in own)
            return tuple(self._filled(recipe, values, unit) for recipe in own)
        if own and not module.nodes:
            self._refusals.lacks(unit, own[-1].class_type)
        return tuple(self._filled(recipe, values, unit) for recipe in module.nodes)

    def _takes_own(
        self, module: Module, values: Mapping[str, float], weights: ModelFile | None
    ) -> bool:
        """Whether our nodes do the work: always, or where the others' range is too narrow."""
        if module.weights is not None and weights is None:
            return False
        if module.own_nodes_for == "every":
            return True
        resolution = values["$processor_res"]
        items = [
            signature.inputs["resolution"]
            for recipe in module.nodes
            if (signature := self._catalog.nodes.get(recipe.class_type))
            and "resolution" in signature.inputs
        ]
        return any(item.min is not None and resolution < item.min for item in items)

    def _filled(
        self, recipe: NodeRecipe, values: Mapping[str, float], unit: ControlUnit
    ) -> NodeRecipe:
        signature = self._catalog.nodes.get(recipe.class_type)
        if signature is None:
            self._refusals.lacks(unit, recipe.class_type)
        inputs = {
            name: self._within(values[value], signature.inputs[name], unit)
            if isinstance(value, str) and value in values
            else value
            for name, value in recipe.inputs.items()
        }
        return NodeRecipe(recipe.class_type, inputs)

    def _within(self, value: float, item: InputSignature, unit: ControlUnit) -> float:
        """A slider's value as a node takes it: cut to a whole number, within its bounds."""
        settled = int(value) if item.type == "INT" else float(value)
        low = settled if item.min is None else max(settled, item.min)
        bounded = low if item.max is None else min(low, item.max)
        if bounded != settled:
            self._report.warn(
                unit.path, f"{settled} becomes {bounded}, the nearest that the node takes"
            )
        return int(bounded) if item.type == "INT" else float(bounded)


def _with_weights(recipe: NodeRecipe, weights: ModelFile | None) -> NodeRecipe:
    """A node told which file to load."""
    if weights is None:
        return recipe
    inputs = {
        name: weights.name if value == "$weights" else value
        for name, value in recipe.inputs.items()
    }
    return NodeRecipe(recipe.class_type, inputs)


def map_size(
    module: Module, source: Size, processor_res: int, recipe: Sequence[NodeRecipe]
) -> Size:
    """The size in pixels of the map that a preprocessor makes of an image of size `source`."""
    if module.role == "instant_id_keypoints":
        return source.with_short_side(processor_res)
    for step in recipe:
        if step.class_type == "ImageScale":
            return Size(step.inputs["width"], step.inputs["height"])
        if "resolution" in step.inputs:
            return source.with_short_side(step.inputs["resolution"])
    return source


def seen_besides(module: Module, source: Size, resize_mode: str) -> Iterable[Size]:
    """The size at which a network looks at the image, where the module has no slider for it.

    LaMa looks at what Resize and Fill has made already, which is no larger than a pass.
    """
    is_fitted = module.role == "inpaint" and resize_mode == "Resize and Fill"
    if module.name in _SHORT_SIDES and not is_fitted:
        yield source.with_short_side(_SHORT_SIDES[module.name])
