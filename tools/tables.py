"""Writes the tables of the documents from the data that the translator uses.

python -m tools.tables          write the documents anew
python -m tools.tables --check  exit 1 if one is out of date

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools import controlnet_tables, models_tables, pack_tables
from tools.markdown import table
from translator.models import families
from translator.models.families import Family
from translator.request.a1111_options import OptionRow, option_rows
from translator.schedules import samplers
from translator.schemas import read_schema
from translator.scripts.always_on import AlwaysOnRow, always_on_rows
from translator.tables import read_table

ROOT = Path(__file__).parents[1]

DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "docs" / "compatibility.md",
    ROOT / "docs" / "controlnet.md",
    ROOT / "docs" / "models.md",
    ROOT / "docs" / "node_pack.md",
)

_BEYOND = " (A1111 has none: ComfyUI's own)"

_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def field_table() -> str:
    """Every field of txt2img: its default, its meaning, and how far it is honoured."""
    return _fields(read_schema("txt2img")["properties"])


def img2img_table() -> str:
    """The fields of img2img that txt2img does not have, or that mean something else there."""
    others = read_schema("txt2img")["properties"]
    properties = read_schema("img2img")["properties"]
    own = ("default", "description", "x-state")
    return _fields(
        {
            name: item
            for name, item in properties.items()
            if name not in others or any(item[key] != others[name][key] for key in own)
        }
    )


def _fields(properties: Mapping[str, Any]) -> str:
    rows = [
        [f"`{name}`", f"`{json.dumps(item['default'])}`", item["description"], item["x-state"]]
        for name, item in properties.items()
    ]
    return table(["field", "default", "meaning", "state"], rows)


def sampler_table() -> str:
    """Every sampler: its own schedule, and what core nodes do without our node pack."""
    labels = {row.name: row.label for row in samplers.schedulers()}
    rows = [
        [
            f"`{row.name}`{_BEYOND if row.beyond_a1111 else ''}",
            labels.get(row.default_scheduler or "", ""),
            _core(row.comfy.match, row.comfy.sampler_name, row.comfy.note),
        ]
        for row in samplers.samplers()
    ]
    return table(["sampler", "schedule of its own", "without our node pack"], rows)


def scheduler_table() -> str:
    """Every scheduler: its names, and what core nodes do without our node pack."""
    rows = [
        [
            f"`{row.label}`{_BEYOND if row.beyond_a1111 else ''}",
            f"`{row.name}`",
            _core(row.comfy.match, row.comfy.scheduler, row.comfy.note),
        ]
        for row in samplers.schedulers()
    ]
    return table(["scheduler", "name", "without our node pack"], rows)


def _core(match: str, name: str | None, note: str) -> str:
    if name is None:
        return "the sampler's own"
    return f"`{name}`, the same" if match == "same" else f"`{name}`; {note}"


def upscaler_table() -> str:
    """Every upscaler by name, and what it needs."""
    return table(["upscaler", "done by"], _upscalers(read_table("upscalers")))


def _upscalers(known: Mapping[str, Any]) -> Iterator[list[str]]:
    for row in known["latent"]:
        antialiased = ", antialiased" if row["antialias"] else ""
        yield [f"`{row['name']}`", f"interpolating the latent ({row['mode']}{antialiased})"]
    for row in known["resize"]:
        yield [f"`{row['name']}`", f"Pillow ({row['method']})"]
    for row in known["model"]:
        files = " or ".join(f"`{name}`" for name in row["files"])
        yield [f"`{row['name']}`", f"{files} in `upscale_models`"]
    yield ["any other file there", "by its name without extension"]
    for row in known["impossible"]:
        yield [f"`{row['name']}`", f"refused: {row['reason']}"]


def option_table() -> str:
    """The options that change a picture or an answer, honoured or refused."""
    rows = [
        [f"`{row.key}`", f"`{json.dumps(row.default)}`", _fate(row)]
        for row in option_rows().values()
        if row.state != "no_effect"
    ]
    return table(["option", "default", "state"], rows)


def _fate(row: OptionRow) -> str:
    if row.state == "unsupported":
        return f"refused, unless it has its default: {row.why}"
    notes = []
    if row.choices:
        notes.append(", ".join(f"`{choice}`" for choice in row.choices if choice))
    if row.read_before_overrides:
        notes.append("A1111 reads it before `override_settings`: for the whole server only")
    return ": ".join(["honoured", "; ".join(notes)]) if notes else "honoured"


def idle_option_table() -> str:
    """The options that change nothing here, by the reason."""
    reasons: dict[str, list[str]] = {}
    for row in option_rows().values():
        if row.state == "no_effect":
            reasons.setdefault(row.why, []).append(f"`{row.key}`")
    rows = [[why, ", ".join(keys)] for why, keys in reasons.items()]
    return table(["why", "options"], rows)


def always_on_table() -> str:
    """Every always-on script by title, and what becomes of it."""
    rows = [[f"`{row.title}`", _became(row)] for row in always_on_rows()]
    return table(["script", "what becomes of it"], rows)


def _became(row: AlwaysOnRow) -> str:
    match row.state:
        case "read":
            return f"{row.match}: {row.becomes}"
        case "harmless":
            return "nothing to do: it changes no picture here"
        case "ignored":
            return f"ignored: {row.why}"
    return f"refused where it is on: {row.why}"


def family_table() -> str:
    """Every family of checkpoints, and those that are refused."""
    rows = [
        [
            f"`{row.name}`",
            ", ".join(row.encoders),
            "yes" if row.heeds_clip_skip else "only with `sdxl_clip_l_skip`",
            _told(row),
            str(row.control_blocks),
        ]
        for row in families.FAMILIES.values()
    ]
    refused = [[name, "refused by name", "", "", ""] for name in families.UNSUPPORTED]
    head = ["family", "text encoders", "clip skip", "told beside the text", "ControlNet blocks"]
    return table(head, [*rows, *refused])


def _told(family: Family) -> str:
    told = {"none": "nothing", "size": "sizes, crop", "score": "size, crop, aesthetic score"}
    return told[family.size_conditioning]


TABLES: Mapping[str, Callable[[], str]] = {
    "txt2img": field_table,
    "img2img": img2img_table,
    "samplers": sampler_table,
    "schedulers": scheduler_table,
    "upscalers": upscaler_table,
    "families": family_table,
    "always_on": always_on_table,
    "options": option_table,
    "idle_options": idle_option_table,
    "fields": controlnet_tables.field_table,
    "modules": controlnet_tables.module_table,
    "model_files": models_tables.file_table,
    "model_features": models_tables.feature_table,
    "nodes": pack_tables.node_table,
}


def rendered(document: str) -> str:
    """A document with every table written anew."""
    return _BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], document)


def main() -> int:
    stale = 0
    for file in DOCUMENTS:
        document = file.read_text("utf-8")
        fresh = rendered(document)
        if fresh != document:
            stale += 1
            print(f"{file.relative_to(ROOT)}: out of date")
            if "--check" not in sys.argv[1:]:
                file.write_text(fresh, "utf-8")
    return int(stale > 0 and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
