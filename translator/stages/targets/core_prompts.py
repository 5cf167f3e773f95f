"""Core: prompts by CLIPTextEncode, and what they come to otherwise than in A1111."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

from translator import prompt
from translator.comfy import nodes
from translator.comfy.graph import Clip, Conditioning, Graph
from translator.plan.values import Encoding, SamplingPass
from translator.prompt import Emphasis, Part
from translator.schedules.passes import Pass

_USUAL_SCORES = (6.0, 2.5)
"""The refiner's aesthetic scores of both prompts, where ComfyUI is told none."""


class Prompts:
    """Spells prompts with CLIPTextEncode."""

    def __init__(self, graph: Graph, embeddings: Sequence[str]) -> None:
        self._graph = graph
        self._embeddings = prompt.EmbeddingNames(embeddings)

    def encode(self, sampling_pass: SamplingPass, clip: Clip) -> tuple[Conditioning, Conditioning]:
        """Positive and negative conditioning."""
        plan = sampling_pass.prompt
        if sampling_pass.encoding.clip_skip > 1 and sampling_pass.checkpoint.family.heeds_clip_skip:
            clip = nodes.clip_set_last_layer(self._graph, clip, -sampling_pass.encoding.clip_skip)
        positive = self._parts(sampling_pass, clip, plan.positive.parts)
        negative = self._parts(sampling_pass, clip, plan.negative.parts)
        if plan.zero_negative:
            negative = nodes.zero_out(self._graph, negative)
        return positive, negative

    def _parts(
        self, sampling_pass: SamplingPass, clip: Clip, parts: Sequence[Part]
    ) -> Conditioning:
        averaged = averaged_parts(parts)
        encoded = []
        for part in averaged:
            conditioning = self._scheduled(sampling_pass, clip, part)
            if len(averaged) > 1:
                conditioning = nodes.set_strength(self._graph, conditioning, abs(part.weight))
            encoded.append(conditioning)
        return reduce(self._combined, encoded)

    def _scheduled(self, sampling_pass: SamplingPass, clip: Clip, part: Part) -> Conditioning:
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
            return self._text(clip, text, sampling_pass.encoding)
        encoded = [
            nodes.set_range(self._graph, self._text(clip, text, sampling_pass.encoding), start, end)
            for text, start, end in ranged
        ]
        return reduce(self._combined, encoded)

    def _combined(self, first: Conditioning, second: Conditioning) -> Conditioning:
        return nodes.combine(self._graph, first, second)

    def _text(self, clip: Clip, text: str, encoding: Encoding) -> Conditioning:
        emphasis: Emphasis = "None" if encoding.old_emphasis else encoding.emphasis
        pieces = prompt.encode_pieces(text, emphasis)
        if emphasis == "Ignore":
            pieces = tuple(piece if piece == prompt.BREAK else (piece[0], 1.0) for piece in pieces)
        chunks = [
            nodes.clip_text_encode(self._graph, clip, chunk)
            for chunk in prompt.comfy_texts(pieces, self._embeddings)
        ]
        return reduce(lambda first, second: nodes.concat(self._graph, first, second), chunks)


def _range(schedule: Pass, first_call: int, next_call: int) -> tuple[float, float]:
    return schedule.percent_before_call(first_call), schedule.percent_before_call(next_call)


def averaged_parts(parts: Sequence[Part]) -> Sequence[Part]:
    """The parts that ComfyUI averages: their weights must be positive, if there are any such."""
    return [part for part in parts if part.weight > 0] or parts


def prompt_differences(sampling_pass: SamplingPass) -> Iterator[str]:
    """What comes of a pass' prompts otherwise than in A1111, a sentence each."""
    plan = sampling_pass.prompt
    texts = [
        entry.text
        for parsed in (plan.positive, plan.negative)
        for part in parsed.parts
        for entry in part.schedule
    ]
    if (
        any("(" in text or "[" in text for text in texts)
        and sampling_pass.encoding.emphasis != "Ignore"
    ):
        yield "prompt weights act by another formula: visibly so for large weights"
    if any(len(part.schedule) > 1 for part in (*plan.positive.parts, *plan.negative.parts)):
        yield "prompt editing switches between steps, not between model calls"
    if any(part.weight <= 0 for part in plan.positive.parts):
        yield "AND parts with weights of 0 and below are left out"
    if sampling_pass.checkpoint.family.takes_size:
        yield from _sdxl_differences(sampling_pass)


def _sdxl_differences(sampling_pass: SamplingPass) -> Iterator[str]:
    encoding = sampling_pass.encoding
    if encoding.sdxl_clip_l_skip:
        yield "sdxl_clip_l_skip is not used"
    if any(encoding.crop):
        yield "sdxl_crop_top and sdxl_crop_left are not used"
    if encoding.size != sampling_pass.size:
        told, own = (f"{w}x{h}" for w, h in (encoding.size, sampling_pass.size))
        yield f"SDXL is told the picture's own size {own}, A1111 tells it {told}"
    if sampling_pass.refiner is not None and encoding.aesthetic_scores != _USUAL_SCORES:
        yield "the refiner's aesthetic scores are ComfyUI's, 6.0 and 2.5"
