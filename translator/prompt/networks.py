"""Extra network tags: ``<lora:name:0.8>``, ``<hypernet:name:1>``.

Source: A1111 v1.10.1 ``modules/extra_networks.py`` and the built-in Lora extension.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from translator.prompt.error import PromptError

_LORA_KINDS = ("lora", "lyco")

_NAMED = ("te", "unet", "dyn")
"""Named members of a LoRA's tag that A1111 reads."""

_POSITIONAL = 4
"""Positional members that it reads: name, te, unet, dyn."""

_NETWORK = re.compile(r"<(\w+):([^>]+)>")


@dataclass(frozen=True)
class Network:
    """An extra network tag.

    Attributes:
        kind: the word after "<": lora, lyco, hypernet, or anything else, which A1111 ignores.
        items: the texts between the colons.
    """

    kind: str
    items: tuple[str, ...]

    @property
    def positional(self) -> tuple[str, ...]:
        """The items that are not ``name=value`` (one with two "=" is not)."""
        return tuple(item for item in self.items if item.count("=") != 1)

    @property
    def named(self) -> dict[str, str]:
        """The items of the form ``name=value``."""
        pairs = (item.partition("=")[::2] for item in self.items if item.count("=") == 1)
        return dict(pairs)


@dataclass(frozen=True)
class Lora:
    """A LoRA (or LyCORIS) to apply.

    Attributes:
        name: as written in the tag: file stem or alias.
        text_encoder: strength on the text encoder.
        unet: strength on the UNet.
        dyn_dim: rank to cut it down to, or None.
        extras: members that A1111 itself does not read, such as ``lbw``, in order.
    """

    name: str
    text_encoder: float
    unet: float
    dyn_dim: int | None = None
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hypernetwork:
    """A hypernetwork to apply, and its strength."""

    name: str
    strength: float


def split_networks(prompt: str) -> tuple[str, tuple[Network, ...]]:
    """The prompt without ``<kind:item:...>`` tags, and the tags."""
    end = prompt.rfind(">") + 1  # no tag ends behind it, so that nothing is searched in vain
    head, tail = prompt[:end], prompt[end:]
    if "<" not in head:
        return prompt, ()
    tags = tuple(Network(kind, tuple(items.split(":"))) for kind, items in _NETWORK.findall(head))
    return _NETWORK.sub("", head) + tail, tags


def loras(networks: Sequence[Network]) -> tuple[Lora, ...]:
    """The LoRAs among the tags, with the strengths that A1111 gives them.

    ``<lora:name:te:unet:dyn>`` or ``te=``, ``unet=``, ``dyn=``; te defaults to 1, unet to te. Named
    values win. A name given twice is one network to A1111, which is applied twice, each time with
    the last strengths.

    Raises:
        PromptError: a tag without a name or with a strength that is not a number: A1111 then
            applies no LoRA at all.
    """
    kinds = [kind for kind in dict.fromkeys(tag.kind for tag in networks) if kind in _LORA_KINDS]
    tags = [tag for kind in kinds for tag in networks if tag.kind == kind]
    read = [_lora(tag) for tag in tags]
    last = {lora.name: lora for lora in read}
    return tuple(last[lora.name] for lora in read)


def hypernetworks(networks: Sequence[Network]) -> tuple[Hypernetwork, ...]:
    """The hypernetworks among the tags: ``<hypernet:name:strength>``, strength 1 by default.

    Raises:
        PromptError: a strength that is not a number.
    """
    return tuple(
        Hypernetwork(tag.items[0], _number(tag, tag.items[1]) if len(tag.items) > 1 else 1.0)
        for tag in networks
        if tag.kind == "hypernet"
    )


def _written_by(value: str | float) -> str:
    """Which extension takes such a text in place of a number, and what to send instead."""
    if "@" in str(value):
        return "; weights by step (loractl) are an extension's: send one number"
    return (
        "; presets and block weights (LoRA Block Weight) are an extension's: send one number, as "
        "in <lora:name:0.8>"
    )


def _lora(tag: Network) -> Lora:
    positional, named = tag.positional, tag.named
    if not positional:
        raise PromptError(f"{_spell(tag)} names no file")
    text_encoder = _number(tag, positional[1]) if len(positional) > 1 else 1.0
    text_encoder = _number(tag, named.get("te", text_encoder))
    unet = _number(tag, positional[2]) if len(positional) > 2 else text_encoder
    unet = _number(tag, named.get("unet", unet))
    dyn = named.get("dyn", positional[3] if len(positional) > 3 else None)
    try:
        rank = None if dyn is None else int(dyn)
    except ValueError:
        raise PromptError(f"{_spell(tag)}: {dyn!r} is not a whole number") from None
    extras = (*(name for name in named if name not in _NAMED), *positional[_POSITIONAL:])
    return Lora(positional[0], text_encoder, unet, rank, extras)


def _number(tag: Network, value: str | float) -> float:
    try:
        number = float(value)
    except ValueError:
        raise PromptError(f"{_spell(tag)}: {value!r} is not a number{_written_by(value)}") from None
    if not math.isfinite(number):
        raise PromptError(f"{_spell(tag)}: {value!r} is not a finite number")
    return number


def _spell(tag: Network) -> str:
    return f"<{tag.kind}:{':'.join(tag.items)}>"
