"""A quick yes to values that a schema takes: a look at type and bounds, made ready once.

What gets no yes here need not be wrong: JSON Schema's own rules judge it, and say why. So this
knows only the keywords that most fields have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from translator.schemas import read_schema
from translator.shape import LARGEST, fault

Check = Callable[[Any], bool]

_KNOWN = {"type", "minimum", "maximum", "exclusiveMinimum", "enum", "items"}
_SAYS_NOTHING = {"default", "description"}


def is_sound(schema_name: str, document: Mapping[str, Any]) -> bool:
    """Whether every field of a document clearly has a value that its schema takes."""
    checks = _checks(schema_name)
    for name, value in document.items():
        check = checks.get((name, type(value)))
        if check is None or not check(value):
            return False
    return True


@cache
def _checks(schema_name: str) -> Mapping[tuple[str, type], Check]:
    """(field, Python's type of a value) -> what to ask of the value; none where that is unknown."""
    return {
        (name, kind): check
        for name, item in read_schema(schema_name)["properties"].items()
        for kind, check in _by_type(item).items()
    }


def _by_type(item: Mapping[str, Any]) -> dict[type, Check]:
    used = {word for word in item if not word.startswith("x-")} - _SAYS_NOTHING
    types = [item["type"]] if isinstance(item["type"], str) else item["type"]
    if not used <= _KNOWN:
        return {}
    if "enum" in item:
        return {str: frozenset(word for word in item["enum"] if isinstance(word, str)).__contains__}
    found: dict[type, Check] = {}
    for name in types:
        found.update(_MAKERS[name](item))
    return found


def _anything(value: Any) -> bool:
    return True


def _text(value: str) -> bool:
    return value.isascii() or fault(value) is None


def _bounded(item: Mapping[str, Any]) -> Check:
    """A number within the bounds; NaN and infinity are never."""
    low, high = item.get("minimum", -LARGEST), item.get("maximum", LARGEST)
    above = item.get("exclusiveMinimum")
    if above is None:
        return lambda value: low <= value <= high
    return lambda value: above < value <= high


def _list(item: Mapping[str, Any]) -> dict[type, Check]:
    if "items" not in item:
        return {list: _anything}
    checks = _by_type(item["items"])

    def check(values: list[Any]) -> bool:
        return all((one := checks.get(type(value))) and one(value) for value in values)

    return {list: check}


_MAKERS: Mapping[str, Callable[[Mapping[str, Any]], dict[type, Check]]] = {
    "string": lambda item: {str: _text},
    "integer": lambda item: {int: _bounded(item)},
    "number": lambda item: dict.fromkeys((int, float), _bounded(item)),
    "boolean": lambda item: {bool: _anything},
    "null": lambda item: {type(None): _anything},
    "array": _list,
    "object": lambda item: {dict: _anything},
}
