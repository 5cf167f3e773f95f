"""Validation by JSON Schema, after the coercion that A1111's API (pydantic 1) does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from translator.report import Report, show
from translator.request.quick_check import is_sound
from translator.schemas import read_schema
from translator.shape import fault

Tab = Literal["txt2img", "img2img"]
"""A1111's generating tabs; each has an endpoint and a schema of its name."""

TRUTH_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "t", "true", "y", "yes", "on"), True),
    **dict.fromkeys(("0", "f", "false", "n", "no", "off"), False),
}
"""Texts, in lower case, that stand for a switch; pydantic 1's."""

_SAID = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(read_schema(name))


def coerce(schema_name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which values of the schema's fields have the types that pydantic 1 would give them.

    ``"20"`` and ``20.9`` become 20 for an integer, a number becomes text for a text, ``"yes"``
    becomes true. What cannot be converted stays as it is, for `validate` to refuse.
    """
    properties = read_schema(schema_name)["properties"]
    return {
        name: _coerce(value, properties[name]) if name in properties else value
        for name, value in document.items()
    }


def validate(
    schema_name: str, document: Mapping[str, Any], path: str, report: Report
) -> frozenset[str]:
    """Report every violation of the schema, with its JSON path under `path`.

    Returns:
        The names of the document's fields that are wrong.
    """
    if is_sound(schema_name, document):
        return frozenset()
    wrong = set()
    for name, value in document.items():
        found = fault(value)
        if found:
            wrong.add(name)
            report.invalid(_join(path, (name,)), found, value)
    for error in _validator(schema_name).iter_errors(document):
        wrong.update(str(step) for step in list(error.absolute_path)[:1])
        where = _join(path, error.absolute_path)
        report.invalid(where, _explain(error), error.instance)
    return frozenset(wrong)


def _join(path: str, steps: Iterable[str | int]) -> str:
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path


def _explain(error: ValidationError) -> str:
    value = show(error.instance)
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            types = [wanted] if isinstance(wanted, str) else wanted
            return f"{value} is not {' or '.join(_SAID[item] for item in types)}"
        case "minimum" | "maximum" | "exclusiveMinimum":
            return f"{value} is not {_range(error.schema)}"
        case "enum":
            return f"{value} is not one of {', '.join(show(item) for item in wanted)}"
        case _:
            return f"{value}: {error.message[:200]}"


def _range(schema: Any) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high = schema.get("maximum")
    if above is not None:
        return f"above {above}" if high is None else f"above {above} and at most {high}"
    if high is None:
        return f"{low} or more"
    return f"within {low}..{high}" if low is not None else f"{high} or less"


def _coerce(value: Any, schema: Mapping[str, Any]) -> Any:
    types = schema["type"]
    for kind in [types] if isinstance(types, str) else types:
        if kind in _COERCIONS:
            return _COERCIONS[kind](value)
        if kind == "array" and isinstance(value, list) and "items" in schema:
            items = schema["items"]
            return [_coerce(item, items) for item in value] if "type" in items else value
    return value


def _to_integer(value: Any) -> Any:
    if isinstance(value, str):
        return _parsed(int, value)
    if isinstance(value, bool | float):
        return _parsed(int, value)
    return value


def _to_number(value: Any) -> Any:
    return _parsed(float, value) if isinstance(value, str | bool | int) else value


def _to_boolean(value: Any) -> Any:
    text = str(value).lower() if isinstance(value, str | int | float) else ""
    if value in (0, 1):
        return bool(value)
    return TRUTH_WORDS.get(text, value)


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else value


def _to_object(value: Any) -> Any:
    return {} if value in ([], "") else value


def _parsed(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except (ValueError, OverflowError):
        return value


_COERCIONS: Mapping[str, Callable[[Any], Any]] = {
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "string": _to_text,
    "object": _to_object,
}
