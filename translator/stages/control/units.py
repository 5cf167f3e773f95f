"""Stage: the ControlNet units of a pass, what they do to the result, and the detected maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from translator.comfy import nodes
from translator.comfy.graph import (
    Conditioning,
    ControlNet,
    Graph,
    Image,
    Latent,
    Mask,
    Model,
    Vae,
)
from translator.comfy.nodes.advanced_controlnet import ControlNetWeights
from translator.comfy.nodes.instantid import FaceEmbeds
from translator.control.models import Kind
from translator.control.node_classes import BOUND_BY_OURS
from translator.control.plan import ControlPlan, FeatureSource, UnitPlan
from translator.control.sizes import RESOLUTION_UNSEEN
from translator.control.units import UnitImage
from translator.control.weights import SOFT_BASE, T2I_SOFT, Weighting
from translator.control.windows import ALWAYS, Window
from translator.result import Output
from translator.stages.control import instantid, ip_adapter, preprocess, pulid, text_control
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


@dataclass(frozen=True)
class GeneratorSeeds:
    """Seeds of torch's global generator in A1111 when sampling begins; -1 where it has none.

    Attributes:
        first_batch: in the first batch of the request.
        batch: in this one.
        is_first: whether this is the first one.
    """

    first_batch: int
    batch: int
    is_first: bool


def apply(
    graph: Graph,
    plan: ControlPlan,
    pass_index: int,
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
    seeds: GeneratorSeeds,
) -> tuple[Model, Conditioning, Conditioning]:
    """Add every unit that acts in a pass, in order; their effects add up.

    Args:
        pass_index: 0 for the first pass, 1 for hires fix's.
        model, positive, negative: what the pass would sample with otherwise.
        vae: the pass's, for units that work on a latent of their image.
        seeds: of what A1111 draws for a picture in the self-attention.
    """
    stage = _Stage(ControlPass(graph, plan, pass_index, vae), seeds)
    guided = stage.add_units(Guided(model, positive, negative))
    return guided.model, guided.positive, guided.negative


def finish(graph: Graph, plan: ControlPlan, image: Image) -> Image:
    """What units do to the decoded result, before faces are restored: recolor, inpaint_only."""
    for unit in plan.units:
        size = plan.passes[-1].size
        if unit.module.role == "recolor":
            control_map = preprocess.control_map(graph, plan, unit, size)
            channel = unit.module.name.removeprefix("recolor_")
            image = nodes.a1111_control_net_recolor(graph, image, control_map, channel)
        elif unit.module.keeps_source:
            source, mask = preprocess.inpaint_parts(graph, plan, unit, size)
            image = nodes.a1111_control_net_paste(graph, image, source, mask, plan.paste_blur)
    return image


def under_noise(
    graph: Graph, plan: ControlPlan, pass_index: int, vae: Vae, *, is_mixed: bool
) -> Latent | None:
    """What A1111 mixes into all noise of the first pass: the picture that LaMa filled in, or None.

    Of several such units the last one counts.

    Args:
        is_mixed: whether it does so in this batch.
    """
    filled = [unit for unit in plan.units if unit.fills_mask]
    if pass_index or not filled or not is_mixed:
        return None
    picture, _ = preprocess.inpaint_parts(graph, plan, filled[-1], plan.passes[0].size)
    return nodes.vae_encode(graph, picture, vae)


class _Stage:
    """One pass; remembers what one unit leaves for the next."""

    def __init__(self, at: ControlPass, seeds: GeneratorSeeds) -> None:
        self._at = at
        self._seeds = seeds
        self._graph = at.graph
        self._tokens: dict[int, FaceEmbeds] = {}
        self._image_prompts = 0
        self._revisions = 0

    def add_units(self, guided: Guided) -> Guided:
        for unit in self._at.plan.units:
            guided = self._guard_source(unit, guided)
            window = self._at.of(unit).window
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
            positive, negative = text_control.style(
                self._at, unit, window, guided.positive, guided.negative
            )
            return replace(guided, positive=positive, negative=negative)
        if role == "revision":
            return self._revision(unit, window, guided)
        if role == "reference":
            return self._reference(unit, window, guided)
        if unit.kind is Kind.INSTANT_ID:
            return self._instant_id(unit, window, guided)
        if unit.kind is Kind.LLLITE and self._at.plan.exact:
            return replace(guided, model=self._lllite(unit, window, guided.model))
        return self._control_net(unit, window, guided)

    def _image_prompt(self, unit: UnitPlan, window: Window, model: Model) -> Model:
        """An image prompt; before every one but the first the attention patches are copied."""
        if self._image_prompts:
            model = self._own_attention(model, _identity(unit, window))
        self._image_prompts += 1
        patched, tokens = self._patched(unit, window, model)
        if tokens is not None:
            self._tokens[unit.unit.index] = tokens
        return patched

    def _patched(
        self, unit: UnitPlan, window: Window, model: Model
    ) -> tuple[Model, FaceEmbeds | None]:
        """A model with an image prompt, and the tokens of InstantID's.

        Our node takes the mean of several pictures' tokens; the packs know the mean of what they
        make tokens of.
        """
        together = 1 if self._at.plan.exact else len(unit.images)
        patched, tokens = self._patch(unit, window, model, unit.images[:together])
        for count, item in enumerate(unit.images[together:], start=1):
            own = self._own_attention(model, f"{_identity(unit, window)} {count}")
            other, other_tokens = self._patch(unit, window, own, (item,))
            patched, tokens = nodes.a1111_average_image_prompts(
                self._graph, patched, other, count, tokens, other_tokens
            )
        return patched, tokens

    def _patch(
        self, unit: UnitPlan, window: Window, model: Model, items: Sequence[UnitImage]
    ) -> tuple[Model, FaceEmbeds | None]:
        if unit.module.role == "instant_id_embedding":
            return instantid.patch(self._at, unit, window, model, items)
        if unit.module.role == "pulid":
            return pulid.patch(self._at, unit, window, model, items), None
        return ip_adapter.patch(self._at, unit, window, model, items), None

    def _own_attention(self, model: Model, owner: str) -> Model:
        if not self._at.plan.exact:
            return model
        return nodes.a1111_control_net_attention(self._graph, model, owner)

    def _has_ip_adapter(self) -> bool:
        """Whether a pack took part whose attention, its middle block's at least, is put right."""
        return any(
            unit.module.role in ("ip_adapter", "face_id", "pulid") and self._at.of(unit).window
            for unit in self._at.plan.units
        )

    def _revision(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        positive, negative = text_control.revision(
            self._at,
            unit,
            window,
            guided.positive,
            guided.negative,
            seed=self._seeds.first_batch,
            before=self._revisions,
        )
        self._revisions += 1
        return replace(guided, positive=positive, negative=negative)

    def _reference(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        """A reference picture in the self-attention."""
        if self._at.plan.exact:
            return replace(guided, model=self._own_reference(unit, window, guided.model))
        size = self._at.shared.size
        kind = self._at.plan.family.empty_latent
        latent = nodes.empty_latent(self._graph, kind, size.width, size.height, 1)
        reference = nodes.acn_reference_preprocessor(
            self._graph, self._map(unit), self._at.vae, latent
        )
        control_net = nodes.acn_reference_control_net(
            self._graph,
            _REFERENCE_TYPES[unit.module.name],
            self._at.of(unit).style_fidelity,
            min(unit.unit.weight, 1.0),
        )
        positive, negative = nodes.acn_apply(
            self._graph,
            title=_title(unit),
            positive=guided.positive,
            negative=guided.negative,
            control_net=control_net,
            image=reference,
            strength=1.0,
            start=window.start,
            end=window.end,
            vae=self._at.vae,
        )
        return replace(guided, positive=positive, negative=negative)

    def _own_reference(self, unit: UnitPlan, window: Window, model: Model) -> Model:
        """A reference picture with the noise that A1111 draws.

        The pictures are encoded when the first batch is sampled, from the same generator, and kept.
        """
        seeds, shared = self._seeds, self._at.shared
        return nodes.a1111_control_net_reference(
            self._graph,
            title=_title(unit),
            model=model,
            source=nodes.a1111_vae_encode(
                self._graph, self._map(unit), self._at.vae, seeds.first_batch
            ),
            module=unit.module.name,
            weight=unit.unit.weight,
            style_fidelity=self._at.of(unit).style_fidelity,
            start=window.start,
            end=window.end,
            seed=seeds.batch,
            drawn=shared.drawn if seeds.is_first else 0,
            tells_negative=shared.tells_negative,
        )

    def _instant_id(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        assert unit.partner is not None
        weighting = self._at.of(unit).weighting
        partner = self._at.plan.by_index(unit.partner)
        tokens = self._tokens.get(unit.partner) or self._face_tokens(partner, guided.model)
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

    def _face_tokens(self, unit: UnitPlan, model: Model) -> FaceEmbeds:
        """A face's tokens alone, which are the same whatever the unit's weight and range."""
        window = self._at.of(unit).window or ALWAYS
        if self._image_prompts:
            model = self._own_attention(model, f"{_identity(unit, window)} tokens")
        tokens = self._patched(unit, window, model)[1]
        assert tokens is not None
        return tokens

    def _with_own_weights(self, unit: UnitPlan, weighting: Weighting) -> ControlNet:
        """A ControlNet that carries weights and region itself, for nodes that take none."""
        assert unit.model is not None
        if self._bounds_by_ours(unit):
            return self._in_region(unit, weighting)
        region = unit.unit.effective_region_mask
        if weighting.is_plain and region is None:
            return _load(self._graph, unit)
        weights = None if weighting.is_plain else self._block_weights(unit, weighting)
        mask = preprocess.load_mask(self._graph, self._at.plan, region) if region else None
        keyframe = nodes.acn_timestep_keyframe(self._graph, weights, mask)
        return nodes.acn_load_control_net(self._graph, unit.model.name, keyframe)

    def _lllite(self, unit: UnitPlan, window: Window, model: Model) -> Model:
        return nodes.a1111_control_lllite(
            self._graph,
            title=_title(unit),
            model=model,
            control_net=_load(self._graph, unit),
            image=self._hint(unit),
            strength=unit.unit.weight,
            start=window.start,
            end=window.end,
        )

    def _control_net(self, unit: UnitPlan, window: Window, guided: Guided) -> Guided:
        """A ControlNet, T2I-Adapter or ControlLLLite unit."""
        weighting = self._at.of(unit).weighting
        region = unit.unit.effective_region_mask
        inputs: dict[str, Any] = {
            "positive": guided.positive,
            "negative": guided.negative,
            "control_net": self._loaded(unit),
            "image": self._hint(unit),
            "strength": weighting.strength,
            "start": window.start,
            "end": window.end,
        }
        if self._bounds_by_ours(unit):
            inputs["control_net"] = self._in_region(unit, weighting)
            positive, negative = nodes.control_net_apply(self._graph, title=_title(unit), **inputs)
            if weighting.prompt_only:
                return replace(guided, positive=positive)
            return replace(guided, positive=positive, negative=negative)
        if unit.kind is Kind.LLLITE or region or not weighting.is_plain:
            mask = preprocess.load_mask(self._graph, self._at.plan, region) if region else None
            weights = None if weighting.is_plain else self._block_weights(unit, weighting)
            positive, negative = nodes.acn_apply(
                self._graph, title=_title(unit), **inputs, mask=mask, weights=weights
            )
        else:
            positive, negative = nodes.control_net_apply(self._graph, title=_title(unit), **inputs)
        if weighting.is_plain and weighting.prompt_only:
            return replace(guided, positive=positive)
        return replace(guided, positive=positive, negative=negative)

    def _loaded(self, unit: UnitPlan) -> ControlNet:
        """A unit's model; a T2I-Adapter's features as A1111 keeps and stretches them."""
        loaded = _load(self._graph, unit)
        if unit.pools is not None and self._at.plan.exact:
            return nodes.a1111_pooled_control_net(self._graph, loaded, unit.pools)
        source = self._at.of(unit).features
        if source is None or not self._at.plan.exact:
            return loaded
        plan = self._at.plan
        own = source == FeatureSource(unit.unit.index, self._at.index)
        picture = None
        if not own:
            size = plan.passes[source.index].size
            picture = preprocess.control_map(self._graph, plan, plan.by_index(source.unit), size)
        return nodes.a1111_adapter_features(self._graph, loaded, picture)

    def _bounds_by_ours(self, unit: UnitPlan) -> bool:
        """Whether our node keeps a unit in its region."""
        asked = unit.unit.effective_region_mask is not None
        return asked and self._at.plan.exact and unit.kind in BOUND_BY_OURS

    def _in_region(self, unit: UnitPlan, weighting: Weighting) -> ControlNet:
        """A ControlNet that carries a unit's region, and its weights where each has one."""
        region = unit.unit.effective_region_mask
        assert region is not None
        mask = preprocess.load_mask(self._graph, self._at.plan, region)
        weights = weighting.each(self._at.plan.family.control_blocks)
        return nodes.a1111_control_net_region(self._graph, self._loaded(unit), mask, weights)

    def _block_weights(self, unit: UnitPlan, weighting: Weighting) -> ControlNetWeights:
        """Advanced-ControlNet's node for a weight per block."""
        uncond = 0.0 if weighting.prompt_only else 1.0
        if unit.kind is Kind.T2I_ADAPTER:
            features = (weighting.blocks or T2I_SOFT)[: len(T2I_SOFT)]
            return nodes.acn_t2i_adapter_weights(
                self._graph, features, uncond, in_middle=self._at.plan.adapter_in_middle
            )
        if weighting.blocks is None:
            return nodes.acn_soft_weights(self._graph, SOFT_BASE, uncond)
        *encoder, middle = weighting.blocks
        unused = [0.0] * (_SD1_ENCODER_BLOCKS - len(encoder))
        return nodes.acn_control_net_weights(self._graph, encoder + unused, middle, uncond)

    def _map(self, unit: UnitPlan) -> Image:
        return preprocess.control_map(self._graph, self._at.plan, unit, self._at.shared.size)

    def _inpaint_parts(self, unit: UnitPlan) -> tuple[Image, Mask]:
        return preprocess.inpaint_parts(self._graph, self._at.plan, unit, self._at.shared.size)

    def _hint(self, unit: UnitPlan) -> Image:
        """What the ControlNet sees: the map; of an inpaint unit with -1 where it is masked."""
        if unit.module.role != "inpaint":
            return self._map(unit)
        picture, mask = self._inpaint_parts(unit)
        return nodes.inpaint_preprocessor(self._graph, picture, mask)

    def _guard_source(self, unit: UnitPlan, guided: Guided) -> Guided:
        """What inpaint_only and colorfix do at every call, whatever the unit's range."""
        if unit.module.role == "colorfix" and self._at.plan.exact:
            return replace(guided, model=self._color_fix(unit, guided.model))
        if unit.module.keeps_source:
            return replace(guided, model=self._inpaint_only(unit, guided.model))
        return guided

    def _color_fix(self, unit: UnitPlan, model: Model) -> Model:
        radius = int(unit.unit.threshold_a)
        if self._at.shared.is_hires and unit.unit.hr_option != "Low res only":
            radius *= 2
        sharpens = unit.module.name.endswith("+sharp") and self._at.shared.tells_negative
        return nodes.a1111_control_net_color_fix(
            self._graph,
            title=_title(unit),
            model=model,
            source=self._encoded(self._map(unit)),
            radius=radius,
            sharpness=float(unit.unit.threshold_b) if sharpens else 0.0,
            weight=min(unit.unit.weight, 1.0),
        )

    def _inpaint_only(self, unit: UnitPlan, model: Model) -> Model:
        picture, mask = self._inpaint_parts(unit)
        return nodes.a1111_control_net_inpaint_only(
            self._graph,
            title=_title(unit),
            model=model,
            source=self._encoded(picture),
            mask=mask,
            weight=min(unit.unit.weight, 1.0),
        )

    def _encoded(self, picture: Image) -> Latent:
        return nodes.vae_encode(self._graph, picture, self._at.vae)


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
    if unit.module.role == "pulid" and plan.exact:
        pictures = (preprocess.input_image(graph, plan, unit, item) for item in unit.images)
        faces = (nodes.a1111_control_net_facexlib(graph, it, RESOLUTION_UNSEEN) for it in pictures)
        title = f"Aligned face of unit {index}"
        return [Output("detected_map", save_image(face, title), unit=index) for face in faces]
    if not unit.module.returns_image:
        return [_shown_image(graph, plan, unit, item, save_image) for item in unit.images]
    sizes = [item.size for item in reversed(plan.passes)]
    title = f"Detected map of unit {index}"
    return [
        Output(
            "detected_map",
            save_image(preprocess.shown_map(graph, plan, unit, size), title),
            unit=index,
        )
        for size in (sizes if plan.all_maps else sizes[:1])
    ]


def _shown_image(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, item: UnitImage, save_image: SaveImage
) -> Output:
    """An image of a unit without a map, as its module took it."""
    index = unit.unit.index
    taken = preprocess.taken_image(graph, plan, unit, item)
    if taken is None:
        return Output("detected_map", upload=item.image.name, unit=index)
    return Output("detected_map", save_image(taken, f"Image of unit {index}"), unit=index)


def _load(graph: Graph, unit: UnitPlan) -> ControlNet:
    """A unit's ControlNet, T2I-Adapter or control-LoRA, with its task if it is a union model."""
    assert unit.model is not None
    if unit.kind is Kind.LLLITE:
        return nodes.acn_load_control_net(graph, unit.model.name)
    loaded = nodes.load_control_net(graph, unit.model.name)
    if unit.union_type is None:
        return loaded
    return nodes.set_union_control_net_type(graph, loaded, unit.union_type)


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
