"""The arguments of an always-on script, read by their positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from translator.report import show
from translator.scope import Scope


class Arguments:
    """What a request sends to a script, and the page's values behind that.

    A value that cannot be read is refused at its own path, and a stand-in comes back, so that the
    others are looked at too.

    Args:
        args: as they were sent.
        path: JSON path of the list.
        usual: the page's values, in order; where they are all that there are, `warn_of_surplus`
            tells of further ones.

    Attributes:
        values: as they were sent, else the page's.
        sound: whether nothing was refused so far.
    """

    def __init__(
        self, args: Sequence[Any], path: str, scope: Scope, usual: Sequence[Any] = ()
    ) -> None:
        self.values: list[Any] = [*args, *usual[len(args) :]]
        self.sound = True
        self._sent, self._known = len(args), len(usual)
        self._path = path
        self._report = scope.report

    def path(self, position: int) -> str:
        """JSON path of an argument."""
        return f"{self._path}[{position}]"

    def switch(self, position: int) -> bool:
        """Whether an argument is on, by Python's truth as in the scripts themselves."""
        return bool(self.values[position])

    def number(self, position: int, low: float, high: float) -> float:
        """A number within bounds, both included."""
        value = self.values[position]
        if _is_number(value) and low <= value <= high:
            return float(value)
        self.refuse(position, f"{show(value)} is not a number within {low:g}..{high:g}")
        return low

    def whole(self, position: int, low: int, high: int) -> int:
        """A whole number within bounds, both included; 4.0 is one."""
        value = self.values[position]
        if _is_number(value) and low <= value <= high and int(value) == value:
            return int(value)
        self.refuse(position, f"{show(value)} is not a whole number within {low}..{high}")
        return low

    def choice(self, position: int, choices: Sequence[str]) -> str:
        """One of several texts."""
        value = self.values[position]
        if isinstance(value, str) and value in choices:
            return value
        self.refuse(position, f"{show(value)} is not one of {', '.join(choices)}")
        return choices[0]

    def text(self, position: int) -> str:
        """A text; a number counts as it is written."""
        value = self.values[position]
        if isinstance(value, str) or _is_number(value):
            return str(value)
        self.refuse(position, f"{show(value)} is not a text")
        return ""

    def refuse(self, position: int, message: str) -> None:
        """A value that is wrong."""
        self.sound = False
        self._report.invalid(self.path(position), message, self.values[position])

    def unsupported(self, position: int, message: str, *, instead: str) -> None:
        """A value that is valid and cannot be honoured here, see `Report.unsupported`."""
        self._report.unsupported(self.path(position), message, instead=instead)

    def warn(self, position: int, message: str) -> None:
        """Say something of a value that is taken."""
        self._report.warn(self.path(position), message)

    def warn_of_surplus(self) -> None:
        """Say that values behind the last one that the script knows are ignored, as in A1111."""
        if self._sent > self._known:
            self._report.warn(
                self._path, f"the script reads {self._known} values, the others are ignored"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def has_own_node(node: str, path: str, scope: Scope) -> bool:
    """Whether the node of our pack is there that a script cannot do without; a report where not."""
    if scope.has_own(node):
        return True
    scope.report.unsupported(path, "it needs our node pack", instead="it is left out")
    return False
