"""What an always-on script that changes the model asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from translator.plan.patches import ModelPatch
from translator.scope import Scope
from translator.scripts.arguments import Arguments


@dataclass(frozen=True)
class PatchScript:
    """What a script asks for.

    Attributes:
        patch: the change of the model.
        infotext: what the script writes into the infotext.
    """

    patch: ModelPatch
    infotext: Mapping[str, Any] = field(default_factory=dict)


def forge_entries(prefix: str, names: Iterable[str], given: Arguments) -> Mapping[str, Any]:
    """Infotext of Forge's scripts: every argument as it was sent."""
    return {
        f"{prefix}_{name}": value
        for name, value in zip(("enabled", *names), given.values, strict=False)
    }


def part_of_run(given: Arguments, start: int, node: str, scope: Scope) -> tuple[float, float]:
    """The share of the steps that a script acts in; all of them without our node.

    Args:
        start: position of the share that it begins at; the one that it ends at follows.
    """
    found = given.number(start, 0.0, 1.0), given.number(start + 1, 0.0, 1.0)
    if found == (0.0, 1.0) or scope.has_own(node):
        return found
    given.warn(start, "ComfyUI's node acts on every step, not on a part of them")
    return 0.0, 1.0
