"""A1111's guidance as a ComfyUI guider.

A1111 counts the calls of its denoiser. By that count it picks the text of every prompt part that is
current, swaps in the refiner checkpoint, and leaves out the negative prompt where an option says
so; then it adds up
    denoised = uncond + cfg * sum_i weight_i * (cond_i - uncond)
over the AND parts i of the prompt (``modules/sd_samplers_cfg_denoiser.py`` of v1.10.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PART, WEIGHT, END = "a1111_part", "a1111_weight", "a1111_end"
"""Keys that A1111TextEncode sets on an entry: its AND part, that part's weight, its last call."""

CALL = "a1111_call"
"""Key in model_options under which A1111Sampler passes a `Call` to A1111Guider."""

Entry = dict[str, Any]


@dataclass
class Call:
    """What A1111Sampler tells the guider about one model call, and learns from it.

    sigma: of the call, so that the guider need not wait for the GPU to read it. timestep: from a
    timestep sampler, whose denoiser gets it in place of sigma; None from the others. cfg_factor:
    factor on the CFG scale. step: what A1111's step counter says at the call. wants_uncond asks for
    `uncond`, the clean prediction without guidance, which the guider fills in.
    """

    sigma: float
    timestep: float | None = None
    cfg_factor: float = 1.0
    step: int = 0
    wants_uncond: bool = False
    uncond: Tensor | None = None

    @property
    def level(self) -> float:
        """The noise level as A1111's denoiser gets it."""
        return self.sigma if self.timestep is None else self.timestep


@dataclass(frozen=True)
class Guidance:
    """The numbers of the node A1111Guider.

    total_steps: model calls A1111 expects of the pass (steps, twice that for second order
    samplers). skip_early_cond: share of the calls at the start made without negative prompt.
    s_min_uncond: sigma below which every second call (with s_min_uncond_all: each) is made without
    it. refiner_switch_at: share of the noise timesteps (with refiner_switch_by_steps: of the calls)
    after which the refiner takes over. padding: one of `PADDINGS`. counted_steps: steps that
    A1111's counter is divided by where ranges go by it (see `percent_of_step`); 0 where they go by
    the noise level. image_cfg_scale: guidance by the picture of an editing checkpoint; 1 is the
    usual guidance by text alone.
    """

    cfg: float = 7.0
    s_min_uncond: float = 0.0
    s_min_uncond_all: bool = False
    skip_early_cond: float = 0.0
    total_steps: int = 20
    refiner_switch_at: float = 0.0
    refiner_switch_by_steps: bool = False
    padding: str = "none"
    counted_steps: int = 0
    image_cfg_scale: float = 1.0

    def skips_uncond(self, call: int, sigma: float) -> bool:
        """Whether that call (from 0) leaves out the negative prompt.

        sigma: as A1111's denoiser gets it, a timestep from the timestep samplers.
        """
        if self.skip_early_cond != 0 and call / self.total_steps <= self.skip_early_cond:
            return True
        return (
            (call % 2 == 1 or self.s_min_uncond_all)
            and self.s_min_uncond > 0
            and sigma < self.s_min_uncond
        )

    def wants_refiner(self, call: int, timestep: int) -> bool:
        """Whether the refiner has taken over by that call; timestep 999 (all noise) to 0."""
        done = call / self.total_steps if self.refiner_switch_by_steps else (999 - timestep) / 1000
        return done >= self.refiner_switch_at


_LEAST_PERCENT = 1e-6
"""Percent 0 stands for no level at all; the first call lies right after it."""


def percent_of_step(step: int, steps: int) -> float:
    """ComfyUI's percent that stands for a state of A1111's step counter.

    Where noise levels do not tell the calls of a pass apart (they go up again, or the pass alone
    knows them), ranges are given by that counter, which may go beyond the steps that A1111
    announced: progress p = step / steps is percent p / (1 + p).
    """
    progress = step / steps
    return max(progress / (1.0 + progress), _LEAST_PERCENT)


def current_entries(entries: Sequence[Entry], call: int) -> list[Entry]:
    """The entries of one prompt part meant for that model call.

    That is those with the first end not yet passed; after the last end A1111 falls back to the
    first text of the schedule. Entries without an end are always in.
    """
    ends = sorted({entry[END] for entry in entries if END in entry})
    current = next((end for end in ends if call <= end), ends[0] if ends else None)
    return [entry for entry in entries if END not in entry or entry[END] == current]


def prompt_parts(entries: Sequence[Entry]) -> list[tuple[float, list[Entry]]]:
    """Weight and entries of each AND part, in order; untagged entries are part 0 of weight 1."""
    parts: dict[int, list[Entry]] = {}
    for entry in entries:
        parts.setdefault(entry.get(PART, 0), []).append(entry)
    return [(parts[key][0].get(WEIGHT, 1.0), parts[key]) for key in sorted(parts)]


def combine(
    predictions: Sequence[Tensor],
    weights: Sequence[float],
    base: Tensor,
    shares: Sequence[Tensor] = (),
) -> Tensor:
    """The parts' joint prediction before the CFG scale: base + sum_i weight_i (p_i - base).

    Args:
        shares: where each part counts, `[height, width]`; empty where all do everywhere.
    """
    if shares:
        pairs = zip(predictions, shares, strict=False)
        predictions = [base + (own - base) * share.to(own) for own, share in pairs]
    if len(predictions) == 1 and weights[0] == 1:
        return predictions[0]
    result = base.clone()
    for prediction, weight in zip(predictions, weights, strict=True):
        result += (prediction - base) * weight
    return result


def pad_with_last_token(tokens: Tensor, length: int) -> Tensor:
    """Lengthen text conditioning (B, tokens, channels) by repeating its last vector.

    A1111 does so among AND parts of different length.
    """
    missing = length - tokens.shape[1]
    return (
        torch.cat([tokens, tokens[:, -1:].repeat(1, missing, 1)], dim=1) if missing > 0 else tokens
    )


def level_parts(parts: Sequence[Sequence[Entry]]) -> list[list[Entry]]:
    """The AND parts' entries with their text conditioning padded to one length."""
    if len(parts) == 1:
        return [list(parts[0])]
    lengths = [
        _text(entry).cond.shape[1]
        for entries in parts
        for entry in entries
        if _text(entry) is not None
    ]
    return [[_padded(entry, max(lengths, default=0)) for entry in entries] for entries in parts]


PADDINGS = ("none", "empty", "last")
"""How the shorter of positive and negative prompt is lengthened: not at all, by the encoding of an
empty prompt (option pad_cond_uncond), or as pad_cond_uncond_v0 does."""


def pad_apart(
    positives: Sequence[Sequence[Entry]],
    negative: Sequence[Entry],
    padding: str,
    empty: Tensor | None,
) -> tuple[list[list[Entry]], list[Entry]]:
    """Positive parts, which are of one length, and negative prompt with lengths made equal.

    ``last`` repeats the negative prompt's last vector, or cuts it.

    Args:
        padding: one of `PADDINGS`.
        empty: the encoding of an empty prompt, `[1, tokens, channels]`, for ``empty``.
    """
    parts, other = [list(entries) for entries in positives], list(negative)
    wanted, length = length_of(parts[0]), length_of(other)
    if wanted == length or not length:
        return parts, other
    if padding == "last":
        other = [_with_text(item, _cut_or_repeat(_text(item).cond, wanted)) for item in other]
    elif padding == "empty" and empty is not None:
        longest = max(wanted, length)
        parts = [[_with_empty(item, longest, empty) for item in entries] for entries in parts]
        other = [_with_empty(item, longest, empty) for item in other]
    return parts, other


def _cut_or_repeat(tokens: Tensor, length: int) -> Tensor:
    return pad_with_last_token(tokens, length)[:, :length]


def _with_empty(entry: Entry, length: int, empty: Tensor) -> Entry:
    tokens = _text(entry).cond
    repeats = (length - tokens.shape[1]) // empty.shape[1]
    if repeats <= 0:
        return entry
    filler = empty.to(tokens).repeat(tokens.shape[0], repeats, 1)
    return _with_text(entry, torch.cat([tokens, filler], dim=1))


def _with_text(entry: Entry, tokens: Tensor) -> Entry:
    text = type(_text(entry))(tokens)
    return {**entry, "model_conds": {**entry["model_conds"], "c_crossattn": text}}


def length_of(entries: Sequence[Entry]) -> int:
    """Tokens of the longest text conditioning among entries; 0 without any."""
    return max((_text(item).cond.shape[1] for item in entries if _text(item)), default=0)


def _text(entry: Entry) -> Any:
    return entry["model_conds"].get("c_crossattn")


def _padded(entry: Entry, length: int) -> Entry:
    text = _text(entry)
    if text is None:
        return entry
    return _with_text(entry, pad_with_last_token(text.cond, length))
