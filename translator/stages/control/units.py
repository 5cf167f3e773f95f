"""Stage: the ControlNet units of a pass, what they do to the result, and the detected maps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from translator.comfy import packs
from translator.comfy.graph import (
    Conditioning,
    ControlNet,
    Graph,
    Image,
    Latent,
    Model,
    Node,
    Ref,
    Vae,
)
from translator.control.models import Kind
from translator.control.planner import ControlPlan, UnitPlan
from translator.control.weights import SOFT_BASE, T2I_SOFT, Weighting
from translator.control.windows import Window
from translator.result import Output
from translator.stages.control import instantid, ip_adapter, preprocess, text_control
from translator.stages.control.preprocess import ControlPass

SaveImage = Callable[[Image, str], str]
"""(image, title) -> id of the node that gives the image out."""

_SD1_ENCODER_BLOCKS = 12

_REFERENCE_TYPES = {
    "reference_only": "reference_attn",
    "reference_adain": "reference_adain",
    "reference_adain+attn": "reference_attn+adain",
}


@dataclass(frozen=True)
class Guided:
    """What a pass samples with."""

    model: Model
    positive: Conditioning
    negative: Conditioning


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
    stage = _Stage(ControlPass(graph, plan, pass_index, vae))
    guided = stage.add_units(Guided(model, positive, negative))
    return guided.model, guided.positive, guided.negative


def finish(graph: Graph, plan: ControlPlan, image: Image) -> Image:
    """What units do to the decoded result, before faces are restored: recolor, inpaint_only."""
    last = len(plan.sizes) - 1
    for unit in plan.units:
        if unit.module.role == "recolor":
            image = graph.add(
                packs.RECOLOR,
                image=image,
                control_map=preprocess.control_map(graph, plan, unit, last),
                channel=unit.module.name.removeprefix("recolor_"),
            ).out(Image)
        elif unit.module.name == "inpaint_only":
            source, mask = preprocess.inpaint_parts(graph, plan, unit, last)
            image = graph.add(
                packs.PASTE, image=image, source=source, mask=mask, blur=plan.paste_blur
            ).out(Image)
    return image


class _Stage:
    """One pass; remembers what one unit leaves for the next."""

    def __init__(self, at: ControlPass) -> None:
        self._at = at
        self._graph = at.graph
        self._tokens: dict[int, Ref] = {}
        self._image_prompts = 0
        self._revisions = 0

    def add_units(self, guided: Guided) -> Guided:
        for unit in self._at.plan.units:
            guided = self._guard_source(unit, guided)
            window = unit.windows[self._at.index]
            if window is not None:
                guided = self._add(unit, window, guided)
        if self._image_prompts and self._has_ip_adapter():
            guided = replace(guided, model=self._own_attention(guided.model, "sampling"))
        return guided

    def _add(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        role = unit.module.role
        if unit.module.is_ip_adapter:
            return replace(guided, model=self._image_prompt(unit, window, guided.model))
        if role == "style":
            styled = text_control.style(self._at, unit, window, guided.positive)
            return replace(guided, positive=styled)
        if role == "revision":
            return self._revision(unit, window, guided)
        if role == "reference":
            return self._reference(unit, window, guided)
        if unit.kind is Kind.INSTANT_ID:
            return self._instant_id(unit, window, guided)
        return self._control_net(unit, window, guided)

    def _image_prompt(self, unit: UnitPlan, window: Window, model: Model) -> Model:
        """An image prompt; before every one but the first the attention patches are copied."""
        if self._image_prompts:
            model = self._own_attention(model, _identity(unit, window))
        self._image_prompts += 1
        if unit.module.role != "instant_id_embedding":
            return ip_adapter.patch(self._at, unit, window, model)
        patched, self._tokens[unit.unit.index] = instantid.patch(self._at, unit, window, model)
        return patched

    def _own_attention(self, model: Model, owner: str) -> Model:
        if not self._at.plan.exact:
            return model
        return self._graph.add(packs.ATTENTION, model=model, owner=owner).out(Model)

    def _has_ip_adapter(self) -> bool:
        """Whether IPAdapter_plus took part, whose middle block has to be put right."""
        return any(
            unit.module.role in ("ip_adapter", "face_id") and unit.windows[self._at.index]
            for unit in self._at.plan.units
        )

    def _revision(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        positive, negative = text_control.revision(
            self._at,
            unit,
            window,
            guided.positive,
            guided.negative,
            further=self._revisions > 0,
        )
        self._revisions += 1
        return replace(guided, positive=positive, negative=negative)

    def _reference(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        """A reference picture in the self-attention, by Advanced-ControlNet."""
        size = self._at.size
        latent = self._graph.add(
            "EmptyLatentImage", width=size.width, height=size.height, batch_size=1
        )
        reference = self._graph.add(
            "ACN_ReferencePreprocessor",
            image=self._map(unit),
            vae=self._at.vae,
            latent_size=latent.out(Latent),
        )
        control_net = self._graph.add(
            "ACN_ReferenceControlNet",
            reference_type=_REFERENCE_TYPES[unit.module.name],
            style_fidelity=unit.style_fidelities[self._at.index],
            ref_weight=min(unit.unit.weight, 1.0),
        )
        node = self._graph.add(
            "ACN_AdvancedControlNetApply_v2",
            title=_title(unit),
            positive=guided.positive,
            negative=guided.negative,
            control_net=control_net.out(ControlNet),
            image=reference.out(Image),
            strength=1.0,
            start_percent=window.start,
            end_percent=window.end,
            vae_optional=self._at.vae,
        )
        return _controlled(guided, node)

    def _instant_id(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        assert unit.partner is not None
        weighting = unit.weightings[self._at.index]
        partner = self._at.plan.by_index(unit.partner)
        tokens = self._tokens.get(unit.partner) or instantid.face_tokens(
            self._at, partner, guided.model
        )
        positive, negative = instantid.apply_control_net(
            self._at,
            unit,
            window,
            self._with_own_weights(unit, weighting),
            self._map(unit),
            tokens,
            guided.positive,
            guided.negative,
        )
        if weighting.is_plain and weighting.prompt_only:
            return replace(guided, positive=positive)
        return replace(guided, positive=positive, negative=negative)

    def _with_own_weights(self, unit: UnitPlan, weighting: Weighting) -> ControlNet:
        """A ControlNet that carries weights and region itself, for nodes that take none."""
        assert unit.model is not None
        region = unit.unit.effective_region_mask
        if weighting.is_plain and region is None:
            return _load(self._graph, unit)
        weights = None if weighting.is_plain else _block_weights(self._graph, unit, weighting)
        keyframe = self._graph.add(
            "TimestepKeyframe",
            start_percent=0.0,
            cn_weights=weights.out(Ref) if weights else None,
            mask_optional=preprocess.load_mask(self._graph, region) if region else None,
        )
        return self._graph.add(
            "ACN_ControlNetLoaderAdvanced", cnet=unit.model.name, _tk_opt=keyframe.out(Ref)
        ).out(ControlNet)

    def _control_net(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        """A ControlNet, T2I-Adapter or ControlLLLite unit."""
        weighting = unit.weightings[self._at.index]
        region = unit.unit.effective_region_mask
        inputs: dict[str, Any] = {
            "positive": guided.positive,
            "negative": guided.negative,
            "control_net": _load(self._graph, unit),
            "image": self._hint(unit),
            "strength": weighting.strength,
            "start_percent": window.start,
            "end_percent": window.end,
        }
        class_type = "ControlNetApplyAdvanced"
        if unit.kind is Kind.LLLITE or region or not weighting.is_plain:
            class_type = "ACN_AdvancedControlNetApply_v2"
        if region:
            inputs["mask_optional"] = preprocess.load_mask(self._graph, region)
        if not weighting.is_plain:
            inputs["weights_override"] = _block_weights(self._graph, unit, weighting).out(Ref)
        node = self._graph.add(class_type, title=_title(unit), **inputs)
        if weighting.is_plain and weighting.prompt_only:
            return replace(guided, positive=node.out(Conditioning))
        return _controlled(guided, node)

    def _map(self, unit: UnitPlan) -> Image:
        return preprocess.control_map(self._graph, self._at.plan, unit, self._at.index)

    def _hint(self, unit: UnitPlan) -> Image:
        """What the ControlNet sees: the map; of an inpaint unit with -1 where it is masked."""
        if unit.module.role != "inpaint":
            return self._map(unit)
        picture, mask = preprocess.inpaint_parts(self._graph, self._at.plan, unit, self._at.index)
        return self._graph.add(
            "InpaintPreprocessor", image=picture, mask=mask, black_pixel_for_xinsir_cn=False
        ).out(Image)

    def _guard_source(self, unit: UnitPlan, guided: Guided) -> Guided:
        """What inpaint_only and colorfix do at every call, whatever the unit's range."""
        if unit.module.role == "colorfix" and self._at.plan.exact:
            return replace(guided, model=self._color_fix(unit, guided.model))
        if unit.module.name == "inpaint_only":
            return replace(guided, model=self._inpaint_only(unit, guided.model))
        return guided

    def _color_fix(self, unit: UnitPlan, model: Model) -> Model:
        radius = int(unit.unit.threshold_a)
        if self._at.is_hires and unit.unit.hr_option != "Low res only":
            radius *= 2
        sharpens = unit.module.name.endswith("+sharp")
        return self._graph.add(
            packs.COLOR_FIX,
            title=_title(unit),
            model=model,
            source=self._encoded(self._map(unit)),
            radius=radius,
            sharpness=float(unit.unit.threshold_b) if sharpens else 0.0,
            weight=min(unit.unit.weight, 1.0),
        ).out(Model)

    def _inpaint_only(self, unit: UnitPlan, model: Model) -> Model:
        picture, mask = preprocess.inpaint_parts(self._graph, self._at.plan, unit, self._at.index)
        return self._graph.add(
            packs.INPAINT_ONLY,
            title=_title(unit),
            model=model,
            source=self._encoded(picture),
            mask=mask,
            weight=min(unit.unit.weight, 1.0),
        ).out(Model)

    def _encoded(self, picture: Image) -> Latent:
        return self._graph.add("VAEEncode", pixels=picture, vae=self._at.vae).out(Latent)


def detected_maps(graph: Graph, plan: ControlPlan, save_image: SaveImage) -> list[Output]:
    """The detected maps of the answer, one or more per unit, in unit order.

    A unit with a map answers it at the size of the result; with ``all_maps`` the first pass's
    follows the hires pass's, as A1111 has it. A unit without a map (a face, an image prompt)
    answers its images as they were sent.
    """
    outputs: list[Output] = []
    for unit in plan.units:
        if unit.answers_map:
            outputs.extend(_maps_of(graph, plan, unit, save_image))
    return outputs


def _maps_of(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, save_image: SaveImage
) -> list[Output]:
    index = unit.unit.index
    if not unit.module.returns_image:
        return [Output("detected_map", upload=item.image.name, unit=index) for item in unit.images]
    passes = range(len(plan.sizes) - 1, -1, -1)
    title = f"Detected map of unit {index}"
    return [
        Output(
            "detected_map",
            save_image(preprocess.shown_map(graph, plan, unit, number), title),
            unit=index,
        )
        for number in (passes if plan.all_maps else passes[:1])
    ]


def _load(graph: Graph, unit: UnitPlan) -> ControlNet:
    """A unit's ControlNet, T2I-Adapter or control-LoRA, with its task if it is a union model."""
    assert unit.model is not None
    if unit.kind is Kind.LLLITE:
        node = graph.add("ACN_ControlNetLoaderAdvanced", cnet=unit.model.name)
        return node.out(ControlNet)
    loaded = graph.add("ControlNetLoader", control_net_name=unit.model.name).out(ControlNet)
    if unit.union_type is None:
        return loaded
    node = graph.add("SetUnionControlNetType", control_net=loaded, type=unit.union_type)
    return node.out(ControlNet)


def _block_weights(graph: Graph, unit: UnitPlan, weighting: Weighting) -> Node:
    """Advanced-ControlNet's node for a weight per block."""
    uncond = 0.0 if weighting.prompt_only else 1.0
    if unit.kind is Kind.T2I_ADAPTER:
        blocks = weighting.blocks or T2I_SOFT
        inputs: dict[str, Any] = {f"input_{i}": blocks[i] for i in range(len(T2I_SOFT))}
        return graph.add("ACN_CustomT2IAdapterWeights", **inputs, uncond_multiplier=uncond)
    if weighting.blocks is None:
        return graph.add(
            "ACN_ScaledSoftControlNetWeights", base_multiplier=SOFT_BASE, uncond_multiplier=uncond
        )
    *encoder, middle = weighting.blocks
    unused = [0.0] * (_SD1_ENCODER_BLOCKS - len(encoder))
    outputs: dict[str, Any] = {f"output_{i}": value for i, value in enumerate(encoder + unused)}
    return graph.add(
        "ACN_CustomControlNetWeightsSD15", **outputs, middle_0=middle, uncond_multiplier=uncond
    )


def _controlled(guided: Guided, node: Node) -> Guided:
    return replace(guided, positive=node.out(Conditioning), negative=node.out(Conditioning, 1))


def _title(unit: UnitPlan) -> str:
    return f"ControlNet unit {unit.unit.index}: {unit.module.name}"


def _identity(unit: UnitPlan, window: Window) -> str:
    """What tells an image prompt's patch from every other."""
    region = unit.unit.effective_region_mask
    return json.dumps(
        [
            unit.module.name,
            unit.model.name if unit.model else None,
            [item.image.name for item in unit.images],
            unit.processor_res,
            unit.unit.weight,
            unit.unit.advanced_weighting,
            [window.start, window.end],
            region.name if region else None,
        ]
    )
