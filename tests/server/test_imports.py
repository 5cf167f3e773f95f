"""Who may import whom, around the server and the worker's routes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def modules(folder: str) -> Iterator[Path]:
    return (ROOT / folder).rglob("*.py")


def imported(file: Path) -> set[str]:
    """The modules that a file names in its import statements, wherever they stand."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def offences(folder: str, *forbidden: str) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}: {name}"
        for file in modules(folder)
        for name in sorted(imported(file))
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("translator", ("worker", "server", "handler")),
        ("worker", ("server", "handler")),
        ("worker/routes", ("worker.service", "worker.runpod", "worker.envelope")),
        ("worker/comfyui", ("worker.routes", "worker.running", "worker.service")),
        ("devserver", ("translator", "worker", "server")),
        ("custom_nodes", ("translator", "worker", "server", "devserver")),
    ],
)
def test_a_room_does_not_import_those_above_it(folder: str, forbidden: tuple[str, ...]) -> None:
    assert not offences(folder, *forbidden)


def test_running_a_graph_knows_no_endpoint_and_no_runpod() -> None:
    names = imported(ROOT / "worker" / "running.py")
    assert not [name for name in names if name.startswith(("worker.routes", "translator"))]
    assert not [name for name in names if "runpod" in name or "api" in name.rpartition(".")[2]]


def test_only_runpods_side_knows_jobs_limits_and_buckets() -> None:
    files = [ROOT / "worker" / name for name in ("service.py", "running.py", "api.py")]
    for file in [*files, *modules("worker/routes"), *modules("server")]:
        names = imported(file)
        assert "worker.pictures.storage" not in names, file
        assert "worker.progress" not in names, file
