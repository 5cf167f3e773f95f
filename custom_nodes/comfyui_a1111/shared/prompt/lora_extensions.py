# Copied from translator/prompt/lora_extensions.py by tools/pack_shared.py: edit it there.
"""What the extension LoRA Block Weight makes of a prompt's LoRAs, see `block_weights`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..prompt.block_weights import BLOCKS, NAMES, Presets, block_weights, member
from ..prompt.error import PromptError
from ..prompt.networks import Lora, Network, lora_tags
from ..prompt.step_weights import Curve, Window

_MAX_STEP = 1_000_000
"""The last step that a window may name."""


@dataclass(frozen=True)
class _Asked:
    """A LoRA's tag as the extension reads it: its strengths, None where it names none."""

    te: str | None
    unet: str | None
    lora: Lora

    @property
    def changes(self) -> bool:
        return self.lora.blocks is not None or self.lora.steps is not None


def weighted(
    networks: Sequence[Network], loras: Sequence[Lora], presets: Presets, draw: random.Random
) -> tuple[Lora, ...]:
    """The LoRAs with the factors of their blocks and the windows that their tags ask for.

    Where one of a kind (lora, lyco) asks for something, the extension sets the strengths of all of
    that kind, by a rule of its own: a tag that names only one of both strengths has it for both. Of
    tags with one name the first counts.

    Args:
        networks: all tags of the prompt.
        loras: what `networks.loras` gives for them.

    Raises:
        PromptError: what cannot be read.
    """
    tags = lora_tags(networks)
    asked = [_read(tag, lora, presets, draw) for tag, lora in zip(tags, loras, strict=True)]
    changed = {tag.kind for tag, item in zip(tags, asked, strict=True) if item.changes}
    first: dict[tuple[str, str], Lora] = {}
    for tag, item in zip(tags, asked, strict=True):
        if tag.kind in changed:
            first.setdefault((tag.kind, item.lora.name), _with_strengths(item))
    return tuple(
        first.get((tag.kind, item.lora.name), item.lora)
        for tag, item in zip(tags, asked, strict=True)
    )


def _read(tag: Network, lora: Lora, presets: Presets, draw: random.Random) -> _Asked:
    items = tag.items
    te, unet = _strength(items, "te=", 1), _strength(items, "unet=", 2)
    if not any(name in tag.named for name in NAMES):
        return _Asked(te, unet, lora)
    weights = block_weights(items, presets, draw)
    plain = not weights.elements and weights.ratios == (1.0,) * len(BLOCKS)
    extras = tuple(name for name in lora.extras if name not in NAMES)
    read = replace(lora, blocks=None if plain else weights, extras=extras)
    window = _window(items)
    if window is not None:
        if isinstance(lora.steps, Curve):
            raise PromptError("start= and stop= beside strengths by step")
        read = replace(read, steps=window)
    if read.hires is not None:
        hires = read.hires
        read = replace(
            read,
            hires=replace(
                hires, blocks=read.blocks, extras=extras, steps=hires.steps or read.steps
            ),
        )
    return _Asked(te, unet, read)


def _strength(items: Sequence[str], name: str, position: int) -> str | None:
    """A strength by its name, else by its position; None where neither names it."""
    named = member(items, name)
    if named is not None:
        return named
    if position >= len(items) or "=" in items[position]:
        return None
    return items[position]


def _with_strengths(item: _Asked) -> Lora:
    """The LoRA with the strengths by the extension's rule; one by step keeps its own."""
    if isinstance(item.lora.steps, Curve):
        return item.lora
    te = item.te if item.te is not None else item.unet
    unet = item.unet if item.unet is not None else item.te
    try:
        numbers = float(te or 1), float(unet or 1)
    except ValueError:
        raise PromptError(f"strengths {te!r} and {unet!r} are not numbers") from None
    return replace(item.lora, text_encoder=numbers[0], unet=numbers[1])


def _window(items: Sequence[str]) -> Window | None:
    start, stop = member(items, "start="), member(items, "stop=")
    step = member(items, "step=")
    if step is not None and "-" in step:
        bounds = step.split("-")
        if len(bounds) != 2:
            raise PromptError(f"step={step} is not first and last step, as in step=5-10")
        start, stop = bounds
    if start is None and stop is None:
        return None
    return Window(_whole(start, "start="), _whole(stop, "stop="))


def _whole(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        number = int(text) if len(text.strip()) <= len(str(_MAX_STEP)) else _MAX_STEP + 1
    except ValueError:
        raise PromptError(f"{name}{text} is not a whole number") from None
    if abs(number) > _MAX_STEP:
        raise PromptError(f"{name}: there are no more than {_MAX_STEP} steps")
    return number
