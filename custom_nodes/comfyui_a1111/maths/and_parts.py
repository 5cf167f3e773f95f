"""How the parts of a prompt (``a AND b``) go through the model.

A1111 runs all of them and the negative prompt in one batch. ComfyUI's own batching takes any number
of prompts: it numbers them, and tells patches the numbers of a batch's chunks as
``cond_or_uncond``. What looks at these knows 0 for the positive and 1 for the negative prompt only
(image prompts choose their tokens by them), so that where something may look, every further part is
a call of its own, as a positive prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from .control_ops import control_chain
from .guider import Call, Entry, combine
from .reference import BATCH

CALCULATE = "sampler_calc_cond_batch_function"
WRAPPER = "model_function_wrapper"
TRANSFORMER = "transformer_options"
"""Keys of ComfyUI's model options."""

Calculate = Callable[[Mapping[str, Any]], list[Tensor]]
"""What stands under `CALCULATE`: its arguments -> a prediction for each of ``conds``."""

_ATTENTION = "attn"
"""How the names of attention's patches begin."""

_CONTROLS = "comfy."
"""Whose ControlNets are known to take any number of chunks."""


def may_run_together(options: Mapping[str, Any], parts: Iterable[Sequence[Entry]]) -> bool:
    """Whether nothing looks at what the chunks of a batch are.

    Args:
        options: the model's options.
        parts: the entries of the AND parts.
    """
    if options.get(CALCULATE) is not None or options.get(WRAPPER) is not None:
        return False
    transformer = options.get(TRANSFORMER, {})
    if any(transformer.get("patches_replace", {}).values()):
        return False
    if any(found and name.startswith(_ATTENTION) for name, found in _patches(transformer)):
        return False
    controls = (
        control
        for entries in parts
        for entry in entries
        for control in control_chain(entry.get("control"))
    )
    return all(type(control).__module__.startswith(_CONTROLS) for control in controls)


def predict_parts(
    positives: Sequence[Sequence[Entry]],
    weights: Sequence[float],
    call: Call,
    calculate: Calculate,
    together: bool,
    args: Mapping[str, Any],
    shares: Sequence[Tensor] = (),
) -> list[Tensor]:
    """Joint prediction of the AND parts, and that of the negative prompt (else the first part's).

    Args:
        together: let ComfyUI batch the parts; else each but the first is a call of its own.
        args: those of `calculate`; ``conds`` has the first part and the negative prompt or None.
        shares: where each part counts, see `combine`.
    """
    if together:
        first, uncond, *others = calculate({**args, "conds": [*args["conds"], *positives[1:]]})
    else:
        first, uncond = calculate(args)
        others = [
            calculate(_of_part(args, number, entries))[0]
            for number, entries in enumerate(positives[1:], start=1)
        ]
    base = first if args["conds"][1] is None else uncond
    call.uncond = base
    return [combine([first, *others], weights, base, shares), base]


def _patches(transformer: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    found: Mapping[str, Any] = transformer.get("patches", {})
    return found.items()


def _of_part(args: Mapping[str, Any], part: int, entries: Sequence[Entry]) -> dict[str, Any]:
    """The arguments for a further part alone, as a positive prompt."""
    options = args["model_options"]
    transformer = options[TRANSFORMER]
    batch = replace(transformer[BATCH], part=part)
    options = {**options, TRANSFORMER: {**transformer, BATCH: batch}}
    return {**args, "conds": [entries, None], "model_options": options}
