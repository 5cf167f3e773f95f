"""The always-on script Regional Prompter: its arguments, and what they make of a pass.

Source: sd-webui-regional-prompter ``scripts/rp.py``, restated.
"""

from __future__ import annotations

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
from translator.scripts.regions.ratios import (
    MOST_REGIONS,
    Order,
    RegionError,
    base_shares,
    lay_out,
)
from translator.scripts.regions.texts import CutTexts, TextRules, cut, divides, is_too_long

NODE = "A1111RegionalPrompter"
_LORA_NODES = ("A1111JoinParts", "ConditioningSetProperties", "CreateHookLoraModelOnly")

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
    given = [*args, *_USUAL[len(args) :]][: len(_USUAL)]
    if not given[0] or not _has_node(path, scope):
        return None
    tab, submode, calculation = given[2], given[3], given[11]
    tab = "Matrix" if tab == "Nope" else tab
    refused = [
        (2, tab in ("Matrix", "Mask"), _why_not_tab(tab)),
        (3, tab != "Matrix" or submode in tuple(_MATRIX), _why_not_submode(submode)),
        (11, calculation in ("Attention", "Latent"), f"{show(calculation)} is no mode"),
    ]
    for position, fine, why in refused:
        if not fine:
            scope.report.unsupported(f"{path}[{position}]", why, instead="it is left out")
    mask = _mask(given[16], f"{path}[16]", scope) if tab == "Mask" else None
    loras = _lora_rules(given, path, scope)
    fine = all(fine for _, fine, _ in refused) and (mask is not None or tab != "Mask")
    if not fine or loras is None:
        return None
    options = _options(given[12], given[1])
    if scope.a1111_options.use_old_emphasis_implementation:
        scope.report.unsupported(
            path,
            "option use_old_emphasis_implementation cuts a prompt after 75 tokens, regions and all",
            instead="it is left out",
        )
        return None
    return RegionalPrompter(
        path=path,
        rules=TextRules(
            calculation=cast(Calculation, calculation),
            base=bool(given[8]),
            common=bool(given[9]),
            negative_common=bool(given[10]),
            keeps_and=_KEEPS_AND in options,
            keeps_break=_KEEPS_BREAK in options,
            flips=_FLIPS in options,
            comments=_COMMENTS in options,
        ),
        order=Order(columns=_MATRIX[submode]) if tab == "Matrix" else None,
        ratios=_flipped(str(given[6])) if given[19] else str(given[6]),
        base_ratios=str(given[7]),
        mask=mask,
        only_hires=_ONLY_HIRES in options,
        not_hires=_NOT_HIRES in options,
        loras=loras,
        entries=_entries(given, tab, options),
    )


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


def _options(value: Any, debug: Any) -> list[str]:
    """Its options, as a list, names between commas, or the switch of older versions."""
    if isinstance(value, bool):
        names: Sequence[Any] = [_KEEPS_AND] if value else []
    else:
        names = value.split(",") if isinstance(value, str) else value or []
    found = [name for name in names if name in _OPTIONS] if isinstance(names, list) else []
    return [*found, "debug"] if debug is True else found


def _entries(given: Sequence[Any], tab: str, options: Sequence[str]) -> Mapping[str, Any]:
    """Its infotext."""
    told = dict(zip(_ENTRIES, given, strict=True))
    told["RP Divide mode"] = tab
    told["RP Options"] = ",".join(options) if options else "No Options"
    return {name: told[name] for name in _ORDER}


def _flipped(ratios: str) -> str:
    return ratios.translate(str.maketrans(",;", ";,"))


def _mask(value: Any, path: str, scope: Scope) -> ImageUpload | None:
    """The mask's picture; None after a report."""
    if not value:
        scope.report.invalid(path, "Mask needs a picture of the regions' colours, as base64 text")
        return None
    return ImageReader(scope.report).read(value, path)


def _lora_rules(given: Sequence[Any], path: str, scope: Scope) -> LoraRules | None:
    te, unet = (_factors(given[position]) for position in (13, 14))
    stops = []
    for position in (17, 18):
        text = str(given[position] or "0").strip()
        if not text.isdecimal() or len(text) > 9:
            scope.report.invalid(f"{path}[{position}]", f"{show(given[position])} is no step")
            return None
        stops.append(int(text) or None)
    return LoraRules(te, unet, *stops)


def _factors(value: Any) -> tuple[float, ...]:
    """Numbers between commas; what is none counts as 0."""
    found = []
    for part in str(value).split(",", MOST_REGIONS * 4):
        try:
            found.append(float(part))
        except ValueError:
            found.append(0.0)
    return tuple(found)


def _has_node(path: str, scope: Scope) -> bool:
    if scope.options.fidelity != "core" and scope.catalog.has(NODE):
        return True
    scope.report.unsupported(path, "it needs our node pack", instead="it is left out")
    return False
