"""The tables of ControlNet's fields and modules, for `tools.tables`."""

from __future__ import annotations

from tools.markdown import table
from translator.control import modules
from translator.control.modules import Module
from translator.control.units import ALIASES, NO_EFFECT
from translator.schemas import read_schema

_WORK_OF_ROLE = {
    "instant_id_embedding": "InstantIDAttentionPatch",
    "instant_id_keypoints": "FaceKeypointsPreprocessor",
    "ip_adapter": "IPAdapterAdvanced",
    "ip_adapter_auto": "as the module it picks by the model's name",
    "face_id": "IPAdapterFaceID",
    "pulid": "ApplyPulid",
    "reference": "A1111ControlNetReference",
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
        for name, item in read_schema("controlnet_unit")["properties"].items()
    ]
    quiet = ", ".join(f"`{name}`" for name in sorted(NO_EFFECT))
    rows.append([quiet, "Fields of the user interface or of old releases.", "no effect", ""])
    return table(["field and aliases", "meaning", "state", "note"], rows)


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
    return table(["module", "also known as", "done by", "state", "note"], rows)


def _work(row: Module) -> str:
    if row.own_nodes and row.own_nodes_for == "every":
        return ", ".join(dict.fromkeys(recipe.class_type for recipe in row.own_nodes))
    if row.nodes:
        return ", ".join(recipe.class_type for recipe in row.nodes)
    return _WORK_OF_ROLE.get(row.role, "the image itself")


def _note(row: Module) -> str:
    values = ", ".join(f"{name} {value:g}" for name, value in row.exact_at.items())
    at = f"exact at {values}; otherwise " if values else ""
    if row.near_with:
        at = f"exact but with a model whose name has {' or '.join(row.near_with)}; then "
    what = f"{row.differs}: " if row.differs else ""
    why = f"{at}{what}{row.why}" if row.why else ""
    without = f"without our node pack: {row.without_own_node}" if row.without_own_node else ""
    weights = f"without its weights: {row.without_weights}" if row.without_weights else ""
    return "; ".join(text for text in (why, weights, without) if text)
