# Copied from translator/suggest.py by tools/pack_shared.py: edit it there.
"""Near names, for messages about a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LIKENESS = 0.7
"""difflib's ratio from which a name is near enough to be suggested."""

_LONGEST = 100
"""Characters of a name for which a near one is sought; difflib's time grows with their square."""


def nearest(
    name: str, known: Iterable[str], *, count: int = 1, likeness: float = LIKENESS
) -> tuple[str, ...]:
    """The known names nearest to `name`, best first; case does not count.

    A name that differs from a known one in case only is that one.
    """
    lowered: dict[str, str] = {}
    for item in known:
        lowered.setdefault(item.lower(), item)
    if name.lower() in lowered:
        return (lowered[name.lower()],)
    if len(name) > _LONGEST:
        return ()
    found = difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=likeness)
    return tuple(lowered[item] for item in found)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``, did you mean "x"?`` for the known name nearest to `name`, or an empty text."""
    found = nearest(name, known)
    return f', did you mean "{found[0]}"?' if found else ""
