"""Exact: prompts by our node pack's text encoder."""

from __future__ import annotations

from typing import Any

from translator import prompt
from translator.comfy import nodes
from translator.comfy.graph import Clip, Conditioning, Graph
from translator.models.names import Checkpoint
from translator.plan.values import Encoding, SamplingPass
from translator.prompt import Prompt

_NO_SCORE = -1.0


class Prompts:
    """Spells prompts with A1111TextEncode."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def positive(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> Conditioning:
        """The positive prompt alone."""
        plan = sampling_pass.prompt
        return self._encoded(plan.positive, "Prompt", 0, False, sampling_pass, checkpoint, clip)

    def negative(
        self, sampling_pass: SamplingPass, checkpoint: Checkpoint, clip: Clip
    ) -> Conditioning:
        """The negative prompt alone."""
        plan, title = sampling_pass.prompt, "Negative prompt"
        zero = plan.zero_negative
        return self._encoded(plan.negative, title, 1, zero, sampling_pass, checkpoint, clip)

    def _encoded(
        self,
        parsed: Prompt,
        title: str,
        side: int,
        zero_empty: bool,
        sampling_pass: SamplingPass,
        checkpoint: Checkpoint,
        clip: Clip,
    ) -> Conditioning:
        """A prompt encoded; `side` is 0 for the positive and 1 for the negative one."""
        encoding = sampling_pass.encoding
        refines = checkpoint.family.size_conditioning == "score"
        with self._graph.numbers_from({"aesthetic_score": encoding.aesthetic_paths[side]}):
            return nodes.a1111_text_encode(
                self._graph,
                clip,
                _node_prompt(parsed, encoding),
                title,
                zero_empty=zero_empty,
                aesthetic_score=encoding.aesthetic_scores[side] if refines else _NO_SCORE,
                **_encoder_settings(sampling_pass, checkpoint),
            )

    def empty(self, sampling_pass: SamplingPass) -> Conditioning:
        """The empty prompt as A1111 encodes it when it loads a checkpoint, without networks."""
        checkpoint = sampling_pass.checkpoint
        _, clip, _ = nodes.load_checkpoint(self._graph, checkpoint.family.loader, checkpoint.name)
        settings = {**_encoder_settings(sampling_pass, sampling_pass.checkpoint), "clip_skip": 1}
        empty = prompt.node_input(prompt.parse("", 1).parts, "None")
        return nodes.a1111_text_encode(
            self._graph,
            clip,
            empty,
            "Empty prompt",
            zero_empty=False,
            aesthetic_score=_NO_SCORE,
            **settings,
        )


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
    own = encoding.size == sampling_pass.size and not any(encoding.crop)
    told = checkpoint.family.takes_size and not own
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
