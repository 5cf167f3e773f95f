"""Stage: loaders, extra networks and the patches of a pass' model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from translator.comfy import nodes
from translator.comfy.graph import Clip, Graph, Model, Vae
from translator.control.windows import calls_of
from translator.models.names import Checkpoint, ModelFile
from translator.plan.regions import RegionalPrompts
from translator.plan.values import Network, Plan, SamplingPass
from translator.stages import networks
from translator.stages.model_patches import Encode, Place, patched
from translator.stages.targets.base import Target


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in the graph, with the VAE that encodes and decodes for it."""

    model: Model
    clip: Clip
    vae: Vae


def load(graph: Graph, checkpoint: Checkpoint, vae: ModelFile | None) -> Loaded:
    """Loaders of a checkpoint and its VAE; equal ones are shared by all passes and batches."""
    model, clip, own_vae = nodes.load_checkpoint(graph, checkpoint.family.loader, checkpoint.name)
    return Loaded(model, clip, own_vae if vae is None else nodes.load_vae(graph, vae.name))


def for_pass(
    graph: Graph, sampling_pass: SamplingPass, target: Target, *, is_tiled: bool
) -> Loaded:
    """What a pass samples with, extra networks and tiling included."""
    loaded = load(graph, sampling_pass.checkpoint, sampling_pass.vae)
    if is_tiled:
        model, vae = target.tile(loaded.model, loaded.vae)
        loaded = replace(loaded, model=model, vae=vae)
    return _with_networks(graph, sampling_pass, target, loaded, sampling_pass.prompt.networks)


def decoder_after(graph: Graph, sampling_pass: SamplingPass, loaded: Loaded) -> Vae:
    """The VAE that decodes what a pass leaves: its refiner's, where that took over.

    Args:
        loaded: what the pass began with.
    """
    if sampling_pass.left_loaded == sampling_pass.checkpoint:
        return loaded.vae
    return load(graph, sampling_pass.left_loaded, sampling_pass.left_vae).vae


def for_refiner(graph: Graph, sampling_pass: SamplingPass, target: Target) -> Loaded:
    """What takes over in a pass: the refiner, with the pass' extra networks and without tiling.

    A refiner of another configuration goes without: to build its model A1111 encodes an empty
    prompt, which turns every network off.
    """
    assert sampling_pass.refiner is not None
    refiner = sampling_pass.refiner.checkpoint
    loaded = load(graph, refiner, sampling_pass.vae)
    off = refiner.is_built_anew_after(sampling_pass.checkpoint)
    kept = () if off else sampling_pass.prompt.networks
    return _with_networks(graph, sampling_pass, target, loaded, kept)


def _with_networks(
    graph: Graph,
    sampling_pass: SamplingPass,
    target: Target,
    loaded: Loaded,
    extra: Sequence[Network],
) -> Loaded:
    regions = sampling_pass.regions
    apart = isinstance(regions, RegionalPrompts) and regions.separates_loras
    for network in extra:
        if apart and network.kind == "lora":
            continue
        if network.kind == "hypernet":
            model = target.load_hypernetwork(loaded.model, network.file.name, network.unet)
            loaded = replace(loaded, model=model)
            continue
        model, clip = networks.loaded(graph, loaded.model, loaded.clip, network, sampling_pass)
        loaded = replace(loaded, model=model, clip=clip)
    return loaded


def for_sampling(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    model: Model,
    target: Target,
    encode: Encode,
    *,
    merges_tokens: bool,
) -> Model:
    """The model with the patches that belong to sampling itself.

    Args:
        encode: prompts by the pass' text encoder.
    """
    if merges_tokens:
        model = target.merge_tokens(model, sampling_pass.token_merging_ratio)
    model = patched(graph, model, plan.model_patches, _place(plan, sampling_pass, encode))
    return target.set_model_sampling(plan, sampling_pass, model)


def _place(plan: Plan, sampling_pass: SamplingPass, encode: Encode) -> Place:
    """Where a pass stands among the plan's; one that is not of them is the first."""
    before = list(takewhile(lambda item: item is not sampling_pass, plan.passes))
    earlier = before if len(before) < len(plan.passes) else []
    calls = sum(len(calls_of(item.schedule)) or len(item.schedule.sigmas) - 1 for item in earlier)
    return Place(sampling_pass.role, sampling_pass.schedule.planned_steps, calls, encode)
