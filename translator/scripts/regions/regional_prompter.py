"""The always-on script Regional Prompter: its arguments, and what they make of a pass.

Source: sd-webui-regional-prompter ``scripts/rp.py``, restated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from translator import prompt as prompts
from translator.plan.regions import Calculation, Division, RegionalPrompts, RegionLora
from translator.plan.values import SamplingPass
from translator.report import show
from translator.request.images import ImageReader, ImageUpload
from translator.scope import Scope
from translator.scripts.arguments import Arguments, has_own_node
from translator.scripts.regions.ratios import (
    MOST_REGIONS,
    Order,
    RegionError,
    base_shares,
    lay_out,
)
from translator.scripts.regions.texts import CutTexts, TextRules, cut, divides, is_too_long

NODE = "A1111RegionalPrompter"

_USUAL: Sequence[Any] = (
    *(False, False, "Matrix", "Columns", "Mask", "Prompt", "1,1", "0.2", False, False, False),
    *("Attention", [], "0", "0", "0.4", None, "0", "0", False),
)
"""The page's values."""

_ENTRIES = (
    "RP Active",
    "",
    *("RP Divide mode", "RP Matrix submode", "RP Mask submode", "RP Prompt submode"),
    *("RP Ratios", "RP Base Ratios", "RP Use Base", "RP Use Common", "RP Use Ncommon"),
    *("RP Calc Mode", "RP Options", "RP LoRA Neg Te Ratios", "RP LoRA Neg U Ratios"),
    *("RP threshold", "", "RP LoRA Stop Step", "RP LoRA Hires Stop Step", "RP Flip"),
)
"""What the infotext calls each argument."""

_ORDER = (
    *("RP Active", "RP Divide mode", "RP Matrix submode", "RP Mask submode"),
    *("RP Prompt submode", "RP Calc Mode", "RP Ratios", "RP Base Ratios", "RP Use Base"),
    *("RP Use Common", "RP Use Ncommon", "RP Options", "RP LoRA Neg Te Ratios"),
    *("RP LoRA Neg U Ratios", "RP threshold", "RP LoRA Stop Step", "RP LoRA Hires Stop Step"),
    "RP Flip",
)
"""The infotext's order."""

_KEEPS_AND = "disable convert 'AND' to 'BREAK'"
_KEEPS_BREAK = "Use BREAK to change chunks"
_FLIPS = "Flip prompts"
_COMMENTS = "Comment Out `#`"
_ONLY_HIRES, _NOT_HIRES = "Enabled only in Hires Fix", "Disabled in Hires Fix"
_OPTIONS = (
    *(_KEEPS_AND, "Use LoHa or other", _KEEPS_BREAK, _FLIPS, _COMMENTS, _ONLY_HIRES, _NOT_HIRES),
    *("debug", "debug2"),
)

_MATRIX: Mapping[Any, bool] = {
    "Columns": False,
    "Horizontal": False,
    "Rows": True,
    "Vertical": True,
}
"""Main splitting -> whether the picture is cut into columns first."""

_CALCULATIONS = ("Attention", "Latent")
_OPTION_NAMES, _MASK_PICTURE = 12, 16
"""Positions of its options, and of the mask's picture."""

_MOST_DIGITS = 9
"""Of a step."""

_SWAPPED_SAMPLERS = ("DDIM", "PLMS", "UniPC")


@dataclass(frozen=True)
class LoraRules:
    """How LoRAs act in Latent mode.

    Attributes:
        negative_te, negative_unet: factors in the negative prompt, by the LoRAs' order.
        stop, hires_stop: the step that they end before; None never.
    """

    negative_te: tuple[float, ...]
    negative_unet: tuple[float, ...]
    stop: int | None
    hires_stop: int | None


@dataclass(frozen=True)
class RegionalPrompter:
    """What Regional Prompter is asked for.

    Attributes:
        path: of its arguments.
        rules: how prompts are cut.
        order: of a matrix; None for a mask.
        ratios, base_ratios: as they were sent, flipped where that is asked for.
        mask: the picture of the regions' colours.
        only_hires, not_hires: passes in which it does nothing.
        loras: see `LoraRules`.
        entries: its infotext.
    """

    path: str
    rules: TextRules
    order: Order | None
    ratios: str
    base_ratios: str
    mask: ImageUpload | None
    only_hires: bool
    not_hires: bool
    loras: LoraRules
    entries: Mapping[str, Any]

    def rewritten(self, prompt: str, negative: str) -> tuple[str, str] | None:
        """What A1111 encodes in place of both prompts.

        None where it does nothing, or where `regions` refuses the prompts.
        """
        if not divides(prompt) or is_too_long(prompt, negative):
            return None
        texts = self._cut(prompt, negative)
        return texts.positive, texts.negative

    def regions(self, item: SamplingPass) -> RegionalPrompts | None:
        """The regions of a pass.

        Raises:
            RegionError: the extension itself would fail.
            PromptError: a text that cannot be read.
        """
        if not divides(item.prompt.text):
            return None
        if is_too_long(item.prompt.text, item.prompt.negative_text):
            raise RegionError(f"it has more than {MOST_REGIONS} regions")
        texts = self._cut(item.prompt.text, item.prompt.negative_text)
        if texts.by_prompt:
            raise RegionError("ADDP asks for regions by prompt, which are not done")
        made = self._divided(texts)
        off = self.not_hires if item.role == "hires" else self.only_hires
        made = replace(made, division="whole") if off else made
        if made.calculation == "Latent":
            _check_parts(len(item.prompt.positive.parts), len(texts.texts))
            stop = self.loras.hires_stop if item.role == "hires" else self.loras.stop
            return replace(made, **self._loras(texts.texts), lora_stop=stop)
        if len(item.prompt.positive.parts) > 1:
            raise RegionError("an option keeps AND in it; regions in attention need BREAK alone")
        calls = item.sampler.sampler.total_steps(item.steps)
        return replace(
            made,
            texts=tuple(_first(text, calls) for text in texts.texts),
            negative_texts=tuple(prompts.split_networks(text)[0] for text in texts.negative_texts),
            swaps=item.sampler.sampler.name in _SWAPPED_SAMPLERS,
        )

    def _cut(self, prompt: str, negative: str) -> CutTexts:
        return cut(prompt, negative, self.rules, self.ratios, self.order)

    def _loras(self, texts: Sequence[str]) -> dict[str, Any]:
        """The LoRAs of each text and of the negative prompt.

        A1111 loads a LoRA once for each of its tags, and the extension sets them all to what the
        text says. In the negative prompt they have a factor, by the order of their first tags.
        """
        named = [list(_loras_of(text)) for text in texts]
        tags = [tag for own in named for tag in own]
        times = Counter(name for name, _ in tags)
        found = tuple(
            tuple(
                RegionLora(name, value * times[name], value * times[name])
                for name, value in dict(own).items()
            )
            for own in named
        )
        negative = []
        for place, (name, value) in enumerate(dict(tags).items()):
            te, unet = (
                value * times[name] * factors[min(place, len(factors) - 1)]
                for factors in (self.loras.negative_te, self.loras.negative_unet)
            )
            negative.append(RegionLora(name, te, unet))
        return {"loras": found, "negative_loras": tuple(negative)}

    def _divided(self, texts: CutTexts) -> RegionalPrompts:
        calculation, count = self.rules.calculation, len(texts.texts)
        if self.order is None:
            shares = base_shares(self.base_ratios, count - texts.base)
            return RegionalPrompts(
                calculation, "mask", texts.base, base_shares=tuple(shares), mask=self.mask
            )
        lines = lay_out(texts.keyed, self.ratios, self.base_ratios, self.order, base=texts.base)
        needed = max(cell.text for line in lines for cell in line.cells) + 1
        if calculation == "Latent":
            needed = sum(len(line.cells) for line in lines) + texts.base
        fits = count == needed if calculation == "Latent" else count >= needed
        if not fits:
            raise RegionError(f"it has {count} texts, and its regions need {needed}")
        others = len(texts.negative_texts)
        if calculation == "Attention" and 1 < others < needed:
            raise RegionError(
                f"the negative prompt has {others} texts, and its regions need {needed} (or one)"
            )
        division: Division = "columns" if self.order.columns else "rows"
        return RegionalPrompts(calculation, division, texts.base, tuple(lines))


def _check_parts(parts: int, texts: int) -> None:
    """A1111 divides a prompt at the word AND, the extension wherever it stands, as in HAND."""
    if parts != texts:
        raise RegionError(
            f"A1111 reads {parts} parts between ANDs in it, and its regions need {texts}; write "
            "no BREAK, AND or key within a word"
        )


def _loras_of(text: str) -> Iterator[tuple[str, float]]:
    """The LoRAs of a text with their strengths, on UNet and text encoder alike.

    The extension reads ``unet=``, else the first number; a strength by step counts as 1.
    """
    for tag in prompts.lora_tags(prompts.split_networks(text)[1]):
        value = tag.named.get("unet", tag.items[1] if len(tag.items) > 1 else "1")
        with suppress(ValueError):
            yield tag.items[0], 1.0 if "@" in value else float(value)


def _first(text: str, calls: int) -> str:
    """A text without extra networks, as it is at the first step."""
    return prompts.schedule(prompts.split_networks(text)[0], calls)[0][0].text


# --- arguments -----------------------------------------------------------------------------------


def read_regional_prompter(args: Sequence[Any], path: str, scope: Scope) -> RegionalPrompter | None:
    """Regional Prompter's arguments; None where it is off, or after a report."""
    given = Arguments(args, path, scope, _USUAL)
    if not given.switch(0) or not has_own_node(NODE, path, scope):
        return None
    given.warn_of_surplus()
    tab, submode, calculation = (given.values[position] for position in (2, 3, 11))
    tab = "Matrix" if tab == "Nope" else tab
    done = [
        _can_do(given, 2, tab in ("Matrix", "Mask"), _why_not_tab(tab)),
        _can_do(given, 3, tab != "Matrix" or submode in tuple(_MATRIX), _why_not_submode(submode)),
        _can_do(given, 11, calculation in _CALCULATIONS, f"{show(calculation)} is no mode"),
        _keeps_emphasis(path, scope),
    ]
    mask = _mask(given, scope) if tab == "Mask" else None
    loras, options = _lora_rules(given), _options(given)
    ratios, base_ratios = given.text(6), given.text(7)
    if not all(done) or not given.sound or (tab == "Mask" and mask is None):
        return None
    return RegionalPrompter(
        path=path,
        rules=TextRules(
            calculation=cast(Calculation, calculation),
            base=given.switch(8),
            common=given.switch(9),
            negative_common=given.switch(10),
            keeps_and=_KEEPS_AND in options,
            keeps_break=_KEEPS_BREAK in options,
            flips=_FLIPS in options,
            comments=_COMMENTS in options,
        ),
        order=Order(columns=_MATRIX[submode]) if tab == "Matrix" else None,
        ratios=_flipped(ratios) if given.switch(19) else ratios,
        base_ratios=base_ratios,
        mask=mask,
        only_hires=_ONLY_HIRES in options,
        not_hires=_NOT_HIRES in options,
        loras=loras,
        entries=_entries(given.values[: len(_USUAL)], tab, options),
    )


def _can_do(given: Arguments, position: int, fine: bool, why: str) -> bool:
    """Whether a choice is done here; a report where not."""
    if not fine:
        given.unsupported(position, why, instead="it is left out")
    return fine


def _keeps_emphasis(path: str, scope: Scope) -> bool:
    """Whether A1111 encodes prompts in chunks, which texts need."""
    if not scope.a1111_options.use_old_emphasis_implementation:
        return True
    scope.report.unsupported(
        path,
        "option use_old_emphasis_implementation cuts a prompt after 75 tokens, regions and all",
        instead="it is left out",
    )
    return False


def _why_not_tab(tab: Any) -> str:
    if tab == "Prompt":
        return (
            "regions by the prompt's words (Prompt, Prompt-Ex) are not done: their masks come from "
            "the attention of a run that the extension goes back from; send a mask (Mask)"
        )
    return f"{show(tab)} is not Matrix or Mask"


def _why_not_submode(submode: Any) -> str:
    if submode == "Random":
        return "Random draws its regions without a seed, so there is no picture to be equal to"
    return f"{show(submode)} is not Columns or Rows"


def _options(given: Arguments) -> list[str]:
    """Its options: a list, names between commas, or the switch of older versions."""
    value, debug = given.values[_OPTION_NAMES], given.values[1]
    if isinstance(value, bool):
        value = [_KEEPS_AND] if value else []
    names = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(names, list):
        given.refuse(_OPTION_NAMES, f"{show(names)} is not a list of options")
        return []
    for name in names:
        if name and name not in _OPTIONS:
            given.warn(_OPTION_NAMES, f"it has no option {show(name)}: ignored, as there")
    found = [name for name in names if name in _OPTIONS]
    return [*found, "debug"] if debug is True else found


def _entries(given: Sequence[Any], tab: str, options: Sequence[str]) -> Mapping[str, Any]:
    """Its infotext."""
    entries = dict(zip(_ENTRIES, given, strict=True))
    entries["RP Divide mode"] = tab
    entries["RP Options"] = ",".join(options) if options else "No Options"
    return {name: entries[name] for name in _ORDER}


def _flipped(ratios: str) -> str:
    return ratios.translate(str.maketrans(",;", ";,"))


def _mask(given: Arguments, scope: Scope) -> ImageUpload | None:
    """The mask's picture; None after a report."""
    value = given.values[_MASK_PICTURE]
    if not value:
        given.refuse(_MASK_PICTURE, "Mask needs a picture of the regions' colours, as base64 text")
        return None
    return ImageReader(scope.report).read(value, given.path(_MASK_PICTURE))


def _lora_rules(given: Arguments) -> LoraRules:
    te, unet = (_factors(given, position) for position in (13, 14))
    stop, hires_stop = (_stop(given, position) for position in (17, 18))
    return LoraRules(te, unet, stop, hires_stop)


def _stop(given: Arguments, position: int) -> int | None:
    """The step before which LoRAs end; None for 0, an empty text, or after a report."""
    text = str(given.values[position] or "0").strip()
    if text.isdecimal() and len(text) <= _MOST_DIGITS:
        return int(text) or None
    given.refuse(position, f"{show(given.values[position])} is no step")
    return None


def _factors(given: Arguments, position: int) -> tuple[float, ...]:
    """Numbers between commas; what is none counts as 0."""
    found = []
    for part in given.text(position).split(",", MOST_REGIONS * 4):
        try:
            found.append(float(part))
        except ValueError:
            found.append(0.0)
    if not all(map(math.isfinite, found)):
        given.refuse(position, "a factor is a finite number")
    return tuple(found)
