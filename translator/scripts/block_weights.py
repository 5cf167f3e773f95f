"""The always-on script LoRA Block Weight: its arguments -> `Script`.

Source: sd-webui-lora-block-weight (b403cb7) ``scripts/lora_block_weight.py`` (ui, process).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from translator.prompt.block_weights import Presets, Script, read_elements, read_ratios
from translator.report import show
from translator.scope import Scope

MAX_PRESETS = 20_000
"""Characters of presets that a request may bring."""

_RATIOS, _ACTIVE, _PLOT, _ELEMENTS = 0, 1, 2, 15
"""Positions among its 18 arguments."""

_NO_PLOT = (None, 0, False, "", "Disable")


def read_block_weights(args: Sequence[Any], path: str, scope: Scope) -> Script:
    """How the request sets the script; what is not sent is as the page has it, on."""
    active = args[_ACTIVE] if len(args) > _ACTIVE else None
    if active is not None and not active:
        return Script(on=False, named=True)
    if len(args) > _PLOT and args[_PLOT] not in _NO_PLOT:
        scope.report.warn(
            f"{path}[{_PLOT}]", "its plot is not made over A1111's API either; send an X/Y/Z plot"
        )
    own = Presets()
    ratios = _text(args, _RATIOS, path, scope)
    elements = _text(args, _ELEMENTS, path, scope)
    return Script(
        named=True,
        presets=Presets(
            own.ratios if ratios is None else read_ratios(ratios),
            own.elements if elements is None else read_elements(elements),
        ),
    )


def _text(args: Sequence[Any], position: int, path: str, scope: Scope) -> str | None:
    """A text of presets; None where there is none, or a report of one that cannot be read."""
    value = args[position] if len(args) > position else None
    if value is None:
        return None
    if not isinstance(value, str):
        scope.report.invalid(
            f"{path}[{position}]",
            f"{show(value)} is no text of presets, NAME:factors a line",
            value,
        )
        return None
    if len(value) > MAX_PRESETS:
        scope.report.invalid(
            f"{path}[{position}]",
            f"{len(value)} characters of presets; at most {MAX_PRESETS} are taken",
        )
        return None
    return value
