"""Writes the tables of docs/controlnet.md from the data that the translator uses.

python scripts/controlnet_tables.py          write the file anew
python scripts/controlnet_tables.py --check  exit 1 if it is out of date
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from translator import schema
from translator.control import modules
from translator.control.modules import Module
from translator.control.units import ALIASES, NO_EFFECT

DOCUMENT = Path(__file__).parents[1] / "docs" / "controlnet.md"

_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

_WORK_OF_ROLE = {
    "instant_id_embedding": "InstantIDAttentionPatch",
    "instant_id_keypoints": "FaceKeypointsPreprocessor",
    "ip_adapter": "IPAdapterAdvanced",
    "ip_adapter_auto": "as the module it picks by the model's name",
    "face_id": "IPAdapterFaceID",
    "reference": "ACN_ReferenceControlNet",
    "revision": "A1111Revision",
    "style": "StyleModelApply",
    "inpaint": "InpaintPreprocessor",
    "colorfix": "the image itself, A1111ControlNetColorFix",
}


def field_table() -> str:
    """Every field of a unit: what it does and how far it is honoured."""
    aliases: dict[str, list[str]] = {}
    for alias, name in ALIASES.items():
        aliases.setdefault(name, []).append(alias)
    rows = [
        [
            " ".join(f"`{text}`" for text in (name, *aliases.get(name, ()))),
            item["description"],
            item["x-state"],
            item.get("x-why", ""),
        ]
        for name, item in schema.load("controlnet_unit")["properties"].items()
    ]
    quiet = ", ".join(f"`{name}`" for name in sorted(NO_EFFECT))
    rows.append([quiet, "Fields of the user interface or of old releases.", "no effect", ""])
    return _table(["field and aliases", "meaning", "state", "note"], rows)


def module_table() -> str:
    """Every module: its names, the nodes that do its work, and how near to A1111 it is."""
    rows = [
        [
            f"`{row.name}`",
            ", ".join(name for name in row.names if name.lower() != row.name.lower()),
            _work(row),
            row.status,
            _note(row),
        ]
        for row in modules.table().values()
    ]
    return _table(["module", "also known as", "done by", "state", "note"], rows)


def _work(row: Module) -> str:
    if row.status == "unsupported":
        return ""
    if row.own_node is not None:
        return row.own_node.class_type
    if row.nodes:
        return ", ".join(recipe.class_type for recipe in row.nodes)
    return _WORK_OF_ROLE.get(row.role, "the image itself")


def _note(row: Module) -> str:
    without = f"without our node pack: {row.without_own_node}" if row.without_own_node else ""
    return "; ".join(text for text in (row.why, without) if text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


TABLES = {"fields": field_table, "modules": module_table}


def rendered(document: str) -> str:
    """The document with every table written anew."""
    return _BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], document)


def main() -> int:
    document = DOCUMENT.read_text("utf-8")
    fresh = rendered(document)
    if "--check" in sys.argv[1:]:
        return int(fresh != document)
    DOCUMENT.write_text(fresh, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
