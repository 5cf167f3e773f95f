"""One way to read every object of a request: unknown fields, nulls, types, bounds, defaults."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from translator.report import Report, show
from translator.request import schema
from translator.request.hints import field_hint
from translator.schemas import read_schema

_MOST_HINTS = 20
"""Unknown fields for which a near one is sought; an object with more is of another kind."""


@dataclass(frozen=True)
class Fields:
    """The fields of an object that was read.

    Attributes:
        sent: those that were sent and are sound, with the types of the schema.
        wrong: names of those that the report has refused.
        properties: the schema's entry of every field there is.
    """

    sent: Mapping[str, Any]
    wrong: frozenset[str]
    properties: Mapping[str, Mapping[str, Any]]

    def settled(self, default: Callable[[Mapping[str, Any]], Any] | None = None) -> dict[str, Any]:
        """Every field: as sent, or its default where it is absent or wrong.

        Args:
            default: the default of a schema's entry; None takes its ``default``.
        """
        return {
            name: self.sent[name] if name in self.sent else (default or _default)(item)
            for name, item in self.properties.items()
        }


@dataclass(frozen=True)
class Reader:
    """Reads objects of one kind.

    Attributes:
        schema: their schema, in ``translator/schemas``.
        what: what has these fields, for messages: ``txt2img``, ``a ControlNet unit``.
        hints: the part of ``tables/hints.json`` with other names of the fields; empty for none.
        without: fields of the schema that this kind does not have.
        never_null: where null is wrong; elsewhere it stands for the default.
    """

    schema: str
    what: str
    hints: str = ""
    without: Collection[str] = ()
    never_null: Collection[str] = ()

    @cached_property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema's entry of every field that there is."""
        entries = read_schema(self.schema)["properties"]
        return {name: item for name, item in entries.items() if name not in self.without}

    def read(self, value: object, path: str, report: Report) -> Fields:
        """The fields of a value; without any after a report where it is no object."""
        if not isinstance(value, Mapping):
            what = "" if path else "the payload is "
            report.invalid(path, f"{what}{show(value)}, not an object with {self.what}'s fields")
            return Fields({}, frozenset(), self.properties)
        return self.checked(self.known(value, path, report), path, report)

    def known(self, given: Mapping[str, Any], path: str, report: Report) -> dict[str, Any]:
        """The fields there are, with the types of the schema; unknown ones and nulls are told."""
        properties = self.properties
        known: dict[str, Any] = {}
        unknown = 0
        for name, value in given.items():
            where = f"{path}.{name}" if path else name
            if name not in properties:
                hint = self._hint(name) if unknown < _MOST_HINTS else ""
                report.warn(where, f"{self.what} has no such field, it is ignored{hint}")
                unknown += 1
            elif value is not None or _takes_null(properties[name]) or name in self.never_null:
                known[name] = value
            elif properties[name].get("default") is not None:
                report.warn(where, "null, so A1111's default is used")
        return schema.coerce(self.schema, known)

    def checked(self, known: Mapping[str, Any], path: str, report: Report) -> Fields:
        """Fields that `known` gave, checked against the schema."""
        wrong = schema.validate(self.schema, known, path, report)
        sound = {name: value for name, value in known.items() if name not in wrong}
        return Fields(sound, wrong, self.properties)

    def _hint(self, name: str) -> str:
        return field_hint(self.hints, name, self.properties)


def _takes_null(item: Mapping[str, Any]) -> bool:
    return "null" in item["type"]


def _default(item: Mapping[str, Any]) -> Any:
    value = item.get("default")
    return value.copy() if isinstance(value, dict | list) else value
