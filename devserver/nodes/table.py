"""Building blocks of the node tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from devserver.settings import Work
from devserver.values import Inputs, NodeFailure, Opaque, Result, Value

NodeFunction = Callable[[Inputs], Result]


class Nodes(dict[str, NodeFunction]):
    """A table of node functions with a decorator that adds to it."""

    def add(self, *names: str) -> Callable[[NodeFunction], NodeFunction]:
        def put(function: NodeFunction) -> NodeFunction:
            self.update(dict.fromkeys(names, function))
            return function

        return put


def merge(*tables: Mapping[str, NodeFunction]) -> dict[str, NodeFunction]:
    """One table of all; a node may stand in only one of them."""
    merged: dict[str, NodeFunction] = {}
    for table in tables:
        twice = merged.keys() & table.keys()
        if twice:
            raise ValueError(f"nodes in two tables: {', '.join(sorted(twice))}")
        merged.update(table)
    return merged


def gives(*outputs: Value, work: Work | None = None) -> Result:
    """A node that is done at once, or after one unit of work."""
    return Result(outputs=outputs, work=work)


def passes(*names: str, work: Work | None = None) -> NodeFunction:
    """A node whose outputs are, for all that matters here, some of its inputs."""

    def function(x: Inputs) -> Result:
        return Result(outputs=tuple(x.value(name) for name in names), work=work)

    return function


def makes(work: Work | None = None) -> NodeFunction:
    """A node that makes opaque things: one of each output's type, named after its files.

    A file list of a V3 node is not checked at submission, so a missing file comes to light here.
    """

    def function(x: Inputs) -> Result:
        files = [
            _file(x, name, spec.folders) for name, spec in x.spec.inputs.items() if spec.folders
        ]
        label = ", ".join(name for name in files if name)
        return Result(tuple(Opaque(kind, label) for kind, _ in x.spec.outputs), work)

    return function


def _file(x: Inputs, name: str, folders: tuple[str, ...]) -> str:
    value = x.optional(name, str) or ""
    spec = x.spec.inputs[name]
    if value and not spec.checked and value not in spec.choices(x.files.names):
        message = f"Model in folder '{folders[0]}' with filename '{value}' not found."
        raise NodeFailure(message, "FileNotFoundError")
    return value
