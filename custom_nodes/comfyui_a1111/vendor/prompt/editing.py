# Copied from translator/prompt/editing.py by tools/pack_shared.py: edit it there.
"""Prompt editing and alternation: ``[before:after:when]`` and ``[a|b]``.

Source: A1111 v1.10.1 ``modules/prompt_parser.py``. A1111 reads schedules with an ambiguous Earley
grammar; `_read_edits` reads the same language in one pass. Where the grammar is ambiguous A1111's
answer changes from process to process (Python's string hashes), see `Prompt.ambiguous`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..prompt.error import DEEPEST, LONGEST_SCHEDULE, PromptError

_EDIT_TOKEN = re.compile(r"((?:[^\\\[\]():|]+|\\.)+)|([\[\]():|])")
_WHEN = re.compile(
    r"\s*([+-]?(?:[0-9]+[eE][+-]?[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+))\s*"
)


@dataclass(frozen=True)
class ScheduledText:
    """The text that holds up to and including model call ``end`` (0-based)."""

    end: int
    text: str


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
        PromptError: a ``when`` too large for a number, more than `DEEPEST` open brackets, or texts
            of more than `LONGEST_SCHEDULE` characters.
    """
    counter = _Counter.of(steps, hires_steps, old_scheduling)
    nodes, ambiguous = _read_edits(text) if "[" in text else (None, False)
    if nodes is None:
        return (ScheduledText(counter.total, text),), False
    switches = {
        node.when: counter.step(node.when) for node in _walk(nodes) if isinstance(node, _Edit)
    }
    ends = _ends(nodes, switches, counter.total, len(text))
    return tuple(ScheduledText(end, _text_at(nodes, end, switches)) for end in ends), ambiguous


@dataclass(frozen=True)
class _Counter:
    """How the numbers of edits are read in a pass.

    Attributes:
        total: steps that shares are of.
        before: steps of the passes before; `share_before`: the share at which this one begins.
        old: option use_old_scheduling.
    """

    total: int
    before: int
    share_before: float
    old: bool

    @classmethod
    def of(cls, steps: int, hires_steps: int | None, old: bool) -> _Counter:
        """Of the first pass, where `hires_steps` is None, or of the hires pass."""
        if hires_steps is None or old:
            return cls(steps, 0, 0.0, old)
        return cls(hires_steps, steps, 1.0, old)

    def step(self, when: str) -> int:
        """The step after which an edit switches; at most `total`."""
        value = float(when)
        if self.old:
            value = value * self.total if value < 1 else value
        elif "." in when:
            value = (value - self.share_before) * self.total
        else:
            value -= self.before
        try:
            return min(self.total, int(value))
        except OverflowError:
            raise PromptError(f"the step {when!r} is too large") from None


def _ends(
    nodes: Sequence[_Node], switches: Mapping[str, int], total: int, length: int
) -> list[int]:
    """The steps with which a text ends, in order.

    Args:
        length: characters of the prompt.
    """
    ends = {total, *(step for step in switches.values() if step >= 1)}
    alternates = any(isinstance(node, _Alternation) for node in _walk(nodes))
    count = max(total, len(ends)) if alternates else len(ends)
    if count > 1 and count * length > LONGEST_SCHEDULE:
        raise PromptError(
            f"editing makes {count} texts of up to {length} characters of it; together at most "
            f"{LONGEST_SCHEDULE} are taken"
        )
    return sorted(ends | set(range(1, total + 1)) if alternates else ends)


def _text_at(nodes: Sequence[_Node], step: int, switches: Mapping[str, int]) -> str:
    """The text that holds at ``step``, counted from 1."""
    texts: list[str] = []
    pending = [*reversed(nodes)]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            texts.append(node)
        elif isinstance(node, _Emphasis):
            pending.extend(reversed(node.nodes))
        elif isinstance(node, _Edit):
            pending.extend(reversed(node.before if step <= switches[node.when] else node.after))
        else:
            pending.extend(reversed(node.options[(step - 1) % len(node.options)]))
    return "".join(texts)


def _walk(nodes: Sequence[_Node]) -> Iterator[_Node]:
    """Every node, in no particular order."""
    pending = [*nodes]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, _Emphasis):
            pending.extend(node.nodes)
        elif isinstance(node, _Edit):
            pending.extend((*node.before, *node.after))
        elif isinstance(node, _Alternation):
            for option in node.options:
                pending.extend(option)


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
            if len(groups) >= DEEPEST:
                raise PromptError(f"more than {DEEPEST} brackets are open at once")
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
