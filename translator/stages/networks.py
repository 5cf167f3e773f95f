"""Stage: a pass' extra networks, on its model and text encoder or through its conditioning."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from translator.comfy import nodes
from translator.comfy.graph import Clip, Conditioning, Graph, Hooks, Model
from translator.plan.lora_steps import Frames, frames
from translator.plan.values import Network, SamplingPass
from translator.prompt.block_weights import BlockWeights

_ALWAYS: Frames = ((0.0, 1.0),)


def loaded(
    graph: Graph, model: Model, clip: Clip, network: Network, sampling_pass: SamplingPass
) -> tuple[Model, Clip]:
    """Model and text encoder with a LoRA.

    One whose strength changes from step to step acts only on the text encoder here: A1111 encodes
    the prompts before it, and `hooked` does the rest.
    """
    by_step = frames(network, sampling_pass.schedule)
    unet = network.unet * by_step[0][1] if len(by_step) == 1 else 0.0
    if network.blocks is None:
        return nodes.load_lora(graph, model, clip, network.file.name, unet, network.te)
    return nodes.a1111_lora_blocks(
        graph, model, clip, network.file.name, unet, network.te, _weights(network.blocks)
    )


def hooked(
    graph: Graph, sampling_pass: SamplingPass, positive: Conditioning, negative: Conditioning
) -> tuple[Conditioning, Conditioning]:
    """Conditioning that brings the LoRAs whose strength changes from step to step."""
    hooks: Hooks | None = None
    for network in sampling_pass.prompt.networks:
        by_step = frames(network, sampling_pass.schedule)
        if len(by_step) > 1:
            own = hook(graph, network, by_step)
            hooks = own if hooks is None else nodes.combine_hooks(graph, hooks, own)
    if hooks is None:
        return positive, negative
    return nodes.set_hooks(graph, positive, negative, hooks)


def hook(graph: Graph, network: Network, by_step: Frames) -> Hooks:
    """A LoRA that conditioning brings, with a factor from step to step."""
    name = network.file.name
    if network.blocks is None:
        own = nodes.lora_hook(graph, name, network.unet)
    else:
        own = nodes.a1111_lora_blocks_hook(graph, name, network.unet, _weights(network.blocks))
    return nodes.set_hook_keyframes(graph, own, by_step) if by_step != _ALWAYS else own


def _weights(blocks: BlockWeights) -> dict[str, Any]:
    """Factors as our nodes take them."""
    return asdict(blocks)
