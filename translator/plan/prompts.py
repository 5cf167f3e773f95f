"""The prompts of the passes: after styles and comments, parsed, with their networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from translator import prompt as prompts
from translator.models.names import Checkpoint, Models
from translator.options import Style
from translator.plan.networks import NetworkPlanner
from translator.plan.values import Encoding, PromptPlan
from translator.prompt import Emphasis, Prompt, PromptError
from translator.report import show
from translator.request.generation import Generation
from translator.request.styles import apply_styles
from translator.request.txt2img import Txt2Img
from translator.schedules.samplers import Sampler
from translator.scope import Scope

_PROMPTS = ("prompt", "negative_prompt")

_NO_STYLE = ("", "None")
"""Names in ``styles`` that stand for none."""

_TEMPLATE = re.compile(r"\{[^{}|]*+\|[^{}]*+\}|\b__[\w/*-]{1,80}?__\b")
"""What the extension Dynamic Prompts would replace: ``{a|b}``, ``__wildcard__``."""


@dataclass(frozen=True)
class Texts:
    """The prompts as A1111 keeps them: after styles and comments, network tags included."""

    positive: str
    negative: str


def settled_texts(
    positive: str, negative: str, names: Sequence[str] | None, scope: Scope
) -> tuple[str, str]:
    """Both prompts with styles merged in and comments taken out.

    Args:
        names: of styles; one that is not known counts as an empty one.
    """
    found = [scope.options.styles.get(name, Style()) for name in names or ()]
    positive = apply_styles(positive, [style.prompt for style in found])
    negative = apply_styles(negative, [style.negative_prompt for style in found])
    if scope.a1111_options.enable_prompt_comments:
        return prompts.strip_comments(positive), prompts.strip_comments(negative)
    return positive, negative


class PromptPlanner:
    """Plans the prompts of one request.

    Args:
        seed: of its first picture.
    """

    def __init__(self, request: Generation, models: Models, scope: Scope, seed: int) -> None:
        self._request = request
        self._a1111_options = scope.a1111_options
        self._networks = NetworkPlanner(models, scope, seed)
        self._options = scope.options
        self._report = scope.report
        self._scope = scope
        self._warn_of_unknown_styles()

    def first_pass(
        self, sampler: Sampler, checkpoint: Checkpoint, paths: tuple[str, str] = _PROMPTS
    ) -> PromptPlan:
        """The prompts of the first pass, laid out over its model calls.

        Args:
            paths: JSON paths of prompt and negative prompt.
        """
        request = self._request
        texts = self._texts(request.prompt, request.negative_prompt)
        return self._plan(texts, paths, checkpoint, sampler.total_steps(request.steps), None)

    def hires_pass(self, first: Sampler, hires: Sampler, checkpoint: Checkpoint) -> PromptPlan:
        """The prompts of the hires pass; its schedule goes on where the first pass' ended."""
        request = self._request
        assert isinstance(request, Txt2Img)
        texts = self._texts(request.prompt, request.negative_prompt)
        if not self._is_rewritten(texts):
            texts = self._texts(
                request.hr_prompt or request.prompt,
                request.hr_negative_prompt or request.negative_prompt,
            )
        elif request.hr_prompt or request.hr_negative_prompt:
            self._report.warn(
                "hr_prompt",
                "without effect, as in A1111: Regional Prompter gives both passes its own prompts",
            )
        calls = first.total_steps(request.steps)
        hires_calls = hires.total_steps(request.hr_second_pass_steps or request.steps)
        sent = self._sent(f"hr_{_PROMPTS[0]}"), self._sent(f"hr_{_PROMPTS[1]}")
        return self._plan(texts, sent, checkpoint, calls, hires_calls)

    def encoding(self, checkpoint: Checkpoint, size: tuple[int, int]) -> Encoding:
        """How conditioning is made from the prompts of a pass.

        Args:
            size: width and height that SDXL is told, in pixels.
        """
        a1111_options = self._a1111_options
        skips = checkpoint.family.heeds_clip_skip or a1111_options.sdxl_clip_l_skip
        return Encoding(
            emphasis=cast(Emphasis, a1111_options.emphasis),
            old_emphasis=a1111_options.use_old_emphasis_implementation,
            comma_padding_backtrack=a1111_options.comma_padding_backtrack,
            clip_skip=max(1, a1111_options.CLIP_stop_at_last_layers) if skips else 1,
            sdxl_clip_l_skip=a1111_options.sdxl_clip_l_skip,
            size=size,
            crop=(a1111_options.sdxl_crop_top, a1111_options.sdxl_crop_left),
            aesthetic_scores=(
                a1111_options.sdxl_refiner_high_aesthetic_score,
                a1111_options.sdxl_refiner_low_aesthetic_score,
            ),
            aesthetic_paths=(
                a1111_options.path_of("sdxl_refiner_high_aesthetic_score"),
                a1111_options.path_of("sdxl_refiner_low_aesthetic_score"),
            ),
        )

    def _texts(self, positive: str, negative: str) -> Texts:
        positive, negative = settled_texts(positive, negative, self._request.styles, self._scope)
        if not self._request.disable_extra_networks:
            positive += self._a1111_options.appended_networks(positive)
        return Texts(positive, negative)

    def _warn_of_unknown_styles(self) -> None:
        for index, name in enumerate(self._request.styles or ()):
            if name not in self._options.styles and name not in _NO_STYLE:
                hint = self._report.did_you_mean(name, self._options.styles)
                self._report.missing(
                    f"styles[{index}]",
                    f'there is no style "{name}"{hint} (styles come from A1111\'s styles.csv: name '
                    "one of GET sdapi/v1/prompt-styles, or write its text into the prompt)",
                    instead="it is left out, as A1111 does",
                    value=name,
                )

    def _plan(
        self,
        texts: Texts,
        paths: tuple[str, str],
        checkpoint: Checkpoint,
        steps: int,
        hires_steps: int | None,
    ) -> PromptPlan:
        path, negative_path = paths
        rewrite = self._scope.rewrite
        encoded = rewrite and rewrite(texts.positive, texts.negative)
        encoded = encoded or (texts.positive, texts.negative)
        positive = self._parsed(prompts.parse, encoded[0], path, steps, hires_steps)
        negative = self._parsed(
            prompts.parse_negative, encoded[1], negative_path, steps, hires_steps
        )
        empty = all(entry.text == "" for part in negative.parts for entry in part.schedule)
        return PromptPlan(
            text=texts.positive,
            negative_text=texts.negative,
            positive=positive,
            negative=negative,
            zero_negative=empty and checkpoint.family.zeroes_empty_negative,
            networks=self._networks.plan(
                positive,
                path,
                hires=hires_steps is not None,
                off=self._request.disable_extra_networks,
                calls=hires_steps or steps,
            ),
        )

    def _is_rewritten(self, texts: Texts) -> bool:
        rewrite = self._scope.rewrite
        return rewrite is not None and rewrite(texts.positive, texts.negative) is not None

    def _sent(self, field: str) -> str:
        """The field that a pass' prompt was sent in: an empty hires prompt is the first pass'."""
        return field if getattr(self._request, field, True) else field.removeprefix("hr_")

    def _parsed(
        self,
        parse: Callable[..., Prompt],
        text: str,
        path: str,
        steps: int,
        hires_steps: int | None,
    ) -> Prompt:
        """A prompt parsed, its weights looked at; one on which A1111 fails is refused."""
        template = _TEMPLATE.search(text)
        if template:
            self._report.warn(
                path,
                f"{show(template[0])} is text, as in A1111 without the extension Dynamic Prompts: "
                "nothing is drawn from it",
            )
        old = self._a1111_options.use_old_scheduling
        try:
            parsed = parse(text, steps, hires_steps=hires_steps, old_scheduling=old)
            for part in parsed.parts:
                for entry in part.schedule:
                    prompts.attention(entry.text)
        except PromptError as error:
            self._report.invalid(path, str(error), text)
            return Prompt(text, (), ())
        if parsed.ambiguous:
            self._report.warn(
                path,
                "A1111 itself reads an edit before a stray bracket or colon in one of two "
                "ways, by chance; here it is plain text",
            )
        return parsed
