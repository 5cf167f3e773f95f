"""What no part of a JSON document may be, whatever it means: too deep, too many, no character.

Everything that comes from outside is looked at once, before anything reads it, so that nothing
behind has to expect a number beyond a float or half a character.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from translator.report import show

DEEPEST = 100
"""Objects and lists inside each other."""

MOST_KEYS = 2000
"""Keys of one object."""

MOST_VALUES = 300_000
"""Values of the whole document, objects and lists counted."""

LARGEST = 10**100
"""Of whole numbers: two of them can still be multiplied as floats."""

_LONGEST_KEY = 1000
_SHOWN_FAULTS = 20

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def faults(document: object, path: str = "") -> list[tuple[str, str]]:
    """What is unusable in a document, as JSON path and message; the first twenty at most.

    Args:
        document: as `json.loads` gives it.
        path: of the document itself.
    """
    if _is_sound(document):
        return []
    return list(itertools.islice(_faults(document, path), _SHOWN_FAULTS))


def fault(value: object) -> str | None:
    """What makes a single value unusable; None for a sound one, and for objects and lists."""
    if isinstance(value, str):
        if not value.isascii() and _HALF_CHARACTER.search(value):
            return "the text holds half a character (a lone surrogate)"
    elif isinstance(value, int | float) and not _is_finite(value):
        return f"{_shown(value)} is not a finite number"
    elif isinstance(value, int) and abs(value) > LARGEST:
        return f"{_shown(value)} is too large a number"
    return None


def _is_sound(document: object) -> bool:
    """Whether a document clearly has no fault; False leaves it to `_faults`, which says where."""
    left = MOST_VALUES
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                if len(value) > MOST_KEYS or not all(map(_is_plain_key, value)):
                    return False
                left -= len(value)
                below += value.values() if left >= 0 else ()
            elif kind is list:
                left -= len(value)
                below += value if left >= 0 else ()
            elif value is not None and not (kind in _SOUND and _SOUND[kind](value)):
                return False
        if left < 0:
            return False
        if not below:
            return True
        level = below
    return False


def _is_plain_key(key: object) -> bool:
    return type(key) is str and len(key) <= _LONGEST_KEY and key.isascii()


_SOUND: Mapping[type, Callable[[Any], bool]] = {
    str: lambda text: text.isascii() or not _HALF_CHARACTER.search(text),
    bool: lambda switch: True,
    int: lambda number: -LARGEST <= number <= LARGEST,
    float: math.isfinite,
}


def _faults(document: object, path: str) -> Iterator[tuple[str, str]]:
    left = MOST_VALUES
    pending: list[tuple[str, object, int]] = [(path, document, 0)]
    while pending:
        where, value, depth = pending.pop()
        found = fault(value)
        if found:
            yield where, found
        if not isinstance(value, Mapping | list):
            continue
        left -= len(value)
        if left < 0:
            yield path, f"there are more than {MOST_VALUES} values in it"
            return
        if depth >= DEEPEST:
            yield where, f"it is nested more than {DEEPEST} deep"
        elif isinstance(value, list):
            pending += [(f"{where}[{index}]", item, depth + 1) for index, item in enumerate(value)]
        elif len(value) > MOST_KEYS:
            yield where, f"the object has {len(value)} keys; at most {MOST_KEYS} are taken"
        else:
            yield from _key_faults(value, where)
            pending += [(_join(where, key), item, depth + 1) for key, item in value.items()]


def _key_faults(value: Mapping[Any, object], where: str) -> Iterator[tuple[str, str]]:
    for key in value:
        found = fault(key)
        if found:
            yield where, f"a key of the object is unusable: {found}"
        elif isinstance(key, str) and len(key) > _LONGEST_KEY:
            yield where, f"a key has {len(key)} characters; at most {_LONGEST_KEY} are taken"


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _is_finite(value: float) -> bool:
    """Whether a float holds a number; whole numbers of hundreds of digits it does not."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _shown(value: float) -> str:
    """The number as a message shows it; Python writes none of more than 4300 digits."""
    try:
        return show(value)
    except ValueError:
        return "a number of thousands of digits"
