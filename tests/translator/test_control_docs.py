"""docs/controlnet.md says what the tables say."""

from __future__ import annotations

from scripts import controlnet_tables
from translator import schema
from translator.control import modules


def test_the_document_is_up_to_date() -> None:
    document = controlnet_tables.DOCUMENT.read_text("utf-8")
    assert controlnet_tables.rendered(document) == document, (
        "run python scripts/controlnet_tables.py"
    )


def test_every_module_and_field_has_its_row() -> None:
    document = controlnet_tables.DOCUMENT.read_text("utf-8")
    for name in [*modules.table(), *schema.load("controlnet_unit")["properties"]]:
        assert f"| `{name}`" in document
