"""Stage: the prompts of a pass as conditioning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from translator import prompt
from translator.comfy import nodes
from translator.comfy.graph import Clip, Conditioning, Graph
from translator.models.names import Checkpoint
from translator.plan.values import Encoding, SamplingPass
from translator.prompt import Emphasis, Part, Prompt
from translator.schedules.passes import Pass

_NO_SCORE = -1.0


def encode_exact(
    graph: Graph, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative conditioning by our node pack.

    Args:
        checkpoint: whose text encoder `clip` is: the pass' own or its refiner.
    """
    plan, encoding = sampling_pass.prompt, sampling_pass.encoding
    refines = checkpoint.architecture == "SDXL-refiner"
    scores = encoding.aesthetic_scores if refines else (_NO_SCORE, _NO_SCORE)
    settings = _encoder_settings(sampling_pass, checkpoint)
    positive = nodes.a1111_text_encode(
        graph,
        clip,
        _node_prompt(plan.positive, encoding),
        "Prompt",
        zero_empty=False,
        aesthetic_score=scores[0],
        **settings,
    )
    negative = nodes.a1111_text_encode(
        graph,
        clip,
        _node_prompt(plan.negative, encoding),
        "Negative prompt",
        zero_empty=plan.zero_negative,
        aesthetic_score=scores[1],
        **settings,
    )
    return positive, negative


def _node_prompt(parsed: Prompt, encoding: Encoding) -> dict[str, Any]:
    if encoding.old_emphasis:
        return prompt.node_input(parsed.parts, "None")
    return prompt.node_input(parsed.parts, encoding.emphasis)


def _encoder_settings(sampling_pass: SamplingPass, checkpoint: Checkpoint) -> dict[str, Any]:
    """Inputs that are the same for both prompts.

    SDXL is told a size only where it is not the latent's own, which ComfyUI tells it anyway: so
    both passes share one encoding.
    """
    encoding = sampling_pass.encoding
    width, height = encoding.size
    own = (width, height) == (sampling_pass.width, sampling_pass.height) and not any(encoding.crop)
    told = checkpoint.is_sdxl and not own
    return {
        "emphasis": encoding.emphasis,
        "comma_padding_backtrack": encoding.comma_padding_backtrack,
        "clip_skip": encoding.clip_skip,
        "width": width if told else 0,
        "height": height if told else 0,
        "crop_top": encoding.crop[0] if told else 0,
        "crop_left": encoding.crop[1] if told else 0,
        "sdxl_clip_l_skip": encoding.sdxl_clip_l_skip,
        "old_emphasis": encoding.old_emphasis,
    }


def encode_core(
    graph: Graph, sampling_pass: SamplingPass, clip: Clip, embeddings: Sequence[str]
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative conditioning by core nodes.

    Args:
        embeddings: stems of the embeddings that ComfyUI has.
    """
    plan = sampling_pass.prompt
    if sampling_pass.encoding.clip_skip > 1 and sampling_pass.checkpoint.architecture == "SD1":
        clip = nodes.clip_set_last_layer(graph, clip, -sampling_pass.encoding.clip_skip)
    positive = _parts(graph, sampling_pass, clip, plan.positive.parts, embeddings)
    negative = _parts(graph, sampling_pass, clip, plan.negative.parts, embeddings)
    if plan.zero_negative:
        negative = nodes.zero_out(graph, negative)
    return positive, negative


def core_cfg_scale(sampling_pass: SamplingPass, cfg_scale: float) -> float:
    """The scale that makes ComfyUI's average over AND parts A1111's weighted sum."""
    return cfg_scale * sum(part.weight for part in _averaged(sampling_pass.prompt.positive.parts))


def _averaged(parts: Sequence[Part]) -> Sequence[Part]:
    """The parts that ComfyUI averages: their weights must be positive, if there are any such."""
    return [part for part in parts if part.weight > 0] or parts


def _parts(
    graph: Graph,
    sampling_pass: SamplingPass,
    clip: Clip,
    parts: Sequence[Part],
    embeddings: Sequence[str],
) -> Conditioning:
    averaged = _averaged(parts)
    encoded = []
    for part in averaged:
        conditioning = _scheduled(graph, sampling_pass, clip, part, embeddings)
        if len(averaged) > 1:
            conditioning = nodes.set_strength(graph, conditioning, abs(part.weight))
        encoded.append(conditioning)
    return reduce(lambda first, second: nodes.combine(graph, first, second), encoded)


def _scheduled(
    graph: Graph, sampling_pass: SamplingPass, clip: Clip, part: Part, embeddings: Sequence[str]
) -> Conditioning:
    """The texts of a part, each over its range of the noise schedule."""
    ranged = []
    first_call = 0
    for entry in part.schedule:
        start, end = _range(sampling_pass.schedule, first_call, entry.end + 1)
        first_call = entry.end + 1
        if start < end:
            ranged.append((entry.text, start, end))
    if len(ranged) < 2:
        text = ranged[0][0] if ranged else part.schedule[-1].text
        return _text(graph, clip, text, sampling_pass.encoding, embeddings)
    encoded = [
        nodes.set_range(
            graph, _text(graph, clip, text, sampling_pass.encoding, embeddings), start, end
        )
        for text, start, end in ranged
    ]
    return reduce(lambda first, second: nodes.combine(graph, first, second), encoded)


def _range(schedule: Pass, first_call: int, next_call: int) -> tuple[float, float]:
    return schedule.percent_before_call(first_call), schedule.percent_before_call(next_call)


def _text(
    graph: Graph, clip: Clip, text: str, encoding: Encoding, embeddings: Sequence[str]
) -> Conditioning:
    emphasis: Emphasis = "None" if encoding.old_emphasis else encoding.emphasis
    pieces = prompt.encode_pieces(text, emphasis)
    if emphasis == "Ignore":
        pieces = tuple(piece if piece == prompt.BREAK else (piece[0], 1.0) for piece in pieces)
    chunks = [
        nodes.clip_text_encode(graph, clip, chunk)
        for chunk in prompt.comfy_texts(pieces, embeddings)
    ]
    return reduce(lambda first, second: nodes.concat(graph, first, second), chunks)
