"""The rules of the house: which room may import which, and where nodes are made."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

OWN = ("translator", "worker", "server", "devserver", "bench", "tools", "custom_nodes")

RULES = (
    "request",
    "prompt",
    "plan",
    "control",
    "schedules",
    "models",
    "scripts",
    "detailer",
    "faceswap",
)
"""Rooms of rules: they settle values and never make nodes."""

FORBIDDEN = {
    **{f"translator.{room}": ("translator.stages", "worker", "server") for room in RULES},
    "translator.comfy": (
        *(f"translator.{room}" for room in (*RULES, "stages", "infotext", "lists", "endpoints")),
        "worker",
        "server",
    ),
    "translator.stages": (
        "translator.scripts",
        "translator.endpoints",
        "translator.infotext",
        "worker",
        "server",
    ),
    "translator.schemas": ("translator.stages", "translator.plan", "translator.comfy", "worker"),
    "translator.tables": ("translator.stages", "translator.plan", "translator.comfy", "worker"),
    "translator.lists": ("translator.stages", "translator.endpoints", "worker", "server"),
    "translator": ("worker", "server", "devserver", "custom_nodes"),
    "worker": ("server", "devserver", "custom_nodes", "handler"),
    "custom_nodes": ("translator", "worker", "server", "devserver"),
    "devserver": ("worker", "server"),
}
"""Importer -> what it must not import, both as the beginning of a module's name."""

MAY_IMPORT_ALL = ("translator.endpoints", "translator.infotext", "translator.page")
"""Rooms that may import every other room of the translator."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of ours by its dotted name, parsed."""
    for package in OWN:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, ast.parse(file.read_text("utf-8"), str(file))


MODULES = dict(modules())


def imported(tree: ast.AST) -> Iterator[str]:
    """The names that a piece of code imports; ``from a import b`` may mean ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{item.name}" for item in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("importer", sorted(FORBIDDEN))
def test_a_room_imports_only_what_it_may(importer: str) -> None:
    for name, tree in MODULES.items():
        if not within(name, importer):
            continue
        for target in imported(tree):
            for room in FORBIDDEN[importer]:
                assert not within(target, room), f"{name} imports {target}"


def test_every_room_has_a_rule() -> None:
    """A room that is new or renamed must not fall out of the rules."""
    rooms = {
        f"translator.{folder.name}"
        for folder in (ROOT / "translator").iterdir()
        if folder.is_dir() and any(folder.glob("*.py"))
    }
    assert "translator.plan" in rooms
    assert rooms <= {*FORBIDDEN, *MAY_IMPORT_ALL}, "say what the new room may import"


def test_no_import_inside_a_function_dodges_a_circle() -> None:
    """An import in a function may spare time or an optional package, and never hide a circle."""
    edges = _edges()
    for name, tree in MODULES.items():
        for function in ast.walk(tree):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for item in imported(function):
                target = module_of(item)
                circle = target is not None and name in _reached(target, edges)
                assert not circle, f"{name}.{function.name}: {target} leads back"


def _edges() -> dict[str, set[str]]:
    """Module -> the modules of ours that are imported with it."""
    return {
        name: {target for item in imported_at_once(tree) if (target := module_of(item))}
        for name, tree in MODULES.items()
    }


def _reached(name: str, edges: dict[str, set[str]]) -> set[str]:
    """A module and all that is imported with it."""
    found, left = {name}, [name]
    while left:
        new = edges[left.pop()] - found
        found |= new
        left.extend(new)
    return found


def test_there_is_no_circle() -> None:
    """Modules that are run while a module is imported never lead back to it."""
    edges = _edges()
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name in done:
            return
        for target in sorted(edges[name] - {name}):
            visit(target, (*way, name))
        done.add(name)

    for name in edges:
        visit(name, ())


def imported_at_once(tree: ast.Module) -> Iterator[str]:
    """What a module imports when it is imported: not for type checkers, not in functions."""
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Try)):
            yield from imported(node)


def module_of(name: str) -> str | None:
    """The module of ours that an imported name is or stands in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def test_only_the_node_functions_add_nodes() -> None:
    """``graph.add`` checks names at run time; a typed function is checked by mypy as well."""
    for name, tree in MODULES.items():
        if not within(name, "translator") or within(name, "translator.comfy"):
            continue
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                owner = ast.unparse(call.func.value)
                adds = call.func.attr == "add" and owner.split(".")[-1] in ("graph", "_graph")
                assert not adds, f"{name}:{call.lineno}: {owner}.add belongs in comfy/nodes"
