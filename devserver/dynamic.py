"""Inputs that bring further inputs, as ComfyUI's V3 nodes have them.

A dynamic combo has for each of its values the inputs that come with it; an autogrow input is a row
of equal inputs. What they bring is addressed by a path: ``codec.encoding``, ``images.image0``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from devserver.signatures import InputSpec, read_input


def live_inputs(specs: Mapping[str, InputSpec], given: Mapping[str, Any]) -> list[InputSpec]:
    """The inputs that a node has for what a graph gives it.

    A dynamic combo that is missing, or has none of its values, brings nothing and is not asked for,
    as in ComfyUI.
    """
    return [item for spec in specs.values() for item in _expanded(spec, given)]


def _expanded(spec: InputSpec, given: Mapping[str, Any]) -> Iterator[InputSpec]:
    if spec.dynamic is None:
        yield spec
    elif "choices" in spec.dynamic:
        for choice in spec.dynamic["choices"]:
            if spec.name in given and given[spec.name] == choice["key"]:
                yield spec
                for brought in _inputs(spec, choice["inputs"]):
                    yield from _expanded(brought, given)
    else:
        yield from _row(spec, spec.dynamic["template"])


def _row(spec: InputSpec, template: Mapping[str, Any]) -> Iterator[InputSpec]:
    names = template.get("names") or [f"{template['prefix']}{n}" for n in range(template["max"])]
    (group, items), *_ = template["input"].items()
    item = next(iter(items.values()))
    for number, name in enumerate(names):
        required = group == "required" and number < template["min"]
        yield read_input(f"{spec.name}.{name}", item, required=required, checked=spec.checked)


def _inputs(spec: InputSpec, groups: Mapping[str, Any]) -> Iterator[InputSpec]:
    for group, items in groups.items():
        for name, item in items.items():
            required = group == "required"
            yield read_input(f"{spec.name}.{name}", item, required=required, checked=spec.checked)
