# Copied from translator/prompt/networks.py by tools/pack_shared.py: edit it there.
"""Extra network tags: ``<lora:name:0.8>``, ``<hypernet:name:1>``.

Source: A1111 v1.10.1 ``modules/extra_networks.py`` and the built-in Lora extension.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..prompt.block_weights import BlockWeights
from ..prompt.error import PromptError
from ..prompt.step_weights import Curve, Window, is_curve, read_strength

LORA_KINDS = ("lora", "lyco")

_NAMED = ("te", "unet", "dyn")
"""Named members of a LoRA's tag that A1111 reads."""

_HIRES = ("hr", "hrte", "hrunet")
"""Named members that sd-webui-loractl reads: strengths in the hires pass."""

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
        extras: members that neither A1111 nor sd-webui-loractl reads, such as ``lbw``, in order.
        steps: how the strength on the UNet changes from step to step, or None.
        blocks: factors of its blocks, or None.
        hires: the LoRA as the hires pass has it; None is the same.
    """

    name: str
    text_encoder: float
    unet: float
    dyn_dim: int | None = None
    extras: tuple[str, ...] = ()
    steps: Window | Curve | None = None
    blocks: BlockWeights | None = None
    hires: Lora | None = None


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


def lora_tags(networks: Sequence[Network]) -> tuple[Network, ...]:
    """The tags of LoRAs, those of one kind together, as A1111 goes through them."""
    kinds = [kind for kind in dict.fromkeys(tag.kind for tag in networks) if kind in LORA_KINDS]
    return tuple(tag for kind in kinds for tag in networks if tag.kind == kind)


def loras(networks: Sequence[Network]) -> tuple[Lora, ...]:
    """The LoRAs among the tags, with the strengths that A1111 gives them.

    ``<lora:name:te:unet:dyn>`` or ``te=``, ``unet=``, ``dyn=``; te defaults to 1, unet to te. Named
    values win. A name given twice is one network to A1111, which is applied twice, each time with
    the last strengths. ``hr=``, ``hrte=``, ``hrunet=`` and strengths by step (``0.2@0,1@0.5``) mean
    what sd-webui-loractl makes of them, which A1111 itself does not know.

    Raises:
        PromptError: a tag without a name or with a strength that is not a number: A1111 then
            applies no LoRA at all.
    """
    read = [_lora(tag) for tag in lora_tags(networks)]
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


_OLD_BLOCK_WEIGHTS = (
    "; presets and block weights (LoRA Block Weight) are written lbw=, as in "
    "<lora:name:0.8:lbw=MIDD>"
)


def _lora(tag: Network) -> Lora:
    positional, named = tag.positional, tag.named
    if not positional:
        raise PromptError(f"{_spell(tag)} names no file")
    text_encoder = _strength(tag, positional[1]) if len(positional) > 1 else 1.0
    text_encoder = _strength(tag, named.get("te", text_encoder))
    unet = _strength(tag, positional[2]) if len(positional) > 2 else text_encoder
    unet = _strength(tag, named.get("unet", unet))
    dyn = named.get("dyn", positional[3] if len(positional) > 3 else None)
    try:
        rank = None if dyn is None else int(dyn)
    except ValueError:
        raise PromptError(f"{_spell(tag)}: {dyn!r} is not a whole number") from None
    read = (*_NAMED, *_HIRES)
    extras = (*(name for name in named if name not in read), *positional[_POSITIONAL:])
    lora = _with_strengths(Lora(positional[0], 0, 0, rank, extras), text_encoder, unet, start=True)
    if not any(name in named for name in _HIRES):
        return lora
    both = named.get("hr")
    hires_te = _strength(tag, named.get("hrte", text_encoder if both is None else both))
    hires_unet = _strength(tag, named.get("hrunet", unet if both is None else both))
    return replace(lora, hires=_with_strengths(lora, hires_te, hires_unet, start=False))


def _with_strengths(lora: Lora, te: float | Curve, unet: float | Curve, *, start: bool) -> Lora:
    """A LoRA with strengths; a text is encoded before a pass, with a curve's value of that time.

    Args:
        start: whether that is the first step; else the first pass' last one.
    """
    text_encoder = te.ends[0 if start else 1] if isinstance(te, Curve) else te
    if isinstance(unet, Curve):
        return replace(lora, text_encoder=text_encoder, unet=1.0, steps=unet)
    return replace(lora, text_encoder=text_encoder, unet=unet, steps=None)


def _strength(tag: Network, value: str | float | Curve) -> float | Curve:
    """A strength: a number, or several by step."""
    if isinstance(value, Curve):
        return value
    if not isinstance(value, str) or not is_curve(value):
        return _number(tag, value)
    try:
        return read_strength(value)
    except ValueError as error:
        raise PromptError(f"{_spell(tag)}: {error}") from None


def _meant(value: str | float) -> str:
    """What stands where a strength should, as the end of a sentence."""
    text = str(value).strip()
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"; write {text.replace(',', '.')}"
    return _OLD_BLOCK_WEIGHTS if re.fullmatch(r"\w+|[\d.+-]+(,[\d.+-]+)+", text) else ""


def _number(tag: Network, value: str | float) -> float:
    try:
        number = float(value)
    except ValueError:
        raise PromptError(f"{_spell(tag)}: {value!r} is not a number{_meant(value)}") from None
    if not math.isfinite(number):
        raise PromptError(f"{_spell(tag)}: {value!r} is not a finite number")
    return number


def _spell(tag: Network) -> str:
    return f"<{tag.kind}:{':'.join(tag.items)}>"
