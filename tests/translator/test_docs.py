"""The documents' tables say what the translator's own say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import pack_tables, tables
from translator.control import modules
from translator.request.a1111_options import option_rows
from translator.schedules import samplers
from translator.schemas import read_schema
from translator.tables import read_table


@pytest.mark.parametrize("file", tables.DOCUMENTS, ids=lambda file: file.name)
def test_the_document_is_up_to_date(file: Path) -> None:
    document = file.read_text("utf-8")
    assert tables.rendered(document) == document, "run python -m tools.tables"


def test_every_table_stands_in_a_document() -> None:
    documents = "".join(file.read_text("utf-8") for file in tables.DOCUMENTS)
    for name in tables.TABLES:
        assert f"<!-- table: {name} -->" in documents


def test_every_module_and_field_has_its_row() -> None:
    document = (tables.ROOT / "docs" / "controlnet.md").read_text("utf-8")
    for name in [*modules.table(), *read_schema("controlnet_unit")["properties"]]:
        assert f"| `{name}`" in document


def test_every_txt2img_field_has_its_row_in_the_readme() -> None:
    document = (tables.ROOT / "README.md").read_text("utf-8")
    for name in read_schema("txt2img")["properties"]:
        assert f"| `{name}` |" in document


def test_every_sampler_scheduler_and_option_is_named() -> None:
    document = (tables.ROOT / "docs" / "compatibility.md").read_text("utf-8")
    names = [row.name for row in samplers.samplers()] + [row.label for row in samplers.schedulers()]
    for name in [*names, *option_rows()]:
        assert f"`{name}`" in document


def test_every_node_of_the_pack_says_what_it_does() -> None:
    silent = [
        name
        for name in read_table("signatures-a1111-pack")["nodes"]
        if not pack_tables.meanings().get(name)
    ]
    assert not silent, "a node class without a docstring in custom_nodes/comfyui_a1111/nodes"


def test_every_page_of_decisions_is_in_their_index() -> None:
    folder = tables.ROOT / "docs" / "decisions"
    index = folder.with_suffix(".md").read_text("utf-8")
    for page in folder.glob("*.md"):
        assert f"(decisions/{page.name})" in index
