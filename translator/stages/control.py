"""Stage: the ControlNet units of a pass, and the detected maps of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from translator.control.models import Kind
from translator.control.plan import ControlPlan, UnitPlan
from translator.control.weights import SOFT_BASE, T2I_SOFT, Weighting
from translator.control.windows import Window
from translator.graph import Conditioning, ControlNet, Graph, Image, Model, Ref, Vae
from translator.stages import instantid, preprocess

SaveImage = Callable[[Image, str], str]
"""(image, title) -> id of the node that gives the image out."""


def apply(
    graph: Graph,
    plan: ControlPlan,
    pass_index: int,
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
) -> tuple[Model, Conditioning, Conditioning]:
    """Add every unit that acts in a pass, in order; their effects add up.

    Args:
        pass_index: 0 for the first pass, 1 for hires fix's.
        model, positive, negative: what the pass would sample with otherwise.
        vae: the pass's, for units that work on a latent of their image.
    """
    pass_ = _Pass(graph, plan, pass_index, vae)
    for unit in plan.units:
        window = unit.windows[pass_index]
        if window is not None:
            model, positive, negative = pass_.add(unit, window, model, positive, negative)
    return model, positive, negative


class _Pass:
    def __init__(self, graph: Graph, plan: ControlPlan, index: int, vae: Vae) -> None:
        self._graph = graph
        self._plan = plan
        self._index = index
        self._vae = vae
        self._tokens: dict[int, Ref] = {}

    def add(
        self,
        unit: UnitPlan,
        window: Window,
        model: Model,
        positive: Conditioning,
        negative: Conditioning,
    ) -> tuple[Model, Conditioning, Conditioning]:
        if unit.unit.module.role == "instant_id_embedding":
            patched, tokens = instantid.patch(self._graph, self._plan, unit, window, model)
            self._tokens[unit.unit.index] = tokens
            return patched, positive, negative
        if unit.kind is Kind.INSTANT_ID:
            return model, *self._instant_id(unit, window, model, positive, negative)
        return model, *self._control_net(unit, window, positive, negative)

    def _map(self, unit: UnitPlan) -> Image:
        return preprocess.control_map(self._graph, self._plan, unit, self._index)

    def _instant_id(
        self,
        unit: UnitPlan,
        window: Window,
        model: Model,
        positive: Conditioning,
        negative: Conditioning,
    ) -> tuple[Conditioning, Conditioning]:
        weighting = unit.weightings[self._index]
        assert unit.partner is not None
        tokens = self._tokens.get(unit.partner) or instantid.face_tokens(
            self._graph, self._plan, self._plan.by_index(unit.partner), self._index, model
        )
        controlled = instantid.apply_control_net(
            self._graph,
            unit,
            window,
            self._loaded(unit, weighting),
            self._map(unit),
            tokens,
            weighting.strength,
            positive,
            negative,
        )
        if weighting.is_plain and weighting.prompt_only:
            return controlled[0], negative
        return controlled

    def _loaded(self, unit: UnitPlan, weighting: Weighting) -> ControlNet:
        """A ControlNet that carries its own weights, for nodes that take none."""
        assert unit.model is not None
        if weighting.is_plain:
            return load(self._graph, unit)
        keyframe = block_weights(self._graph, unit, weighting).out(Ref, 1)
        return self._graph.add(
            "ACN_ControlNetLoaderAdvanced", cnet=unit.model.name, _tk_opt=keyframe
        ).out(ControlNet)

    def _control_net(
        self, unit: UnitPlan, window: Window, positive: Conditioning, negative: Conditioning
    ) -> tuple[Conditioning, Conditioning]:
        weighting = unit.weightings[self._index]
        region = unit.unit.effective_region_mask
        inputs: dict[str, Any] = {
            "positive": positive,
            "negative": negative,
            "control_net": load(self._graph, unit),
            "image": self._map(unit),
            "strength": weighting.strength,
            "start_percent": window.start,
            "end_percent": window.end,
        }
        title = f"ControlNet unit {unit.unit.index}: {unit.unit.module.name}"
        if weighting.is_plain and region is None:
            node = self._graph.add("ControlNetApplyAdvanced", title=title, **inputs)
        else:
            weights = None
            if not weighting.is_plain:
                weights = block_weights(self._graph, unit, weighting).out(Ref)
            node = self._graph.add(
                "ACN_AdvancedControlNetApply_v2",
                title=title,
                **inputs,
                weights_override=weights,
                mask_optional=preprocess.load_mask(self._graph, region) if region else None,
            )
        if weighting.is_plain and weighting.prompt_only:
            return node.out(Conditioning), negative
        return node.out(Conditioning), node.out(Conditioning, 1)


def load(graph: Graph, unit: UnitPlan) -> ControlNet:
    """A unit's ControlNet, T2I-Adapter or control-LoRA, with its task if it is a union model."""
    assert unit.model is not None
    loaded = graph.add("ControlNetLoader", control_net_name=unit.model.name).out(ControlNet)
    if unit.union_type is None:
        return loaded
    return graph.add("SetUnionControlNetType", control_net=loaded, type=unit.union_type).out(
        ControlNet
    )


def block_weights(graph: Graph, unit: UnitPlan, weighting: Weighting) -> Any:
    """Advanced-ControlNet's weights node; output 0 is the weights, output 1 a keyframe of them."""
    uncond = 0.0 if weighting.prompt_only else 1.0
    if unit.kind is Kind.T2I_ADAPTER:
        blocks = weighting.blocks or T2I_SOFT
        inputs: dict[str, Any] = {f"input_{i}": value for i, value in enumerate(blocks)}
        return graph.add("ACN_CustomT2IAdapterWeights", **inputs, uncond_multiplier=uncond)
    if weighting.blocks is None:
        return graph.add(
            "ACN_ScaledSoftControlNetWeights", base_multiplier=SOFT_BASE, uncond_multiplier=uncond
        )
    *encoder, middle = weighting.blocks
    outputs: dict[str, Any] = {f"output_{index}": 0.0 for index in range(12)}
    outputs |= {f"output_{index}": value for index, value in enumerate(encoder)}
    return graph.add(
        "ACN_CustomControlNetWeightsSD15", **outputs, middle_0=middle, uncond_multiplier=uncond
    )


def detected_maps(graph: Graph, plan: ControlPlan, save_image: SaveImage) -> list[dict[str, Any]]:
    """The detected maps of the answer, one or more per unit, in unit order.

    A unit with a map answers it at the size of the result; with ``all_maps`` the first pass's
    follows the hires pass's, as A1111 has it. A unit without a map (a face, an image prompt)
    answers its image as it was sent.
    """
    outputs: list[dict[str, Any]] = []
    for unit in plan.units:
        if unit.answers_map:
            outputs.extend(_maps_of(graph, plan, unit, save_image))
    return outputs


def _maps_of(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, save_image: SaveImage
) -> list[dict[str, Any]]:
    index = unit.unit.index
    if not unit.unit.module.returns_image:
        return [
            {"kind": "detected_map", "upload": item.image.name, "index": 0, "unit": index}
            for item in unit.images
        ]
    passes = range(len(plan.sizes) - 1, -1, -1)
    title = f"Detected map of unit {index}"
    return [
        {
            "kind": "detected_map",
            "node": save_image(preprocess.control_map(graph, plan, unit, number), title),
            "index": 0,
            "unit": index,
        }
        for number in (passes if plan.all_maps else passes[:1])
    ]
