"""A1111's prompt language: extra networks, AND, editing, attention.

A1111 takes a prompt apart in this order, and so does `parse`::

    "a <lora:x:0.8> [b:c:0.5] (d:1.2) AND e :0.7"
      networks   <lora:x:0.8>                       taken out of the text
      AND        "a  [b:c:0.5] (d:1.2)" * 1.0, " e" * 0.7
      schedule   until call 10 "a  b (d:1.2)", then "a  c (d:1.2)"
      attention  "a  b ", 1.0   "d", 1.2

Styles and comments come before (`translator.request.styles`, `strip_comments`), tokens and chunks
after (``chunks.py`` of the node pack).

Steps in a schedule are model *calls*: for a second-order sampler twice the steps
(`samplers.Sampler.total_steps`). An entry holds for every call whose 0-based number is not above
its ``end``.

Sources: A1111 v1.10.1 ``modules/prompt_parser.py``, ``modules/extra_networks.py``, the built-in
Lora extension, ``modules/processing_scripts/comments.py``. A1111 reads schedules with an ambiguous
Earley grammar; `_read_edits` reads the same language in one pass. Where the grammar is ambiguous
A1111's answer changes from process to process (Python's string hashes), see `Prompt.ambiguous`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

Emphasis = Literal["Original", "No norm", "Ignore", "None"]
"""A1111's option ``emphasis``."""

BREAK = ("BREAK", -1.0)
"""The piece that closes a chunk of 75 tokens."""

Piece = tuple[str, float]
"""A stretch of text and its weight, or `BREAK`."""

_LORA_KINDS = ("lora", "lyco")

_ROUND, _SQUARE = 1.1, 1 / 1.1

_NETWORK = re.compile(r"<(\w+):([^>]+)>")
_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r"\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*$")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_ATTENTION = re.compile(
    r"(?P<escape>\\[()\[\]\\]?)"
    r"|(?P<open>[(\[])"
    r"|:\s*(?P<weight>[+-]?[.\d]+)\s*\)"
    r"|(?P<close>[)\]])"
    r"|(?P<text>[^\\()\[\]:]+|:)"
)
_EDIT_TOKEN = re.compile(r"((?:[^\\\[\]():|]+|\\.)+)|([\[\]():|])")
_WHEN = re.compile(
    r"\s*([+-]?(?:[0-9]+[eE][+-]?[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+))\s*"
)
_WHOLE_LINE_COMMENT = re.compile("(^|\n)#[^\n]*(\n|$)")
_COMMENT = re.compile("#[^\n]*(\n|$)")


class PromptError(ValueError):
    """A prompt on which A1111 itself fails; the message says why."""


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
    """

    name: str
    text_encoder: float
    unet: float
    dyn_dim: int | None = None


@dataclass(frozen=True)
class Hypernetwork:
    """A hypernetwork to apply, and its strength."""

    name: str
    strength: float


@dataclass(frozen=True)
class ScheduledText:
    """The text that holds up to and including model call ``end`` (0-based)."""

    end: int
    text: str


@dataclass(frozen=True)
class Part:
    """One of the parts that AND separates.

    Attributes:
        text: the part as written, less its weight.
        weight: the factor of its guidance.
        schedule: its texts in order; the last one's ``end`` is the number of calls.
    """

    text: str
    weight: float
    schedule: tuple[ScheduledText, ...]


@dataclass(frozen=True)
class Prompt:
    """A prompt taken apart.

    Attributes:
        text: the prompt without its extra networks.
        networks: the extra network tags in order.
        parts: at least one.
        ambiguous: A1111 itself reads this prompt in one of two ways, changing from process to
            process: an edit stands directly before a stray bracket or colon ("[a:b:5]]"). Here, as
            in the recorded runs, such an edit is plain text.
    """

    text: str
    networks: tuple[Network, ...]
    parts: tuple[Part, ...]
    ambiguous: bool = False

    @cached_property
    def loras(self) -> tuple[Lora, ...]:
        """The LoRAs to apply, see `loras`."""
        return loras(self.networks)

    @cached_property
    def hypernetworks(self) -> tuple[Hypernetwork, ...]:
        """The hypernetworks to apply, see `hypernetworks`."""
        return hypernetworks(self.networks)


def parse(
    prompt: str,
    steps: int,
    *,
    hires_steps: int | None = None,
    old_scheduling: bool = False,
) -> Prompt:
    """Take a positive prompt apart.

    Args:
        prompt: after styles and comments.
        steps: model calls of the first pass.
        hires_steps: model calls of the hires pass, to get that pass' schedule; None for the first.
        old_scheduling: option use_old_scheduling.

    Raises:
        PromptError: see `schedule`.
    """
    text, networks = split_networks(prompt)
    parts, ambiguous = [], False
    for part_text, weight in split_and(text):
        entries, unsure = schedule(part_text, steps, hires_steps, old_scheduling=old_scheduling)
        parts.append(Part(part_text, weight, entries))
        ambiguous |= unsure
    return Prompt(text, networks, tuple(parts), ambiguous)


def parse_negative(
    prompt: str,
    steps: int,
    *,
    hires_steps: int | None = None,
    old_scheduling: bool = False,
) -> Prompt:
    """Take a negative prompt apart: it is scheduled, but AND and network tags are plain text."""
    entries, unsure = schedule(prompt, steps, hires_steps, old_scheduling=old_scheduling)
    return Prompt(prompt, (), (Part(prompt, 1.0, entries),), unsure)


def strip_comments(text: str) -> str:
    """Remove comments from "#" to the end of the line; whole lines leave a line break."""
    return _COMMENT.sub("\n", _WHOLE_LINE_COMMENT.sub("\n", text))


# --- Extra networks -----------------------------------------------------------------------------


def split_networks(prompt: str) -> tuple[str, tuple[Network, ...]]:
    """The prompt without ``<kind:item:...>`` tags, and the tags."""
    if "<" not in prompt:
        return prompt, ()
    tags = tuple(Network(kind, tuple(items.split(":"))) for kind, items in _NETWORK.findall(prompt))
    return _NETWORK.sub("", prompt), tags


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
        return Lora(positional[0], text_encoder, unet, None if dyn is None else int(dyn))
    except ValueError:
        raise PromptError(f"{_spell(tag)}: {dyn!r} is not a whole number") from None


def _number(tag: Network, value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        raise PromptError(f"{_spell(tag)}: {value!r} is not a number") from None


def _spell(tag: Network) -> str:
    return f"<{tag.kind}:{':'.join(tag.items)}>"


# --- AND ----------------------------------------------------------------------------------------


def split_and(text: str) -> list[Piece]:
    """The parts between the words AND, each with the weight that ends it ("... :0.7", else 1)."""
    return [_split_weight(part) for part in _AND.split(text)]


def _split_weight(part: str) -> Piece:
    weight = _PART_WEIGHT.search(part) if ":" in part else None
    if weight:
        return part[: weight.start()], float(weight[1])
    return part.rstrip(), 1.0


# --- Attention ----------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def attention(text: str) -> tuple[Piece, ...]:
    r"""Pieces of text with their weights, and `BREAK` between chunks.

    ``(x)`` is 1.1, ``[x]`` 1/1.1, ``(x:w)`` w, nested weights multiply; ``\(`` and its like are
    literal. An unclosed bracket reaches to the end, a closing one without its opener is text.

    Raises:
        PromptError: a weight such as "1.2.3": A1111 fails on it.
    """
    pieces: list[list[Any]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for match in _ATTENTION.finditer(text):
        token, kind = match[0], match.lastgroup
        if kind == "escape":
            pieces.append([token[1:], 1.0])
        elif kind == "open":
            opened[token].append(len(pieces))
        elif kind == "weight" and opened["("]:
            _multiply(pieces, opened["("].pop(), _weight(match[kind]))
        elif token == ")" and opened["("]:
            _multiply(pieces, opened["("].pop(), _ROUND)
        elif token == "]" and opened["["]:
            _multiply(pieces, opened["["].pop(), _SQUARE)
        else:
            pieces += _split_breaks(token)
    for start in opened["("]:
        _multiply(pieces, start, _ROUND)
    for start in opened["["]:
        _multiply(pieces, start, _SQUARE)
    return _merged(pieces)


def encode_pieces(text: str, emphasis: Emphasis = "Original") -> tuple[Piece, ...]:
    """The pieces that A1111 tokenizes: with emphasis "None" the literal text, BREAK included.

    Raises:
        PromptError: see `attention`.
    """
    return ((text, 1.0),) if emphasis == "None" else attention(text)


def node_input(parts: Sequence[Part], emphasis: Emphasis = "Original") -> dict[str, Any]:
    """The value of A1111TextEncode's ``prompt``, to be written as JSON.

    The end of a text that is its part's only one never counts; it is written as 0, so that passes
    of any length share one encoding.

    Raises:
        PromptError: see `attention`.
    """
    return {
        "parts": [
            {
                "weight": part.weight,
                "schedule": [
                    [
                        entry.end if len(part.schedule) > 1 else 0,
                        [list(piece) for piece in encode_pieces(entry.text, emphasis)],
                    ]
                    for entry in part.schedule
                ],
            }
            for part in parts
        ]
    }


def comfy_texts(pieces: Sequence[Piece], embeddings: Sequence[str] = ()) -> list[str]:
    r"""The pieces in core ComfyUI's prompt syntax, one text for each chunk that BREAK separates.

    ComfyUI reads ``(text:weight)`` and the escapes ``\(`` and ``\)``, and wants "embedding:name"
    where A1111 finds the bare name of an embedding.

    Args:
        embeddings: stems of the embedding files ComfyUI has.
    """
    texts = [""]
    for piece in pieces:
        text, weight = piece
        if piece == BREAK:
            texts.append("")
        elif text:
            escaped = text.replace("(", r"\(").replace(")", r"\)")
            named = _name_embeddings(escaped, embeddings)
            texts[-1] += named if weight == 1.0 else f"({named}:{round(weight, 6)})"
    return texts


def _name_embeddings(text: str, embeddings: Sequence[str]) -> str:
    if not embeddings:
        return text
    longest_first = sorted(embeddings, key=len, reverse=True)
    stems = {stem.lower(): stem for stem in longest_first}
    names = re.compile(
        rf"(?<!\w)(?:{'|'.join(re.escape(stem) for stem in longest_first)})(?!\w)", re.IGNORECASE
    )
    return names.sub(lambda match: f" embedding:{stems[match[0].lower()]} ", text)


def _multiply(pieces: list[list[Any]], start: int, factor: float) -> None:
    for piece in pieces[start:]:
        piece[1] *= factor


def _weight(number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise PromptError(f"the weight {number!r} is not a number") from None


def _split_breaks(text: str) -> Iterator[list[Any]]:
    for position, part in enumerate(_BREAK.split(text)):
        if position:
            yield list(BREAK)
        yield [part, 1.0]


def _merged(pieces: Sequence[Sequence[Any]]) -> tuple[Piece, ...]:
    """Neighbours of equal weight become one; no pieces at all become an empty one."""
    merged: list[Piece] = []
    for text, weight in pieces:
        if merged and merged[-1][1] == weight:
            merged[-1] = (merged[-1][0] + text, weight)
        else:
            merged.append((text, weight))
    return tuple(merged) or (("", 1.0),)


# --- Editing and alternation --------------------------------------------------------------------


@dataclass(frozen=True)
class _Edit:
    """``[before:after:when]``; ``source`` is what stands there where it is read as plain text."""

    before: tuple[_Node, ...]
    after: tuple[_Node, ...]
    when: str
    source: tuple[_Node, ...]


@dataclass(frozen=True)
class _Alternation:
    """``[a|b|...]``."""

    options: tuple[tuple[_Node, ...], ...]


@dataclass(frozen=True)
class _Emphasis:
    """``(a)``, ``(a:b)`` or ``[a]``, brackets included: text here, read later by `attention`."""

    nodes: tuple[_Node, ...]


class _Stray(str):
    """A bracket or colon at the top level that belongs to no group."""


_Node = str | _Edit | _Alternation | _Emphasis


def schedule(
    text: str, steps: int, hires_steps: int | None = None, *, old_scheduling: bool = False
) -> tuple[tuple[ScheduledText, ...], bool]:
    """The texts a prompt has in the course of sampling, and whether A1111's reading is ambiguous.

    A ``when`` with a "." is a share of the steps, without one a step. In the hires pass shares
    count from 1.0 and steps from the end of the first pass. With ``old_scheduling`` a number below
    1 is a share, in both passes of the first pass' steps. A text that does not parse stays as it
    is.

    Raises:
        PromptError: a ``when`` too large for a number, or groups nested hundreds deep.
    """
    try:
        return _schedule(text, steps, hires_steps, old_scheduling)
    except RecursionError:
        raise PromptError("the brackets are nested too deep") from None


def _schedule(
    text: str, steps: int, hires_steps: int | None, old_scheduling: bool
) -> tuple[tuple[ScheduledText, ...], bool]:
    first = hires_steps is None or old_scheduling
    total = steps if first or hires_steps is None else hires_steps
    nodes, ambiguous = _read_edits(text) if "[" in text else (None, False)
    if nodes is None:
        return (ScheduledText(total, text),), False

    def switch(when: str) -> int:
        value = float(when)
        if old_scheduling:
            value = value * total if value < 1 else value
        elif "." in when:
            value = (value - (0.0 if first else 1.0)) * total
        else:
            value -= 0 if first else steps
        try:
            return min(total, int(value))
        except OverflowError:
            raise PromptError(f"the step {when!r} is too large") from None

    ends = {total}
    switches: dict[str, int] = {}
    for node in _walk(nodes):
        if isinstance(node, _Alternation):
            ends.update(range(1, total + 1))
        elif isinstance(node, _Edit):
            switches[node.when] = switch(node.when)
    ends.update(step for step in switches.values() if step >= 1)
    entries = tuple(
        ScheduledText(end, "".join(_text_at(nodes, end, switches))) for end in sorted(ends)
    )
    return entries, ambiguous


def _text_at(nodes: Sequence[_Node], step: int, switches: Mapping[str, int]) -> Iterator[str]:
    """The pieces of text that hold at ``step``, counted from 1."""
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, _Emphasis):
            yield from _text_at(node.nodes, step, switches)
        elif isinstance(node, _Edit):
            chosen = node.before if step <= switches[node.when] else node.after
            yield from _text_at(chosen, step, switches)
        else:
            options = node.options
            yield from _text_at(options[(step - 1) % len(options)], step, switches)


def _walk(nodes: Sequence[_Node]) -> Iterator[_Node]:
    for node in nodes:
        yield node
        if isinstance(node, _Emphasis):
            yield from _walk(node.nodes)
        elif isinstance(node, _Edit):
            yield from _walk(node.before)
            yield from _walk(node.after)
        elif isinstance(node, _Alternation):
            for option in node.options:
                yield from _walk(option)


class _Group:
    """A bracket that is open while reading: its segments and what separates them."""

    def __init__(self, opener: str) -> None:
        self.opener = opener
        self.segments: list[list[_Node]] = [[]]
        self.separators: list[str] = []

    def separate(self, separator: str) -> None:
        self.separators.append(separator)
        self.segments.append([])

    def source(self, closer: str = "") -> list[_Node]:
        """The group as plain text around what its segments hold."""
        nodes: list[_Node] = [_Stray(self.opener)]
        for separator, segment in zip(("", *self.separators), self.segments, strict=True):
            nodes += [_Stray(separator)] if separator else []
            nodes += segment
        return [*nodes, _Stray(closer)] if closer else nodes

    def close(self, closer: str) -> _Node | None:
        """What the group is once closed; None if the grammar has no such group."""
        if self.opener + closer not in ("()", "[]"):
            return None
        bars, colons = self.separators.count("|"), self.separators.count(":")
        if self.opener == "[" and bars and not colons:
            return _Alternation(tuple(tuple(segment) for segment in self.segments))
        if self.opener == "[" and 1 <= colons <= 2 and not bars:
            return self._edit()
        if bars or colons > (self.opener == "("):
            return None
        return _Emphasis(tuple(self.source(closer)))

    def _edit(self) -> _Edit | None:
        *texts, last = self.segments
        when = (
            _WHEN.fullmatch(str(last[0])) if len(last) == 1 and isinstance(last[0], str) else None
        )
        if not when:
            return None
        before = tuple(texts[0]) if len(texts) == 2 else ()
        return _Edit(before, tuple(texts[-1]), when[1], tuple(self.source("]")))


def _read_edits(text: str) -> tuple[Sequence[_Node] | None, bool]:
    """The text as nodes, and whether A1111's reading is ambiguous; None if it does not parse.

    A bracket that is part of no group is text, which it can be at the top level only: so are then
    all brackets around it. A "|" can be text nowhere.
    """
    top: list[_Node] = []
    groups: list[_Group] = []

    def give_up(closer: str = "") -> None:
        """No open group can be one any more: they are text."""
        for group in groups:
            top.extend(group.source())
        groups.clear()
        if closer:
            top.append(_Stray(closer))

    position = 0
    while position < len(text):
        match = _EDIT_TOKEN.match(text, position)
        if not match:
            return None, False
        position = match.end()
        plain, mark = match.groups()
        here = groups[-1].segments[-1] if groups else top
        if plain:
            here.append(plain)
        elif mark in "([":
            groups.append(_Group(mark))
        elif mark in ":|":
            if groups:
                groups[-1].separate(mark)
            else:
                top.append(_Stray(mark))
        elif groups:
            closed = groups[-1].close(mark)
            if closed is None:
                give_up(mark)
            else:
                groups.pop()
                (groups[-1].segments[-1] if groups else top).append(closed)
        else:
            top.append(_Stray(mark))
    give_up()
    if any(node == "|" for node in top):
        return None, False
    return _settle(top), _is_ambiguous(top)


def _settle(nodes: Sequence[_Node]) -> list[_Node]:
    """Turn edits that stand directly before a stray mark into text."""
    settled: list[_Node] = []
    pending = list(reversed(nodes))
    while pending:
        node = pending.pop()
        if isinstance(node, _Edit) and pending and isinstance(pending[-1], _Stray):
            pending.extend(reversed(node.source))
        else:
            settled.append(node)
    return settled


def _is_ambiguous(nodes: Sequence[_Node]) -> bool:
    """Whether the grammar lets an edit be text as well: nothing but groups before a stray mark."""
    before_stray = False
    for node in reversed(nodes):
        if isinstance(node, _Stray):
            before_stray = True
        elif isinstance(node, _Edit | _Emphasis):
            if before_stray and (isinstance(node, _Edit) or _is_ambiguous(node.nodes)):
                return True
        else:
            before_stray = False
    return False
